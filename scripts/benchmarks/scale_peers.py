"""What a user would get otherwise: mean and σ of every candidate of a pool, once, by other libraries.

Each gets the same labelled points and hyperparameters, factorises once, and is asked in tiles, since none of them would
hold the covariances of a whole pool.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from scale_checks import laplacian_length
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from gpnet_ray.campaign.surrogate import Surrogate
from gpnet_ray.data.pool_folder import MappedLatents, PoolFolder
from gpnet_ray.types import FloatArray

__all__ = ["PEERS"]

TILE = 8192
"""Candidates at once: 120 MB of covariances with 1,800 labelled points."""


def scikit_learn(surrogate: Surrogate, pool: PoolFolder) -> float:
    """``GaussianProcessRegressor.predict(return_std=True)``; seconds."""
    h = surrogate.hyperparameters
    kernel = ConstantKernel(h.amplitude**2) * Matern(laplacian_length(h), nu=0.5)
    process = GaussianProcessRegressor(kernel, alpha=h.noise_std**2, optimizer=None)
    process.fit(surrogate.scaler.transform(surrogate.latents), surrogate.labels - h.mean)
    return _seconds(lambda X: process.predict(X, return_std=True), surrogate, pool)


def tensorflow_probability(surrogate: Surrogate, pool: PoolFolder) -> float:
    """``GaussianProcessRegressionModel.precompute_regression_model`` with ``mean`` and ``stddev``; seconds."""
    h = surrogate.hyperparameters
    length = np.float64(laplacian_length(h))
    kernel = tfp.math.psd_kernels.MaternOneHalf(np.float64(h.amplitude), length)
    X = surrogate.scaler.transform(surrogate.latents)
    # TFP's own constructors pass each other what it calls deprecated.
    tf.get_logger().addFilter(lambda record: "`jitter` is deprecated" not in record.getMessage())
    model = tfp.distributions.GaussianProcessRegressionModel.precompute_regression_model(
        kernel,
        index_points=X[:TILE],
        observation_index_points=X,
        observations=surrogate.labels,
        observation_noise_variance=np.float64(h.noise_std**2),
        mean_fn=lambda _: np.float64(h.mean),
    )

    def predict(points: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        there = model.copy(index_points=points)
        return there.mean(), there.stddev()

    compiled = tf.function(predict, reduce_retracing=True)
    return _seconds(lambda tile: compiled(tf.constant(tile)), surrogate, pool)


def _seconds(
    predict: Callable[[FloatArray], object], surrogate: Surrogate, pool: PoolFolder
) -> float:
    begun = time.perf_counter()
    for tile in _tiles(surrogate, pool):
        predict(tile)
    return time.perf_counter() - begun


def _tiles(surrogate: Surrogate, pool: PoolFolder) -> Iterator[FloatArray]:
    for file in pool.files:
        latents = MappedLatents(file).latents
        for start in range(0, len(latents), TILE):
            yield surrogate.scaler.transform(latents[start : start + TILE])


PEERS = {"scikit-learn": scikit_learn, "TensorFlow Probability": tensorflow_probability}
