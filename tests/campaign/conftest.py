"""What several tests share: a finished campaign, whose files they look at, and actors that score."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import ray
from support.stretches import POOL, TEST, points, truth
from support.tiny_campaign import tiny_config

from gpnet_ray.actors.gp_worker import GpWorker
from gpnet_ray.actors.pool_shard import PoolShard


@pytest.fixture(scope="session")
def finished(small_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from gpnet_ray import Campaign, IonicOracle, hypothetical_dataset
    from gpnet_ray.progress import NullProgress

    config = tiny_config(
        tmp_path_factory.mktemp("runs"),
        name="finished",
        **{"selection.strategies": ["max-sigma", "random", "distance"]},
    )
    dataset = hypothetical_dataset(90, seed=config.seed, progress=NullProgress())
    return Campaign(dataset, config, oracle=IonicOracle()).run()


@pytest.fixture(scope="module")
def scorers(small_ray: None) -> Iterator[tuple[Any, list[Any]]]:
    """The Gaussian process and two shards of the pool of ``support.stretches``."""
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
