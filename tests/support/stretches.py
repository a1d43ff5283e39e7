"""A loop over sixty points with labels by a formula, and the same loop in dense NumPy."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from support.labellers import hired

from gpnet_ray.campaign.arm_record import ArmRecord, ArmResult
from gpnet_ray.campaign.history import RunHistory
from gpnet_ray.campaign.journal import Journal
from gpnet_ray.campaign.label_desk import LabelDesk
from gpnet_ray.campaign.stretch import StartingPoint, Stretch
from gpnet_ray.config import SelectionConfig
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


def ids_of(result: ArmResult) -> list[str]:
    return [pick.outcome.material_id for pick in result.picks]


def fresh(folder: Path) -> Path:
    folder.mkdir()
    return folder
