"""A journal is gone on with as it stands, once it is seen to be this run's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.stretches import (
    HYPERPARAMETERS,
    POOL,
    TRAIN,
    FunctionOracle,
    dense_variance,
    fresh,
    ids_of,
    run_arm,
    sequential_max_sigma,
)

from gpnet_ray.campaign.identity import check_same
from gpnet_ray.campaign.journal import Journal, read_journal
from gpnet_ray.errors import RunFolderError


@pytest.mark.parametrize(
    ("strategy", "batch"), [("max-sigma", 1), ("top-k", 3), ("distance", 3), ("random", 2)]
)
def test_a_resumed_arm_buys_nothing_again(
    scorers: Any, tmp_path: Path, strategy: str, batch: int
) -> None:
    how = {"strategy": strategy, "batch_size": batch, "cycles": 15}
    plain = run_arm(scorers, fresh(tmp_path / "plain"), **how)
    oracle = FunctionOracle(frozenset(ids_of(plain)[4:6]))
    result = run_arm(scorers, fresh(tmp_path / "whole"), oracle=oracle, **how)
    lines = (tmp_path / "whole" / "journal.jsonl").read_text().splitlines(keepends=True)
    assert len(result.picks) == 15 * batch
    path = fresh(tmp_path / "again") / "journal.jsonl"
    path.write_text("".join(lines[:-8]))
    again = run_arm(scorers, path.parent, oracle=oracle, **how)
    radii = [[(p.outcome, p.radius, p.asked_radius) for p in a.picks] for a in (again, result)]
    assert radii[0] == radii[1]
    assert all((r is None) == (strategy != "distance") for _, *both in radii[0] for r in both)
    # Other rounds of messages, so other rounding: some 1e-13 of variances of the order of one.
    sigmas = [[p.sigma for p in arm.picks] for arm in (again, result)]
    np.testing.assert_allclose(*sigmas, rtol=0, atol=1e-10)
    np.testing.assert_allclose(again.test["mae"], result.test["mae"], rtol=0, atol=1e-10)
    asked = [i for e in read_journal(path) if e["event"] == "asked" for i in e["ids"]]
    assert len(asked) == len(set(asked))


def journal_picks(folder: Path, picks: Sequence[str], **changed: Any) -> None:
    """Cycles 1, 2, … of max-sigma as a run of another rounding may have journaled them."""
    with Journal(folder / "journal.jsonl") as journal:
        for number, pick in enumerate(picks, start=1):
            variance = (
                dense_variance([*TRAIN, *picks[: number - 1]], [pick])[0] if pick in POOL else 1.0
            )
            sigma = float(np.sqrt(variance + HYPERPARAMETERS.noise_std**2))
            cycle = {"ids": [pick], "sigmas": [sigma], "radius": None}
            last = changed if number == len(picks) else {}
            event = {"event": "cycle", "strategy": "max-sigma", "cycle": number}
            journal.append({**event, **cycle, **last})


def test_journaled_picks_are_taken_as_they_were_and_the_next_is_the_largest_given_them(
    scorers: Any, tmp_path: Path
) -> None:
    # In float32 rounding can make the second largest σ the largest; what was bought stays bought.
    first = sequential_max_sigma(frozenset(), 3)
    given = [first[0], first[2], next(i for i in POOL if i not in first), first[1]]
    assert given != sequential_max_sigma(frozenset(), 4)
    journal_picks(tmp_path, given)
    result = run_arm(scorers, tmp_path, cycles=12)
    assert ids_of(result) == sequential_max_sigma(frozenset(), 12, given=given)
    numbers = [
        e["cycle"] for e in read_journal(tmp_path / "journal.jsonl") if e["event"] == "cycle"
    ]
    assert numbers == list(range(1, 13))


@pytest.mark.parametrize(
    ("picks", "changed", "why"),
    [
        (POOL[:3], {"sigmas": [0.5]}, "cycle 3 of max-sigma picked .* with σ = 0.5 "),
        (("pool-000", "train-000"), {}, "cycle 2 .* 'train-000', but it is not in the pool"),
        (("pool-000", "pool-001", "pool-000"), {}, "cycle 3 .*, but cycle 1 did so before"),
    ],
)
def test_a_journal_that_this_run_cannot_have_written_is_refused_before_a_label_is_bought(
    scorers: Any, tmp_path: Path, picks: Sequence[str], changed: dict[str, Any], why: str
) -> None:
    journal_picks(tmp_path, picks, **changed)
    with pytest.raises(RunFolderError, match=why):
        run_arm(scorers, tmp_path)
    assert {e["event"] for e in read_journal(tmp_path / "journal.jsonl")} == {"cycle"}


def test_another_order_of_random_is_refused(scorers: Any, tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl") as journal:
        for cycle, pick in enumerate(sorted(POOL)[:3], start=1):
            event = {"event": "cycle", "strategy": "random", "cycle": cycle, "ids": [pick]}
            journal.append({**event, "sigmas": [1.0], "radius": None})
    with pytest.raises(
        RunFolderError, match=r"cycle 1 of random picked .*\] before the interruption and \["
    ):
        run_arm(scorers, tmp_path, strategy="random")


def test_the_columns_of_a_run_may_become_more_exact_and_nothing_else_may_change(
    tmp_path: Path,
) -> None:
    then = {"gp.columns_dtype": "float32", "gp.kernel": "laplacian"}
    check_same(tmp_path, then, {**then, "gp.columns_dtype": "float64"})
    with pytest.raises(RunFolderError, match=r"gp\.kernel: laplacian then, rbf now"):
        check_same(tmp_path, then, {**then, "gp.kernel": "rbf"})
