"""What is told of a run, a training or a validation that begins from a trained network: rows that it knows already."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.progress import Progress

if TYPE_CHECKING:
    from gpnet_ray.gnn.graphs import CrystalGraphs

__all__ = [
    "first_network_of_validation",
    "held_out_warning",
    "rows_known",
    "say_of_run",
    "say_of_training",
]


def rows_known(network: NetworkState | None, graphs: CrystalGraphs) -> frozenset[str]:
    """Ids that a network was trained on, as far as that is known; none without a network."""
    return network.trained_rows.among(graphs) if network else frozenset()


def say_of_training(initial: NetworkState | None, progress: Progress) -> None:
    """Say so where nobody can tell whether the rows that training holds out are new to its first network."""
    if initial is not None and not initial.trained_rows.is_complete:
        progress.line(
            "What the network that training begins from was trained on is not known: where rows that are held out"
            " here were among it, the best epoch and σ are judged too well"
        )


def held_out_warning(known: Collection[str], held_out: Sequence[str]) -> str | None:
    """Warn of rows by which a training is judged and σ recalibrated, and that its first network knew."""
    n_known = len(set(known).intersection(held_out))
    if not n_known:
        return None
    return (
        f"{n_known} of the {len(held_out)} rows that are held out of training had trained the network that it begins"
        " from, since too few others are there: the best epoch and the recalibrated σ are then too good; begin from a"
        " network that was trained on other rows, or give more new ones"
    )


def say_of_run(
    network: NetworkState | None,
    graphs: CrystalGraphs,
    test: Sequence[str],
    pool: Sequence[str],
    progress: Progress,
) -> None:
    """Warn of test and pool rows that the network which a run begins from was trained on."""
    if network is None:
        return
    known = rows_known(network, graphs)
    n_test, n_pool = (len(known.intersection(part)) for part in (test, pool))
    if n_test or n_pool:
        progress.line(
            f"Warning: {n_test} of {len(test)} test rows and {n_pool} of {len(pool)} pool rows had trained"
            " the network that this run begins from (by id and composition). Its errors on them are too small, until"
            " the network is trained again from scratch; train it without them, or leave these rows out"
        )
    if not network.trained_rows.is_complete:
        progress.line(
            "What the network that this run begins from was trained on is not known: where test or pool rows were"
            " among it, the errors on them are too small"
        )


def first_network_of_validation(
    initial: NetworkState | None,
    graphs: CrystalGraphs,
    held_out: Sequence[str],
    progress: Progress,
) -> dict[str, Any] | None:
    """Warn of held-out rows that the first network was trained on, and give what the summary says of them.

    Args:
        initial: The network that all folds begin from, where there is one.
        graphs: Of all materials.
        held_out: Ids that are held out in any fold.
        progress: Where the warning is shown.

    Returns:
        ``n_held_out``, how many of these rows are known to have trained it (``n_known``), and whether all rows that
        did are known; ``None`` without a first network.
    """
    if initial is None:
        return None
    n_known = len(rows_known(initial, graphs).intersection(held_out))
    complete = initial.trained_rows.is_complete
    if n_known:
        progress.line(
            f"Warning: {n_known} of the {len(held_out)} held-out rows had trained the network that --pretrained names (by"
            " id and composition), so that their errors are too small; hold out rows that it has not seen, or begin"
            " from a network that was trained without them"
        )
    elif not complete:
        progress.line(
            "What the network that --pretrained names was trained on is not known: where held-out rows were among it,"
            " their errors are too small"
        )
    return {"n_held_out": len(held_out), "n_known": n_known, "all_rows_known": complete}
