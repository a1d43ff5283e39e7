"""A scorer that Ray has started again says so, instead of answering from nothing."""

from __future__ import annotations

import numpy as np
import pytest

from gpnet_ray.actors.gp_worker import GpWorker
from gpnet_ray.actors.pool_shard import PoolShard
from gpnet_ray.errors import ActorRestartedError, InputError
from gpnet_ray.gp.hyperparameters import Hyperparameters


def test_a_scorer_without_a_posterior_says_that_it_has_none() -> None:
    worker = GpWorker(["t"], np.zeros((1, 2)), np.zeros(1))
    shard = PoolShard(["p"], np.zeros((1, 2)), None)
    cycle_of = np.zeros(1, dtype=np.int32)
    calls = [
        lambda: worker.commit(["p"], np.zeros(1), cycle_of, 1),
        lambda: worker.plan("max-sigma", 1, 1, None, None),
        worker.test_error_sums,
        worker.numerics,
        lambda: shard.propose(1),
        lambda: shard.withdraw(["p"]),
    ]
    for call in calls:
        with pytest.raises(ActorRestartedError, match="call reset first"):
            call()


def test_a_reset_that_fails_leaves_no_earlier_posterior_to_answer_from() -> None:
    worker = GpWorker(["t"], np.zeros((1, 2)), np.zeros(1))
    hyperparameters = Hyperparameters("laplacian", 1.0, 1.0, 0.1, 0.0)
    worker.reset(hyperparameters, ["a"], np.ones((1, 2)), np.zeros(1), reserve=3)
    assert worker.numerics() == (0.0, 0)
    for again in (worker.reset, worker.relearn):
        with pytest.raises(InputError, match="label of 'a' is nan"):
            again(hyperparameters, ["a"], np.ones((1, 2)), np.full(1, np.nan), reserve=3)
        with pytest.raises(ActorRestartedError, match="call reset first"):
            worker.numerics()
