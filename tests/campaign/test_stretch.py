"""The loop when labels fail, and batches: what a strictly sequential loop would do."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.stretches import (
    HYPERPARAMETERS,
    POOL,
    TRAIN,
    FunctionOracle,
    ids_of,
    points,
    run_arm,
    sequential_max_sigma,
    truth,
)

from gpnet_ray.campaign.arm import Arm
from gpnet_ray.campaign.arm_record import ArmRecord, Pick
from gpnet_ray.campaign.context import RunContext
from gpnet_ray.campaign.history import RunHistory
from gpnet_ray.campaign.journal import Journal, read_journal
from gpnet_ray.config_layers import load_config
from gpnet_ray.errors import OracleError
from gpnet_ray.oracles.protocol import LabelOutcome
from gpnet_ray.progress import NullProgress


def test_where_labels_take_long_every_cycle_is_seen_and_the_picks_are_the_same(scorers, tmp_path):
    oracle = FunctionOracle(failing=frozenset(sequential_max_sigma(frozenset(), 3)[2:3]))
    hours, seen = itertools.count(step=3600.0), []
    run_arm(
        scorers,
        tmp_path,
        oracle=oracle,
        cycles=6,
        watching={
            "clock": lambda: next(hours),
            "watch": lambda record: seen.append(record().result()),
        },
    )
    assert [len(arm.picks) for arm in seen] == [1, 2, 3, 4, 5, 6]
    picked = [pick.outcome.material_id for pick in seen[-1].picks]
    assert picked == sequential_max_sigma(oracle.failing, 6)
    for arm in seen:
        n = len(arm.curve)
        # The same sums in the same order: what was seen earlier is a part of the end.
        assert arm.test["mae"].tolist() == seen[-1].test["mae"][:n].tolist()


def dense_mean(picked: list[str], cycle: int) -> float:
    """Dense NumPy: what is predicted for a pick from the train rows and the picks before it."""
    h, labelled = HYPERPARAMETERS, [*TRAIN, *picked[:cycle]]
    a, b = points(labelled), points([picked[cycle]])
    K = h.amplitude**2 * np.exp(-np.sqrt(((a[:, None] - a) ** 2).sum(-1)) / h.length_scale)
    k = h.amplitude**2 * np.exp(-np.sqrt(((a - b) ** 2).sum(-1)) / h.length_scale)
    residual = np.array([truth(i) for i in labelled]) - h.mean
    return float(h.mean + k @ np.linalg.solve(K + h.noise_std**2 * np.eye(len(a)), residual))


def test_without_failures_the_picks_are_the_sequential_ones(scorers: Any, tmp_path: Path) -> None:
    result = run_arm(scorers, tmp_path)
    assert ids_of(result) == sequential_max_sigma(frozenset(), 20)
    assert result.picks[7].mean == pytest.approx(dense_mean(ids_of(result), 7), abs=1e-9)


def test_with_failures_the_picks_are_those_of_a_sequential_loop(
    scorers: Any, tmp_path: Path
) -> None:
    plain = sequential_max_sigma(frozenset(), 20)
    failing = frozenset({plain[2], plain[3], plain[11]})
    result = run_arm(scorers, tmp_path, oracle=FunctionOracle(failing))
    assert ids_of(result) == sequential_max_sigma(failing, 20)
    failed = [p for p in result.picks if p.outcome.status == "failed"]
    assert {p.outcome.material_id for p in failed} == failing & set(ids_of(result))
    assert result.n_labelled[-1] == len(TRAIN) + 20 - len(failed)
    # A cycle that learned nothing leaves the error as it was.
    third = result.picks.index(failed[0]) + 1
    assert result.test["mae"][third] == result.test["mae"][third - 1]
    events = read_journal(tmp_path / "journal.jsonl")
    asked = [i for e in events if e["event"] == "asked" for i in e["ids"]]
    assert len(asked) == len(set(asked)), "a label was asked for twice"


def test_failed_labels_asked_for_again_once_the_oracle_is_mended(
    scorers: Any, tmp_path: Path
) -> None:
    plain = sequential_max_sigma(frozenset(), 20)
    broken = FunctionOracle(frozenset(POOL) - {plain[0], plain[1]})
    with pytest.raises(OracleError, match=r"--resume --retry-failed"):
        run_arm(scorers, tmp_path, oracle=broken)
    with pytest.raises(OracleError):
        run_arm(scorers, tmp_path)  # not asked again without being told to
    with Journal(tmp_path / "journal.jsonl") as journal:
        gone = RunHistory.of([*journal.events, {"event": "network", "fingerprint": ""}])
        assert gone.failed_ids() == [], "what failed before the training has left the run"
        failed = RunHistory.of(journal.events).failed_ids()
        assert plain[2] in failed
        journal.append({"event": "retry", "ids": failed})
    result = run_arm(scorers, tmp_path)
    assert ids_of(result) == plain
    labels = [e for e in read_journal(tmp_path / "journal.jsonl") if e["event"] == "label"]
    ok = [e["outcome"]["material_id"] for e in labels if e["outcome"]["status"] == "ok"]
    assert len(ok) == len(set(ok)), "a label was bought twice"


def test_a_failure_stops_the_asking_at_once(scorers: Any, tmp_path: Path) -> None:
    plain = sequential_max_sigma(frozenset(), 4)
    slow = FunctionOracle(frozenset({plain[0]}), seconds=0.6)
    result = run_arm(scorers, tmp_path, oracle=slow, cycles=4)
    events = read_journal(tmp_path / "journal.jsonl")
    asked = [i for e in events if e["event"] == "asked" for i in e["ids"]]
    # What a single labeller was asked is what a sequential loop would buy, and nothing beyond.
    assert asked == ids_of(result)


def test_too_many_failures_stop_the_campaign_naming_the_reasons(
    scorers: Any, tmp_path: Path
) -> None:
    with pytest.raises(OracleError, match=r"× SCF did not converge"):
        run_arm(scorers, tmp_path, oracle=FunctionOracle(frozenset(POOL)))


def test_an_oracle_that_answers_about_another_material_is_refused(
    scorers: Any, tmp_path: Path
) -> None:
    first = sequential_max_sigma(frozenset(), 1)[0]
    oracle = FunctionOracle(answers_about={first: "pool-999"})
    with pytest.raises(OracleError, match="pool-999"):
        run_arm(scorers, tmp_path, oracle=oracle)
    events = read_journal(tmp_path / "journal.jsonl")
    assert not [e for e in events if e["event"] == "label" and "999" in str(e)]


def test_random_takes_each_id_once_and_the_same_for_a_seed(scorers: Any, tmp_path: Path) -> None:
    runs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        settings = {"cycles": 12, "batch_size": 5}
        runs.append(ids_of(run_arm(scorers, tmp_path / name, strategy="random", **settings)))
    assert runs[0] == runs[1]
    assert sorted(runs[0]) == sorted(POOL)
    assert runs[0] != sorted(POOL)


@pytest.mark.parametrize("strategy", ["max-sigma", "random", "top-k", "distance"])
def test_a_pool_can_be_emptied_to_the_last_point(
    scorers: Any, tmp_path: Path, strategy: str
) -> None:
    result = run_arm(scorers, tmp_path, strategy=strategy, cycles=6, batch_size=10)
    assert sorted(ids_of(result)) == sorted(POOL)
    assert result.n_labelled == tuple(15 + 10 * cycle for cycle in range(7))
    assert result.n_unlabelled == tuple(60 - 10 * cycle for cycle in range(7))


def test_one_step_top_k_takes_the_largest_sigmas_at_the_start_of_the_cycle(
    scorers: Any, tmp_path: Path
) -> None:
    result = run_arm(scorers, tmp_path, strategy="top-k", cycles=1, batch_size=7)
    h = HYPERPARAMETERS
    distance = np.sqrt(((points(TRAIN)[:, None] - points(TRAIN)[None]) ** 2).sum(-1))
    K = h.amplitude**2 * np.exp(-distance / h.length_scale) + h.noise_std**2 * np.eye(len(TRAIN))
    distance = np.sqrt(((points(TRAIN)[:, None] - points(POOL)[None]) ** 2).sum(-1))
    cross = h.amplitude**2 * np.exp(-distance / h.length_scale)
    variance = h.amplitude**2 - (cross * np.linalg.solve(K, cross)).sum(0)
    assert ids_of(result) == [POOL[row] for row in np.argsort(-variance)[:7]]


@pytest.mark.parametrize(
    ("bought", "every", "mark"), [(0, 8, 8), (8, 8, 16), (50, 20, 60), (5, 8, 8)]
)
def test_the_network_is_trained_again_at_the_next_multiple_of_labels(
    bought: int, every: int, mark: int
) -> None:
    config = load_config(overrides={"retraining": {"when": "every", "every_labels": every}})
    context = RunContext(config, None, FunctionOracle(), NullProgress())  # type: ignore[arg-type]
    arm = Arm(
        "max-sigma",
        context,
        unit="eV/atom",
        pool_ids=POOL,
        **dict.fromkeys(("networks", "scorers", "desk", "journal")),  # type: ignore[arg-type]
    )
    picks = tuple(
        Pick(n + 1, 0.1, None, LabelOutcome(POOL[n], "ok", 1.0, "", 1, 0.0)) for n in range(bought)
    )
    # A batch of 50 passes the marks 20 and 40 at once.
    assert arm._next_training(ArmRecord("max-sigma", picks=picks)) == mark
