"""Small problems, and the loop that builds the Gaussian process anew in every cycle."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.messages import PlannedCycle
from gpnet_ray.gp.posterior import Posterior
from gpnet_ray.gp.scored_points import ScoredPoints
from gpnet_ray.gp.selection import plan_cycles


@dataclass(frozen=True)
class Problem:
    """Labelled points, a pool and test points, with smooth labels."""

    hyperparameters: Hyperparameters
    train_ids: list[str]
    train_X: np.ndarray  # noqa: N815
    train_y: np.ndarray
    pool_ids: list[str]
    pool_X: np.ndarray  # noqa: N815
    pool_y: np.ndarray
    test_ids: list[str]
    test_X: np.ndarray  # noqa: N815
    test_y: np.ndarray

    def posterior(self) -> Posterior:
        return Posterior(self.hyperparameters, self.train_ids, self.train_X, self.train_y)

    def pool_row(self, material_id: str) -> int:
        return self.pool_ids.index(material_id)

    def shards(self, count: int, posterior: Posterior | None = None) -> list[ScoredPoints]:
        """The pool dealt out to ``count`` shards in turn."""
        snapshot = (posterior or self.posterior()).snapshot()
        return [
            ScoredPoints(
                snapshot,
                self.pool_ids[i::count],
                self.pool_X[i::count],
                reference=self.pool_y[i::count],
            )
            for i in range(count)
        ]

    def test_points(self, posterior: Posterior | None = None) -> ScoredPoints:
        snapshot = (posterior or self.posterior()).snapshot()
        return ScoredPoints(snapshot, self.test_ids, self.test_X, reference=self.test_y)


def make_problem(
    *,
    seed: int = 0,
    n_train: int = 30,
    n_pool: int = 80,
    n_test: int = 25,
    d: int = 4,
    **changes: object,
) -> Problem:
    rng = np.random.default_rng(seed)
    X = rng.uniform(size=(n_train + n_pool + n_test, d))
    y = np.sin(3 * X[:, 0]) - 2 * X[:, 1] ** 2 + rng.normal(0, 0.05, size=len(X))
    numbers = {"kernel": "laplacian", "amplitude": 1.3, "length_scale": 1.7, "noise_std": 0.05}
    hyperparameters = Hyperparameters(**{**numbers, "mean": -0.4, **changes})
    # Ids whose order is not the order of the rows, as in real data.
    ids = [f"mp-{number}" for number in rng.permutation(10 * len(X))[: len(X)]]
    a, b = n_train, n_train + n_pool
    return Problem(
        hyperparameters,
        *(
            part
            for s in (slice(0, a), slice(a, b), slice(b, None))
            for part in (ids[s], X[s], y[s])
        ),
    )


@pytest.fixture
def problem() -> Problem:
    return make_problem()


@pytest.fixture
def problem_like() -> Callable[..., Problem]:
    return make_problem


def regression_model(
    hyperparameters: Hyperparameters, X: np.ndarray, y: np.ndarray, X_new: np.ndarray
) -> tfp.distributions.GaussianProcessRegressionModel:
    """TFP's own posterior, the independent implementation that ours is measured against.

    Its kernels take distances through a matrix product, which is wrong by 1e-8 already on the
    diagonal; with the base class's way they are differences.
    """
    psd_kernels = tfp.math.psd_kernels
    kernel_type = {
        "laplacian": psd_kernels.MaternOneHalf,
        "matern32": psd_kernels.MaternThreeHalves,
        "matern52": psd_kernels.MaternFiveHalves,
        "rbf": psd_kernels.ExponentiatedQuadratic,
        "rational-quadratic": psd_kernels.RationalQuadratic,
    }[hyperparameters.kernel]
    accurate = type(
        "Accurate", (kernel_type,), {"_matrix": psd_kernels.PositiveSemidefiniteKernel._matrix}
    )
    return tfp.distributions.GaussianProcessRegressionModel(
        kernel=accurate(
            tf.constant(hyperparameters.amplitude, tf.float64),
            tf.constant(hyperparameters.length_scale, tf.float64),
        ),
        index_points=X_new,
        observation_index_points=X,
        observations=y,
        observation_noise_variance=tf.constant(hyperparameters.noise_std**2, tf.float64),
        mean_fn=lambda _: tf.constant(hyperparameters.mean, tf.float64),
        jitter=0.0,
    )


@pytest.fixture
def rebuilt_gp() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Mean and standard deviation of observations, by TFP."""

    def predict(hyperparameters, X, y, X_new):
        model = regression_model(hyperparameters, X, y, X_new)
        return model.mean().numpy(), model.stddev().numpy()

    return predict


@pytest.fixture
def rebuilt_loop() -> Callable[..., tuple[list[str], list[float], list[np.ndarray]]]:
    """Max-σ, one label a cycle, a new TFP model in every cycle: ids, σ, means of the test points."""

    def loop(problem: Problem, cycles: int):
        X, y = problem.train_X, problem.train_y
        left = list(range(len(problem.pool_ids)))
        ids, sigmas, test_means = [], [], []
        for _ in range(cycles):
            model = regression_model(problem.hyperparameters, X, y, problem.pool_X[left])
            stddev = model.stddev().numpy()
            # Equal but for rounding counts as a tie, which the smallest id wins.
            tied = [left[i] for i in np.flatnonzero(stddev > stddev.max() - 1e-9)]
            pick = min(tied, key=lambda row: problem.pool_ids[row])
            ids.append(problem.pool_ids[pick])
            sigmas.append(float(stddev.max()))
            X, y = np.vstack([X, problem.pool_X[pick]]), np.append(y, problem.pool_y[pick])
            left.remove(pick)
            test = regression_model(problem.hyperparameters, X, y, problem.test_X)
            test_means.append(test.mean().numpy())
        return ids, sigmas, test_means

    return loop


@pytest.fixture
def sharded_loop() -> Callable[..., tuple[PlannedCycle, ...]]:
    """The engine's loop as a driver runs it: plans in rounds, until ``cycles`` are done."""

    def loop(problem: Problem, cycles: int, *, shards: int, limit: int, **how: object):
        posterior = problem.posterior()
        parts = problem.shards(shards, posterior)
        done: list[PlannedCycle] = []
        while len(done) < cycles:
            proposals = [part.propose(limit) for part in parts]
            plan = plan_cycles(posterior, proposals, cycles=cycles - len(done), **how)
            if not plan:
                limit *= 2
                assert limit < 4 * len(problem.pool_ids), (
                    "a plan from the whole pool is never empty"
                )
                continue
            picks = [material_id for cycle in plan for material_id in cycle.ids]
            rows = [problem.pool_row(material_id) for material_id in picks]
            block = posterior.commit(picks, problem.pool_X[rows], problem.pool_y[rows])
            for part in parts:
                part.absorb(block)
            done += plan
        return tuple(done)

    return loop


@dataclass(frozen=True)
class RealLatents:
    ids: np.ndarray
    latents: np.ndarray
    y: np.ndarray
    split: np.ndarray


@pytest.fixture(scope="session")
def real_latents() -> RealLatents:
    folder = os.environ.get("GPNET_RAY_TEST_DATA")
    if not folder:
        pytest.skip("GPNET_RAY_TEST_DATA is not set: no real latents to test with")
    import pyarrow.parquet as pq

    table = pq.read_table(Path(folder) / "mp_oxides_latents.parquet")
    return RealLatents(
        ids=np.array(table["material_id"].to_pylist()),
        latents=np.stack(table["latent"].to_numpy()),
        y=table["formation_energy_per_atom"].to_numpy(),
        split=np.array(table["split"].to_pylist()),
    )
