"""The actors that score: the Gaussian process with the test rows, and the shards of the pool."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import ray

from gpnet_ray.actors.cluster import kill_actors, wait_until_ready
from gpnet_ray.actors.gp_worker import GpWorker
from gpnet_ray.actors.pool_shard import PoolShard
from gpnet_ray.campaign.arm import StartingPoint
from gpnet_ray.campaign.context import RunContext
from gpnet_ray.campaign.journal import Journal
from gpnet_ray.campaign.preparation import values_of
from gpnet_ray.campaign.stages import Latents
from gpnet_ray.data.splits import Split
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.scaling import LatentScaler

__all__ = ["start_scorers", "starting_point"]


def start_scorers(
    context: RunContext,
    latents: Latents,
    scaler: LatentScaler,
    split: Split,
    reference: Mapping[str, float],
    stack: ExitStack,
) -> tuple[Any, list[Any]]:
    """Start the GP actor with the test rows, and the shards with the pool dealt out among them."""
    resources = context.config.resources
    n_shards = min(resources.shards, len(split.pool))
    threads = max(1, int(ray.cluster_resources().get("CPU", 1)) // n_shards)
    options = context.actor_options(gpu=True)
    gp = (
        ray.remote(GpWorker)
        .options(**options)
        .remote(
            split.test,
            scaler.transform(latents.latents[latents.rows(split.test)]),
            values_of(reference, split.test),
        )
    )
    shard = ray.remote(PoolShard).options(**context.actor_options(gpu=True, threads=threads))
    pool_is_known = all(i in reference for i in split.pool)
    shards = []
    for number in range(n_shards):
        ids = split.pool[number::n_shards]
        X = scaler.transform(latents.latents[latents.rows(ids)])
        known = values_of(reference, ids) if pool_is_known else None
        shards.append(shard.remote(ids, X, known, context.config.gp.columns_dtype))
    stack.callback(kill_actors, [gp, *shards])
    wait_until_ready([gp, *shards], options, resources)
    return gp, shards


def starting_point(
    context: RunContext,
    gp: Any,
    latents: Latents,
    scaler: LatentScaler,
    split: Split,
    reference: Mapping[str, float],
    journal: Journal,
) -> StartingPoint:
    """The labelled rows and the hyperparameters that all arms start from (fitted, or read back)."""
    X = scaler.transform(latents.latents[latents.rows(split.train)])
    y = values_of(reference, split.train)
    folder, known = context.folder, context.history.hyperparameters
    if known is not None:
        return StartingPoint(Hyperparameters.from_json(dict(known)), split.train, X, y)
    with context.timed("GP fit"):
        fit = ray.get(gp.fit.remote(X, y, context.config.gp, context.config.seed))
    for warning in fit.warnings:
        context.progress.line(f"Warning: {warning}")
    content = {
        "hyperparameters": fit.hyperparameters.to_json(),
        "scaler": scaler.to_json(),
        "trace": [asdict(step) for step in fit.trace],
        "seconds": fit.seconds,
        "warnings": list(fit.warnings),
    }
    folder.write_json(folder.gp, content)
    journal.append({"event": "gp", "hyperparameters": fit.hyperparameters.to_json()})
    return StartingPoint(fit.hyperparameters, split.train, X, y)
