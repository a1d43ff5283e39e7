"""Kernels against TFP on differences (its accurate, memory-hungry form) and SciPy's distances."""

from __future__ import annotations

import tempfile

import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial.distance import cdist

from gpnet_ray.gp import kernels, likelihood
from gpnet_ray.gp.fit import fit_hyperparameters
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.kernels import (
    gram_matrix,
    kernel_matrix,
    make_kernel,
    pairwise_distances,
    trace_count,
)
from gpnet_ray.gp.settings import KERNELS, GpConfig

# A few rounding errors of numbers of size 1 (amplitude² = 1.69).
ROUNDING = 5e-15


def with_close_pairs(n: int, m: int, *, d: int = 5, seed: int = 0, offset: float = 0.0):
    """Points of which some of Y equal some of X, and some are as close as 1e-6."""
    rng = np.random.default_rng(seed)
    X, Y = rng.uniform(size=(n, d)), rng.uniform(size=(m, d))
    Y[: m // 4] = X[: m // 4]
    Y[m // 4 : m // 2] = X[: m // 4] + 1e-6 * rng.normal(size=(m // 4, d))
    return X + offset, Y + offset


def numbers(kernel: str, length_scale: float | tuple[float, ...] = 0.7) -> Hyperparameters:
    return Hyperparameters(kernel, 1.3, length_scale, 0.1, 0.0)


@pytest.mark.parametrize("kernel", [name for name in KERNELS if name != "laplacian-l1"])
def test_covariances_equal_those_of_tfp(kernel):
    X, Y = with_close_pairs(40, 60)
    ours = kernel_matrix(numbers(kernel), X, Y).numpy()
    tfp_kernel = make_kernel(kernel, tf.constant(1.3, tf.float64), tf.constant(0.7, tf.float64))
    theirs = tfp_kernel.apply(X[:, np.newaxis], Y[np.newaxis]).numpy()
    np.testing.assert_allclose(ours, theirs, atol=ROUNDING)


def test_laplacian_kernels_are_the_formulas_of_the_paper():
    X, Y = with_close_pairs(40, 60)
    for kernel, metric in (("laplacian", "euclidean"), ("laplacian-l1", "cityblock")):
        expected = 1.69 * np.exp(-cdist(X, Y, metric) / 0.7)
        np.testing.assert_allclose(kernel_matrix(numbers(kernel), X, Y), expected, atol=ROUNDING)


@pytest.mark.parametrize("metric", ["euclidean", "cityblock"])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_distances_are_accurate_for_points_that_are_close_or_far_from_the_origin(metric, offset):
    X, Y = with_close_pairs(120, 200, offset=offset)
    distances = pairwise_distances(X, Y, metric=metric).numpy()
    # Near pairs are differences: exact but for the 1e-13 that a coordinate near 1e3 is rounded by.
    np.testing.assert_allclose(distances, cdist(X, Y, metric), rtol=0, atol=1e-14 + 1e-15 * offset)
    assert np.all(distances[np.arange(50), np.arange(50)] == 0.0)


@pytest.mark.parametrize("outliers", [1, 60, 190])
def test_outliers_cost_their_neighbours_no_digits(outliers):
    X, Y = with_close_pairs(120, 200)
    far = np.random.default_rng(1).permutation(200)[:outliers]
    Y[far, 2] = 1e9 * (1 + np.random.default_rng(2).uniform(size=outliers))
    for A, B in ((X, Y), (Y, X), (Y, Y)):
        distances, expected = pairwise_distances(A, B).numpy(), cdist(A, B)
        np.testing.assert_allclose(distances, expected, rtol=1e-12, atol=1e-14)


def test_the_centre_of_a_tile_is_where_most_of_its_points_are():
    _, Y = with_close_pairs(1000, 1000)
    outliers = np.random.default_rng(1).permutation(1000)[:100]
    Y[outliers] += 1e9
    # Pairs are computed again where they are close compared with their distance from it, at ten times the cost.
    assert np.abs(kernels._centre(tf.constant(Y)).numpy()).max() < 2.0
    for rows in (0, 1, 2, 3, 8):
        expected = np.median(Y[:rows], axis=0) if rows else np.zeros(Y.shape[1])
        np.testing.assert_allclose(kernels._centre(tf.constant(Y[:rows])), expected, rtol=1e-15)


def test_more_close_pairs_than_are_computed_again_at_once_are_all_accurate():
    # 90,000 pairs within 1e-6 of each other, far from the other points.
    X = np.random.default_rng(0).normal(size=(310, 3))
    X[10:] = 7.0 + 1e-6 * X[10:]
    distances = pairwise_distances(X, X).numpy()
    # The others keep 12 digits or more.
    np.testing.assert_allclose(distances, cdist(X, X), rtol=1e-12, atol=1e-14)


def test_the_diagonal_is_amplitude_squared_to_the_last_digit():
    X, _ = with_close_pairs(50, 8)
    for kernel in KERNELS:
        assert np.all(np.diag(gram_matrix(numbers(kernel), X)) == 1.3**2)


@pytest.mark.parametrize("kernel", ["laplacian", "laplacian-l1", "matern52"])
def test_one_length_scale_a_dimension_scales_the_axes(kernel):
    X, Y = with_close_pairs(30, 40, d=3)
    lengths = (0.5, 2.0, 9.0)
    np.testing.assert_allclose(
        kernel_matrix(numbers(kernel, lengths), X, Y),
        kernel_matrix(numbers(kernel, 1.0), X / np.array(lengths), Y / np.array(lengths)),
        atol=ROUNDING,
    )


def test_no_size_is_traced_twice():
    for n, m in ((3, 5), (7, 2), (50, 1), (0, 4), (4, 0), (1500, 1200)):
        assert kernel_matrix(numbers("matern32"), np.ones((n, 2)), np.ones((m, 2))).shape == (n, m)
    assert trace_count("matern32") == 1


def test_tracing_leaves_no_file_behind(tmp_path, monkeypatch):
    # What AutoGraph generates lies in the temporary folder until its process exits, and actors are killed.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kernels._kernel_function.cache_clear()
    likelihood._gradients.cache_clear()
    X = np.random.default_rng(0).normal(size=(6, 2))
    fit_hyperparameters(X, X[:, 0], config=GpConfig(max_evaluations=2))
    kernel_matrix(Hyperparameters("laplacian", 1.0, 1.0, 0.1, 0.0), X, X)
    assert not list(tmp_path.iterdir())
