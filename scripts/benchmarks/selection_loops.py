"""The loop of the selection benchmark, on the actors' classes in this process or through Ray.

It is always the same code; ``call`` decides whether a method runs here or in an actor.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import ray

from gpnet_ray.actors.cluster import start_local_ray
from gpnet_ray.actors.gp_worker import GpWorker
from gpnet_ray.actors.pool_shard import PoolShard
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.scaling import LatentScaler
from gpnet_ray.types import FloatArray

__all__ = [
    "CANDIDATES",
    "Materials",
    "Rows",
    "Run",
    "loop_here",
    "loop_in_actors",
    "read_materials",
]

CANDIDATES = 1024

Rows: TypeAlias = npt.NDArray[np.int64]
Part: TypeAlias = tuple[list[str], FloatArray, FloatArray]
"""Ids, scaled latents (m, d) and targets (m,) of some points."""


@dataclass(frozen=True)
class Materials:
    """Ids, scaled latents (n, d), targets (n,), and which rows are train, pool and test."""

    ids: list[str]
    X: FloatArray
    y: FloatArray
    train: Rows
    pool: Rows
    test: Rows

    def ids_of(self, rows: Rows) -> list[str]:
        """Ids of some rows."""
        return [self.ids[row] for row in rows]


@dataclass(frozen=True)
class Run:
    """What a loop gave: picks in order, the test MAE after every cycle, seconds, rounds of messages."""

    picks: list[str]
    sigmas: list[float]
    test_mae: list[float]
    seconds: float
    rounds: int


def read_materials(path: Path, target: str) -> Materials:
    """Read the table; latents are scaled by their range on the train rows."""
    table = pq.read_table(path)
    latents = np.stack(table["latent"].to_numpy())
    split = np.array(table["split"].to_pylist())
    train, pool, test = (np.flatnonzero(split == name) for name in ("train", "pool", "test"))
    X = LatentScaler.fit(latents[train], "min-max").transform(latents)
    y = np.asarray(table[target].to_numpy(), dtype=np.float64)
    return Materials(table["material_id"].to_pylist(), X, y, train, pool, test)


def here(method: Callable[..., Any], *args: Any, returns: int = 1) -> Any:
    """Call a method in this process; the twin of :func:`in_actor`."""
    return method(*args)


def in_actor(method: Any, *args: Any, returns: int = 1) -> Any:
    """Call an actor's method; references come back."""
    return method.options(num_returns=returns).remote(*args)


def loop(
    materials: Materials,
    hyperparameters: Hyperparameters,
    gp: Any,
    shards: Sequence[Any],
    cycles: int,
    *,
    call: Callable[..., Any] = here,
    get: Callable[[Any], Any] = lambda value: value,
) -> Run:
    """Max-σ with one label a cycle, and the errors on test rows and unlabelled pool in every cycle."""
    row_of = {material_id: row for row, material_id in enumerate(materials.ids)}
    start, train = time.perf_counter(), materials.train
    labelled = (materials.ids_of(train), materials.X[train], materials.y[train])
    snapshot = call(gp.reset, hyperparameters, *labelled, cycles)
    get([call(shard.reset, snapshot) for shard in shards])
    picks: list[str] = []
    sigmas: list[float] = []
    test_mae: list[float] = []
    limit, rounds = CANDIDATES // len(shards), 0
    while len(picks) < cycles:
        proposals = [call(shard.propose, limit) for shard in shards]
        left = cycles - len(picks)
        plan = get(call(gp.plan, "max-sigma", left, 1, None, None, *proposals))
        rounds += 1
        if not plan:
            limit *= 2
            continue
        ids = [material_id for cycle in plan for material_id in cycle.ids]
        y = materials.y[[row_of[material_id] for material_id in ids]]
        cycle_of = np.arange(len(plan), dtype=np.int32)
        block, test_sums, _ = call(gp.commit, ids, y, cycle_of, len(plan), returns=3)
        sums = [call(shard.absorb, block, cycle_of, len(plan)) for shard in shards]
        test_mae += get(test_sums).metrics()["mae"].tolist()
        get(sums)
        picks += ids
        sigmas += [sigma for cycle in plan for sigma in cycle.sigmas]
    return Run(picks, sigmas, test_mae, time.perf_counter() - start, rounds)


def worker_arguments(materials: Materials, shards: int) -> tuple[Part, list[Part]]:
    """What a GpWorker and each PoolShard are made of."""
    X, y, test = materials.X, materials.y, materials.test
    parts = [materials.pool[i::shards] for i in range(shards)]
    return (materials.ids_of(test), X[test], y[test]), [
        (materials.ids_of(rows), X[rows], y[rows]) for rows in parts
    ]


def loop_here(
    materials: Materials,
    hyperparameters: Hyperparameters,
    cycles: int,
    *,
    shards: int = 1,
    dtype: Literal["float64", "float32"] = "float64",
) -> Run:
    """The loop in this process."""
    gp, parts = worker_arguments(materials, shards)
    pool = [PoolShard(*part, dtype=dtype) for part in parts]
    return loop(materials, hyperparameters, GpWorker(*gp), pool, cycles)


def start_actors(materials: Materials, shards: int, stack: ExitStack) -> tuple[Any, list[Any]]:
    """A local Ray with the GP's actor and the shards', until the stack ends."""
    start_local_ray(object_store_mebibytes=2000)
    stack.callback(ray.shutdown)
    gp_arguments, parts = worker_arguments(materials, shards)
    cpus = ray.cluster_resources()["CPU"]
    share = {"num_cpus": min(1.0, int(100 * cpus / (shards + 1)) / 100)}
    threads = {"TF_NUM_INTRAOP_THREADS": str(max(1, int(cpus) // shards))}
    gp = ray.remote(GpWorker).options(**share).remote(*gp_arguments)
    shard = ray.remote(PoolShard).options(**share, runtime_env={"env_vars": threads})
    return gp, [shard.remote(*part) for part in parts]


def loop_in_actors(
    materials: Materials,
    hyperparameters: Hyperparameters,
    gp: Any,
    shards: Sequence[Any],
    cycles: int,
) -> Run:
    """The loop through Ray actors."""
    return loop(materials, hyperparameters, gp, shards, cycles, call=in_actor, get=ray.get)
