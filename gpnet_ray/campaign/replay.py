"""Cycles that a run's journal holds: taken as they were, once they are seen to be this run's."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from gpnet_ray.errors import RunFolderError

if TYPE_CHECKING:
    from gpnet_ray.gp.hyperparameters import Hyperparameters
    from gpnet_ray.gp.messages import PlannedCycle

__all__ = ["check_picks", "check_replayed", "journaled_from"]

_SAME_VARIANCE = 1e-4
"""Variances of an observation that differ by no more of the prior one are the same but for rounding.

Columns in float32, whose rounding differs with the rounds of labels, moved them by 2e-6 over 1,500 labels,
float64 by 6e-15; the smallest variance picked was 1e-3. Another network or other hyperparameters move far more.
"""


def check_picks(
    strategy: str, cycles: Mapping[int, PlannedCycle], pool_ids: Collection[str]
) -> None:
    """Refuse a journal that picks what is not in the pool, or one material twice.

    Raises:
        RunFolderError: as said.
    """
    seen = dict.fromkeys(pool_ids, 0)
    for number, cycle in sorted(cycles.items()):
        for material_id in cycle.ids:
            if seen.get(material_id) != 0:
                why = (
                    f"cycle {seen[material_id]} did so before"
                    if material_id in seen
                    else "it is not in the pool"
                )
                raise _refusal(f"cycle {number} of {strategy} picked {material_id!r}, but {why}")
            seen[material_id] = number


def journaled_from(
    cycles: Mapping[int, PlannedCycle],
    first: int,
    *,
    failed: AbstractSet[str],
    most_cycles: int,
    most_picks: int,
) -> tuple[PlannedCycle, ...]:
    """The cycles ``first``, ``first`` + 1, … that are journaled without a gap, at least one where there is any.

    They end with the first that holds a material that ``failed``: the cycles after it know nothing of it.
    """
    found: list[PlannedCycle] = []
    picks = 0
    for cycle in map(cycles.get, range(first, first + most_cycles)):
        picks += len(cycle.ids) if cycle else 0
        if cycle is None or (found and picks > most_picks):
            break
        found.append(cycle)
        if not failed.isdisjoint(cycle.ids):
            break
    return tuple(found)


def check_replayed(
    strategy: str,
    first: int,
    journaled: Sequence[PlannedCycle],
    replayed: Sequence[PlannedCycle],
    hyperparameters: Hyperparameters,
) -> None:
    """Compare journaled cycles with what the Gaussian process says of the same picks now.

    Args:
        strategy: Whose cycles.
        first: Number of the first cycle.
        journaled: What the journal says.
        replayed: The same cycles, planned again.
        hyperparameters: Of the Gaussian process now.

    Raises:
        RunFolderError: other picks, or other σ than rounding explains.
    """
    prior = hyperparameters.amplitude**2 + hyperparameters.noise_std**2
    for number, (before, now) in enumerate(zip(journaled, replayed, strict=True), first):
        if before.ids != now.ids:
            raise _refusal(
                f"cycle {number} of {strategy} picked {list(before.ids)} before the interruption and {list(now.ids)} now"
            )
        for material_id, was, is_now in zip(before.ids, before.sigmas, now.sigmas, strict=True):
            if abs(was**2 - is_now**2) > _SAME_VARIANCE * prior:
                raise _refusal(
                    f"cycle {number} of {strategy} picked {material_id!r} with σ = {was:.6g} (target's unit) before"
                    f" the interruption and would with {is_now:.6g} now"
                )


def _refusal(what: str) -> RunFolderError:
    return RunFolderError(
        f"{what}; the folder was changed, or another version of gpnet_ray made it (see run.json). The labels that"
        " were bought stay in its journal.jsonl; keep the folder, and begin another run with --name"
    )
