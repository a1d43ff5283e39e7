"""The marginal likelihood of the labels and its exact gradient.

Rasmussen and Williams (2006), Eq. 2.30 and 5.9: with r = y − m and α = K⁻¹ r,
−log p = ½ rᵀ α + Σ log L_ii + n/2 log 2π, and its derivative by K is ½ (K⁻¹ − α αᵀ).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import tensorflow as tf

from gpnet_ray.gp.kernels import kernel_of_distance
from gpnet_ray.gp.linear_algebra import cholesky_with_jitter, gram_of_lower, invert_lower
from gpnet_ray.types import FloatArray

__all__ = ["Likelihood", "LikelihoodValue"]


@dataclass(frozen=True)
class LikelihoodValue:
    """The likelihood at one point of the hyperparameter space.

    Attributes:
        negative_log_likelihood: −log p(y | hyperparameters), of all n labels.
        gradient: Its derivatives by log amplitude, log length scale and log noise_std, shape (3,).
        mean: The constant mean that is best for these hyperparameters, target's unit.
        jitter: Variance that had to be added to the diagonal.
    """

    negative_log_likelihood: float
    gradient: FloatArray
    mean: float
    jitter: float


class Likelihood:
    """−log p(y) as a function of the hyperparameters, for distances computed once.

    Args:
        kernel: Name of the kernel.
        distances: Between the labelled points, float64 (n, n).
        y: Labels, float64 (n,), target's unit.
        constant_mean: Whether the mean is the best constant (generalised least squares) or zero.
    """

    def __init__(
        self, kernel: str, distances: tf.Tensor, y: FloatArray, *, constant_mean: bool
    ) -> None:
        self._kernel, self._distances, self._y = kernel, distances, y
        self._constant_mean = constant_mean

    @property
    def n(self) -> int:
        """Number of labels."""
        return len(self._y)

    def __call__(self, amplitude: float, length_scale: float, noise_std: float) -> LikelihoodValue:
        """Evaluate at amplitude and noise_std (target's unit) and a length scale.

        Raises:
            NumericalError: K cannot be factorised with any jitter.
        """
        log_parameters = tf.math.log(tf.constant([amplitude, length_scale], tf.float64))
        K = _covariances(self._kernel)(self._distances, log_parameters)
        K = tf.linalg.set_diag(K, tf.linalg.diag_part(K) + noise_std**2)
        L, jitter = cholesky_with_jitter(
            K, variance_scale=amplitude**2, what="the covariance of the labelled points"
        )
        inverse = gram_of_lower(invert_lower(L))
        ones = np.ones(len(self._y))
        weights = tf.linalg.matvec(inverse, ones).numpy()
        # Where the mean is the best one, its own derivative is zero and adds nothing to the others.
        mean = float(weights @ self._y / weights.sum()) if self._constant_mean else 0.0
        residual = self._y - mean
        alpha = tf.linalg.matvec(inverse, residual)
        value = (
            0.5 * float(residual @ alpha.numpy())
            + float(tf.reduce_sum(tf.math.log(tf.linalg.diag_part(L))))
            + 0.5 * len(residual) * math.log(2 * math.pi)
        )
        by_covariance = 0.5 * (inverse - alpha[:, tf.newaxis] * alpha)
        by_kernel = _gradient(self._kernel)(self._distances, log_parameters, by_covariance).numpy()
        by_noise = 2.0 * noise_std**2 * float(tf.linalg.trace(by_covariance))
        return LikelihoodValue(value, np.append(by_kernel, by_noise), mean, jitter)


def _kernel_with_exact_diagonal(
    name: str, distances: tf.Tensor, log_parameters: tf.Tensor
) -> tf.Tensor:
    amplitude, length_scale = tf.unstack(tf.exp(log_parameters), num=2)
    K = kernel_of_distance(name, distances, amplitude, length_scale)
    return tf.linalg.set_diag(K, tf.fill([tf.shape(K)[0]], amplitude**2))


_MATRIX = tf.TensorSpec([None, None], tf.float64)
_VECTOR = tf.TensorSpec([None], tf.float64)


@cache
def _covariances(name: str) -> tf.types.experimental.PolymorphicFunction:
    def covariances(distances: tf.Tensor, log_parameters: tf.Tensor) -> tf.Tensor:
        return _kernel_with_exact_diagonal(name, distances, log_parameters)

    return tf.function(covariances, input_signature=[_MATRIX, _VECTOR])


@cache
def _gradient(name: str) -> tf.types.experimental.PolymorphicFunction:
    def gradient(
        distances: tf.Tensor, log_parameters: tf.Tensor, by_covariance: tf.Tensor
    ) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(log_parameters)
            K = _kernel_with_exact_diagonal(name, distances, log_parameters)
        return tape.gradient(K, log_parameters, output_gradients=by_covariance)

    return tf.function(gradient, input_signature=[_MATRIX, _VECTOR, _MATRIX])
