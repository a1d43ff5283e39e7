"""The engine on latents of 10,455 real oxides: figures that an independent NumPy loop gave before."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import cho_factor, solve_triangular
from scipy.spatial.distance import cdist

from gpnet_ray.gp.fit import fit_hyperparameters
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.posterior import Posterior
from gpnet_ray.gp.scaling import LatentScaler
from gpnet_ray.gp.scored_points import ScoredPoints
from gpnet_ray.gp.selection import plan_cycles
from gpnet_ray.gp.settings import GpConfig

# What the fit on the 1,800 train rows gives, so that these tests need not wait for it.
FITTED = Hyperparameters("laplacian", 2.3583737, 88.303756, 0.02180804, -1.1799355)


@pytest.fixture(scope="module")
def scaled(real_latents):
    train = real_latents.split == "train"
    return LatentScaler.fit(real_latents.latents[train], "min-max").transform(real_latents.latents)


def rows(real_latents, name):
    return np.flatnonzero(real_latents.split == name)


def test_fit_on_600_rows_takes_few_evaluations_and_predicts_well(real_latents, scaled):
    train, test = rows(real_latents, "train")[:600], rows(real_latents, "test")
    result = fit_hyperparameters(scaled[train], real_latents.y[train], config=GpConfig())
    assert len(result.trace) <= 60
    ids = real_latents.ids[train].tolist()
    posterior = Posterior(result.hyperparameters, ids, scaled[train], real_latents.y[train])
    mean, _ = posterior.predict(scaled[test])
    # 0.107 with all 1,800; a third of the labels cannot do better, and not a fifth worse here.
    assert 0.107 < np.abs(mean - real_latents.y[test]).mean() < 0.13


def test_first_picks_equal_those_of_a_scipy_loop_that_refactorises(real_latents, scaled):
    train, pool = rows(real_latents, "train")[:500], rows(real_latents, "pool")
    X, left = scaled[train], pool.copy()
    expected, expected_sigmas = [], []
    for _ in range(25):
        K = FITTED.amplitude**2 * np.exp(-cdist(X, X) / FITTED.length_scale)
        L, _ = cho_factor(K + FITTED.noise_std**2 * np.eye(len(X)), lower=True)
        k = FITTED.amplitude**2 * np.exp(-cdist(X, scaled[left]) / FITTED.length_scale)
        V = solve_triangular(L, k, lower=True)
        variance = FITTED.amplitude**2 + FITTED.noise_std**2 - np.sum(V**2, axis=0)
        best = int(np.argmax(variance))
        expected.append(real_latents.ids[left[best]])
        expected_sigmas.append(np.sqrt(variance[best]))
        X, left = np.vstack([X, scaled[left[best]]]), np.delete(left, best)
    ids = real_latents.ids[train].tolist()
    posterior = Posterior(FITTED, ids, scaled[train], real_latents.y[train])
    snapshot = posterior.snapshot()
    shards = [
        ScoredPoints(snapshot, real_latents.ids[pool[i::3]].tolist(), scaled[pool[i::3]])
        for i in range(3)
    ]
    plan = plan_cycles(
        posterior, [shard.propose(60) for shard in shards], strategy="max-sigma", cycles=25
    )
    assert [cycle.ids[0] for cycle in plan] == expected
    # The issue asks for 1e-8; float64 gives 1e-12 of a prior variance of 5.6.
    sigmas = [cycle.sigmas[0] for cycle in plan]
    np.testing.assert_allclose(sigmas, expected_sigmas, rtol=0, atol=1e-9)


@pytest.mark.slow
def test_1500_labels_by_max_sigma_lower_the_test_error_as_measured_before(real_latents, scaled):
    train, pool, test = (rows(real_latents, name) for name in ("train", "pool", "test"))
    ids, y = real_latents.ids, real_latents.y
    row_of = {material_id: row for row, material_id in enumerate(ids.tolist())}
    posterior = Posterior(FITTED, ids[train].tolist(), scaled[train], y[train], reserve=3300)
    snapshot = posterior.snapshot()
    pool_points = ScoredPoints(snapshot, ids[pool].tolist(), scaled[pool])
    test_points = ScoredPoints(snapshot, ids[test].tolist(), scaled[test], reference=y[test])
    mae = [test_points.error_sums().metrics()["mae"]]
    while len(posterior) < 3300:
        proposal = pool_points.propose(1000)
        plan = plan_cycles(
            posterior, [proposal], strategy="max-sigma", cycles=3300 - len(posterior)
        )
        picked = [cycle.ids[0] for cycle in plan]
        chosen = [row_of[i] for i in picked]
        block = posterior.commit(picked, scaled[chosen], y[chosen])
        pool_points.absorb(block)
        sums = test_points.absorb(block, cycle_of=np.arange(len(plan)), n_cycles=len(plan))
        mae.append(sums.metrics()["mae"])
    curve = np.concatenate(mae)
    assert len(curve) == 1501
    # Printed to four decimals by the loop they come from; its hyperparameters differed by about 1e-3.
    np.testing.assert_allclose(
        curve[[0, 500, 1000, 1500]], [0.1068, 0.0946, 0.0909, 0.0909], atol=3e-4
    )
    assert posterior.jitter == 0.0
