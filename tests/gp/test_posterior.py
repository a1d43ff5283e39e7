"""The growing posterior against TFP's, and what it does with repeated, bad and degenerate input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from gpnet_ray.errors import InputError, NumericalError
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.kernels import trace_count
from gpnet_ray.gp.linear_algebra import gram_of_lower, invert_lower, solve_lower
from gpnet_ray.gp.posterior import Posterior
from gpnet_ray.gp.scored_points import ScoredPoints
from gpnet_ray.gp.settings import KERNELS

# float64 with a condition number of about (1.3 / 0.05)² × 100 points: 1e-16 × 1e5.
TOLERANCE = 1e-10


@pytest.mark.parametrize("kernel", [name for name in KERNELS if name != "laplacian-l1"])
def test_mean_and_sigma_equal_those_of_tfp(problem_like, rebuilt_gp, kernel):
    problem = problem_like(kernel=kernel)
    mean, sigma = problem.posterior().predict(problem.test_X)
    expected_mean, expected_sigma = rebuilt_gp(
        problem.hyperparameters, problem.train_X, problem.train_y, problem.test_X
    )
    np.testing.assert_allclose(mean, expected_mean, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(sigma, expected_sigma, rtol=0, atol=TOLERANCE)


def test_growing_by_blocks_equals_starting_with_everything(problem):
    grown = problem.posterior()
    capacity = 0
    for rows in (slice(0, 1), slice(1, 40), slice(40, 80)):
        grown.commit(problem.pool_ids[rows], problem.pool_X[rows], problem.pool_y[rows])
        capacity = max(capacity, len(grown))
    whole = Posterior(
        problem.hyperparameters,
        problem.train_ids + problem.pool_ids,
        np.vstack([problem.train_X, problem.pool_X]),
        np.append(problem.train_y, problem.pool_y),
    )
    assert grown.ids == whole.ids
    for ours, theirs in zip(
        grown.predict(problem.test_X), whole.predict(problem.test_X), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE)
    a, b = grown.snapshot(), whole.snapshot()
    np.testing.assert_allclose(a.L, b.L, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(a.z, b.z, rtol=0, atol=TOLERANCE)


def test_a_snapshot_is_not_changed_by_later_labels(problem):
    posterior = Posterior(
        problem.hyperparameters, ["a", "b"], problem.train_X[:2], [0.0, 1.0], reserve=9
    )
    snapshot = posterior.snapshot()
    before = (snapshot.L.copy(), snapshot.z.copy(), snapshot.X.copy())
    posterior.commit(["c"], problem.train_X[2:3], [2.0])
    assert [a.tolist() for a in (snapshot.L, snapshot.z, snapshot.X)] == [
        a.tolist() for a in before
    ]


def test_a_block_extends_the_factor_of_the_points_before(problem):
    posterior = problem.posterior()
    before = posterior.snapshot()
    block = posterior.commit(problem.pool_ids[:6], problem.pool_X[:6], problem.pool_y[:6])
    after = posterior.snapshot()
    n = len(problem.train_ids)
    assert after.L[:n, :n].tolist() == before.L.tolist()
    assert after.L[n:, :n].tolist() == block.V.T.tolist()
    assert after.L[n:, n:].tolist() == block.L.tolist()
    assert after.z[n:].tolist() == block.z.tolist()
    assert block.ids == tuple(problem.pool_ids[:6])


def test_the_same_label_twice_changes_nothing_and_another_label_is_an_error(problem):
    posterior = problem.posterior()
    ids, X, y = problem.pool_ids[:3], problem.pool_X[:3], problem.pool_y[:3]
    posterior.commit(ids, X, y)
    before = posterior.snapshot()
    assert len(posterior.commit(ids, X, y)) == 0
    # One new among known ones, and twice in the same call.
    block = posterior.commit([*ids, "new", "new"], np.vstack([X, X[:1], X[:1]]), [*y, 0.5, 0.5])
    assert block.ids == ("new",)
    posterior = problem.posterior()
    posterior.commit(ids, X, y)
    with pytest.raises(InputError, match=f"'{ids[1]}' has the label"):
        posterior.commit(["other", *ids], np.vstack([X[:1], X]), [0.1, y[0], y[1] + 1e-9, y[2]])
    with pytest.raises(InputError, match=r"'x' has the label 1\.0 already and now 2\.0"):
        posterior.commit(["x", "x"], X[:2], [1.0, 2.0])
    after = posterior.snapshot()
    assert len(posterior) == len(before.z)
    assert after.L.tolist() == before.L.tolist()


def test_tiles_do_not_change_predictions(problem):
    small = Posterior(
        problem.hyperparameters,
        problem.train_ids,
        problem.train_X,
        problem.train_y,
        memory_budget_bytes=3 * 8 * len(problem.train_ids) * 7,  # tiles of 7 points
    )
    for ours, theirs in zip(
        small.predict(problem.pool_X), problem.posterior().predict(problem.pool_X), strict=True
    ):
        # A matrix product may add its terms in another order.
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-13)


def test_the_buffer_doubles_and_nothing_is_traced_again_as_the_factor_grows(problem_like):
    problem = problem_like(kernel="matern52", n_pool=120)
    posterior = problem.posterior()
    for i in range(0, 120, 7):
        rows = slice(i, i + 7)
        posterior.commit(problem.pool_ids[rows], problem.pool_X[rows], problem.pool_y[rows])
        posterior.predict(problem.test_X[: 1 + i % 20])
    assert len(posterior) == 150
    # Its memory doubles each time: 30², 43², 61², 87², 124², 176² entries.
    assert posterior.capacity == 176
    assert trace_count("matern52") == 1


def test_repeated_points_without_noise_are_factorised_with_jitter_that_is_reported(problem_like):
    problem = problem_like(noise_std=0.0)
    posterior = problem.posterior()
    assert posterior.jitter == 0.0
    X = np.vstack([problem.train_X[:2], problem.pool_X[:1], problem.pool_X[:1]])
    block = posterior.commit(
        ["twin-a", "twin-b", "c", "c-twin"], X, [*problem.train_y[:2], 0.3, 0.3]
    )
    assert 0 < posterior.jitter <= 1e-4 * 1.3**2
    assert posterior.snapshot().jitter == posterior.jitter
    assert np.isfinite(block.L).all()
    mean, sigma = posterior.predict(X)
    # What was observed twice without noise is known, but for the jitter (1e-12 of amplitude²).
    np.testing.assert_allclose(mean, [*problem.train_y[:2], 0.3, 0.3], atol=1e-5)
    assert np.all(sigma < 1e-5)


def test_a_covariance_beyond_repair_is_an_error_that_says_what_to_do(problem, monkeypatch):
    monkeypatch.setattr(tf.linalg, "cholesky", lambda K: K * float("nan"))
    with pytest.raises(NumericalError, match="larger noise_std"):
        problem.posterior()


def test_negative_variances_are_clipped_and_counted(problem_like):
    problem = problem_like(noise_std=0.0, n_train=60)
    posterior = problem.posterior()
    points = problem.shards(1, posterior)[0]
    _, sigma = posterior.predict(problem.train_X)
    # Variances that are zero but for rounding: some of 60 come out below zero, some above.
    assert 0 < posterior.clipped < 60
    assert np.count_nonzero(sigma == 0) >= posterior.clipped
    assert points.clipped == 0
    points = ScoredPoints(posterior.snapshot(), problem.train_ids, problem.train_X)
    assert 0 < points.clipped < 60
    assert np.all(points.predictions()[2] >= 0)


def test_one_labelled_point_is_enough_and_no_new_point_gives_nothing():
    numbers = Hyperparameters("laplacian", 2.0, 1.0, 0.5, 1.0)
    posterior = Posterior(numbers, ["a"], [[0.0, 0.0]], [3.0])
    mean, sigma = posterior.predict([[0.0, 0.0]])
    # By hand: k / (k + noise²) of the residual; k − k² / (k + noise²) + noise².
    assert mean[0] == pytest.approx(1.0 + 4.0 / 4.25 * 2.0, rel=1e-15)
    assert sigma[0] == pytest.approx(np.sqrt(4.0 - 16.0 / 4.25 + 0.25), rel=1e-15)
    assert [len(part) for part in posterior.predict(np.empty((0, 2)))] == [0, 0]


def test_without_labels_the_prior_is_predicted():
    numbers = Hyperparameters("laplacian", 2.0, 1.0, 0.5, 1.0)
    mean, sigma = Posterior(numbers, [], np.empty((0, 2)), []).predict(np.ones((3, 2)))
    assert mean.tolist() == [1.0] * 3
    np.testing.assert_allclose(sigma, np.sqrt(4.25), rtol=1e-15)


def test_bad_input_is_refused_with_its_value(problem):
    posterior = problem.posterior()
    X = problem.pool_X
    with pytest.raises(InputError, match="3 wide, expected 4"):
        posterior.predict(X[:, :3])
    with pytest.raises(InputError, match=r"NaN or infinite values in 1 of 2 rows \(first: row 1\)"):
        posterior.predict([X[0], [0, np.nan, 0, 0]])
    with pytest.raises(InputError, match=r"label of 'b' is nan"):
        posterior.commit(["a", "b"], X[:2], [0.0, np.nan])
    with pytest.raises(InputError, match="2 ids with latents of shape"):
        posterior.commit(["a", "b"], X[:3], [0.0, 1.0, 2.0])
    with pytest.raises(InputError, match="2 length scales for latents of width 4"):
        Posterior(replace(problem.hyperparameters, length_scale=(1.0, 2.0)), ["a"], X[:1], [0.0])
    assert len(posterior) == len(problem.train_ids)


@pytest.mark.parametrize("n", [1, 511, 513, 1200])
def test_triangles_halved_give_what_whole_ones_give(n):
    rng = np.random.default_rng(n)
    L = np.tril(rng.normal(size=(n, n))) / np.sqrt(n) + 3 * np.eye(n)
    B = rng.normal(size=(n, 3))
    # Well conditioned (below 10): rounding of n additions.
    np.testing.assert_allclose(L @ solve_lower(tf.constant(L), tf.constant(B)), B, atol=1e-12)
    inverse = invert_lower(tf.constant(L)).numpy()
    np.testing.assert_allclose(L @ inverse, np.eye(n), atol=1e-12)
    assert np.all(np.triu(inverse, 1) == 0)
    np.testing.assert_allclose(gram_of_lower(tf.constant(L)), L.T @ L, atol=1e-11)
