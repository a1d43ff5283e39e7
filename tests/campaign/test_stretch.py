"""The loop when labels fail, and batches: what a strictly sequential loop would do."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from support.labellers import hired

from gpnet_ray.actors.gp_worker import GpWorker
from gpnet_ray.actors.pool_shard import PoolShard
from gpnet_ray.campaign.arm import Arm
from gpnet_ray.campaign.arm_record import ArmRecord, ArmResult, Pick
from gpnet_ray.campaign.context import RunContext
from gpnet_ray.campaign.history import RunHistory
from gpnet_ray.campaign.journal import Journal, read_journal
from gpnet_ray.campaign.label_desk import LabelDesk
from gpnet_ray.campaign.stretch import StartingPoint, Stretch
from gpnet_ray.config import SelectionConfig
from gpnet_ray.config_layers import load_config
from gpnet_ray.errors import OracleError, RunFolderError
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.oracles.protocol import LabelOutcome
from gpnet_ray.progress import NullProgress

HYPERPARAMETERS = Hyperparameters(
    kernel="laplacian", amplitude=1.3, length_scale=1.1, noise_std=0.1, mean=0.2
)
TRAIN = tuple(f"train-{n:03d}" for n in range(15))
POOL = tuple(f"pool-{n:03d}" for n in range(60))
TEST = tuple(f"test-{n:03d}" for n in range(10))


def points(ids: Sequence[str]) -> np.ndarray:
    return np.stack([np.random.default_rng(list(i.encode())).random(4) for i in ids])


def truth(material_id: str) -> float:
    return float(np.sin(3 * points([material_id])[0]).sum())


@dataclass
class FunctionOracle:
    """Labels by a formula; fails for the ids it is told to."""

    failing: frozenset[str] = frozenset()
    name: str = "function"
    unit: str = "eV/atom"
    answers_about: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def label(self, ids: Sequence[str], structures: Sequence[Any]) -> list[LabelOutcome]:
        time.sleep(self.seconds)
        return [
            LabelOutcome(i, "failed", None, "SCF did not converge", 1, 0.0)
            if i in self.failing
            else LabelOutcome(self.answers_about.get(i, i), "ok", truth(i), "", 1, 0.0)
            for i in ids
        ]


@pytest.fixture(scope="module")
def scorers(small_ray: None) -> Iterator[tuple[Any, list[Any]]]:
    options = {"num_cpus": 0.1, "runtime_env": {"env_vars": {"TF_CPP_MIN_LOG_LEVEL": "2"}}}
    y = np.array([truth(i) for i in TEST])
    gp = ray.remote(GpWorker).options(**options).remote(TEST, points(TEST), y)
    shards = [
        ray.remote(PoolShard)
        .options(**options)
        .remote(ids, points(ids), np.array([truth(i) for i in ids]))
        for ids in (POOL[0::2], POOL[1::2])
    ]
    yield gp, shards
    for actor in (gp, *shards):
        ray.kill(actor)


def run_arm(
    scorers: tuple[Any, list[Any]],
    folder: Path,
    *,
    strategy: Any = "max-sigma",
    oracle: FunctionOracle | None = None,
    watching: dict[str, Any] | None = None,
    **selection: Any,
) -> ArmResult:
    gp, shards = scorers
    settings = SelectionConfig(strategies=(strategy,), **{"cycles": 20, **selection})
    structures = dict.fromkeys((*TRAIN, *POOL, *TEST))
    start = StartingPoint(
        HYPERPARAMETERS, TRAIN, points(TRAIN), np.array([truth(i) for i in TRAIN])
    )
    with hired(oracle or FunctionOracle()) as crew, Journal(folder / "journal.jsonl") as journal:
        history = RunHistory.of(journal.events)
        stretch = Stretch(
            ArmRecord(strategy),
            settings,
            unit="eV/atom",
            seed=0,
            pool_ids=POOL,
            gp=gp,
            shards=shards,
            desk=LabelDesk(crew, structures, journal, history),
            journal=journal,
            history=history,
            **(watching or {}),
        )
        with NullProgress().task("", total=1, unit="") as task:
            return stretch.run(start, task).result()


def dense_variance(labelled: Sequence[str], pool: Sequence[str]) -> np.ndarray:
    """Dense NumPy: variances (of f) of the pool given the labelled points."""
    h = HYPERPARAMETERS

    def k(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        distance = np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))
        return h.amplitude**2 * np.exp(-distance / h.length_scale)

    K = k(points(labelled), points(labelled)) + h.noise_std**2 * np.eye(len(labelled))
    cross = k(points(labelled), points(pool))
    return h.amplitude**2 - (cross * np.linalg.solve(K, cross)).sum(0)


def sequential_max_sigma(
    failing: frozenset[str], cycles: int, *, given: Sequence[str] = ()
) -> list[str]:
    """One pick at a time, after those given; a failed material is set aside and never labelled."""
    labelled = [*TRAIN, *(i for i in given if i not in failing)]
    pool, picked = sorted(set(POOL).difference(given)), list(given)
    for _ in range(cycles - len(given)):
        best = pool[int(np.argmax(dense_variance(labelled, pool)))]
        pool.remove(best)
        picked.append(best)
        if best not in failing:
            labelled.append(best)
    return picked


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


def ids_of(result: ArmResult) -> list[str]:
    return [pick.outcome.material_id for pick in result.picks]


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
    assert [(p.outcome, p.radius) for p in again.picks] == [
        (p.outcome, p.radius) for p in result.picks
    ]
    # Other rounds of messages, so other rounding: some 1e-13 of variances of the order of one.
    sigmas = [[p.sigma for p in arm.picks] for arm in (again, result)]
    np.testing.assert_allclose(*sigmas, rtol=0, atol=1e-10)
    np.testing.assert_allclose(again.test["mae"], result.test["mae"], rtol=0, atol=1e-10)
    asked = [i for e in read_journal(path) if e["event"] == "asked" for i in e["ids"]]
    assert len(asked) == len(set(asked))


def fresh(folder: Path) -> Path:
    folder.mkdir()
    return folder


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
