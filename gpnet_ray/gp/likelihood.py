"""The marginal likelihood of the labels and its exact gradient.

Rasmussen and Williams (2006), Eq. 2.30 and 5.9: with r = y − m and α = K⁻¹ r,
−log p = ½ rᵀ α + Σ log L_ii + n/2 log 2π, and its derivative by K is ½ (K⁻¹ − α αᵀ).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import tensorflow as tf

from gpnet_ray.gp.kernels import kernel_of_distance, metric_of, pairwise_distances
from gpnet_ray.gp.linear_algebra import cholesky_with_jitter, gram_of_lower, invert_lower
from gpnet_ray.types import BoolArray, FloatArray

__all__ = ["ConditionalLikelihood", "Likelihood", "LikelihoodValue"]


@dataclass(frozen=True)
class LikelihoodValue:
    """The likelihood at one point of the hyperparameter space.

    Attributes:
        negative_log_likelihood: −log p(y | hyperparameters), of all n labels.
        gradient: Its derivatives by log amplitude, log length scale (one, or one a dimension) and
            log noise_std, shape (3,) or (d + 2,).
        mean: The constant mean that is best for these hyperparameters, target's unit.
        jitter: Variance that had to be added to the diagonal.
    """

    negative_log_likelihood: float
    gradient: FloatArray
    mean: float
    jitter: float


class Likelihood:
    """−log p(y) as a function of the hyperparameters; distances are computed once if they can be.

    Args:
        kernel: Name of the kernel.
        X: Scaled latents, float64 (n, d).
        y: Labels, float64 (n,), target's unit.
        constant_mean: Whether the mean is the best constant (generalised least squares) or zero.
    """

    def __init__(self, kernel: str, X: FloatArray, y: FloatArray, *, constant_mean: bool) -> None:
        self._kernel, self._X, self._y = kernel, X, y
        self._constant_mean = constant_mean
        self.distances = pairwise_distances(X, X, metric=metric_of(kernel))
        """Between the labelled points, float64 (n, n)."""

    @property
    def n(self) -> int:
        """Number of labels."""
        return len(self._y)

    def __call__(
        self, amplitude: float, length_scale: float | Sequence[float], noise_std: float
    ) -> LikelihoodValue:
        """Evaluate at amplitude and noise_std (target's unit) and one length scale, or one a dimension.

        Raises:
            NumericalError: K cannot be factorised with any jitter.
        """
        # With one length scale a dimension, distances are those of the points divided by them.
        per_dimension = not isinstance(length_scale, float)
        Z = self._X / np.asarray(length_scale) if per_dimension else self._X
        distances = (
            pairwise_distances(Z, Z, metric=metric_of(self._kernel))
            if per_dimension
            else self.distances
        )
        common = 1.0 if per_dimension else length_scale
        log_parameters = tf.math.log(tf.constant([amplitude, common], tf.float64))
        K = _covariances(self._kernel)(distances, log_parameters)
        K = tf.linalg.set_diag(K, tf.linalg.diag_part(K) + noise_std**2)
        L, jitter = cholesky_with_jitter(
            K, variance_scale=amplitude**2, what="the covariance of the labelled points"
        )
        value, mean, by_covariance = self._value(L)
        by_kernel, *by_distance = _gradients(self._kernel, also_by_distance=per_dimension)(
            distances, log_parameters, by_covariance
        )
        by_amplitude, *by_length = by_kernel.numpy().tolist()
        if per_dimension:
            by_length = self._by_lengths(Z, distances, by_distance[0])
        by_noise = 2.0 * noise_std**2 * float(tf.linalg.trace(by_covariance))
        return LikelihoodValue(value, np.array([by_amplitude, *by_length, by_noise]), mean, jitter)

    def _value(self, L: tf.Tensor) -> tuple[float, float, tf.Tensor]:
        """−log p, the mean, and the derivative by every entry of K."""
        inverse = gram_of_lower(invert_lower(L))
        weights = tf.linalg.matvec(inverse, np.ones(self.n)).numpy()
        # Where the mean is the best one, its own derivative is zero and adds nothing to the others.
        mean = float(weights @ self._y / weights.sum()) if self._constant_mean else 0.0
        residual = self._y - mean
        alpha = tf.linalg.matvec(inverse, residual)
        value = (
            0.5 * float(residual @ alpha.numpy())
            + float(tf.reduce_sum(tf.math.log(tf.linalg.diag_part(L))))
            + 0.5 * self.n * math.log(2 * math.pi)
        )
        return value, mean, 0.5 * (inverse - alpha[:, tf.newaxis] * alpha)

    def _by_lengths(
        self, Z: FloatArray, distances: tf.Tensor, by_distance: tf.Tensor
    ) -> list[float]:
        """Derivatives by the logarithm of each length scale; Z are the points divided by them."""
        if metric_of(self._kernel) == "cityblock":
            # ∂r/∂log l_j = −|z_aj − z_bj|
            return [-float(tf.reduce_sum(by_distance * tf.abs(z[:, tf.newaxis] - z))) for z in Z.T]
        # ∂r/∂log l_j = −(z_aj − z_bj)² / r, and Σ W_ab (z_aj − z_bj)² needs no (n, n, d) array.
        W = tf.math.divide_no_nan(by_distance, distances).numpy()
        centred = Z - Z.mean(axis=0)
        squares = np.sum((W.sum(axis=0) + W.sum(axis=1))[:, np.newaxis] * centred**2, axis=0)
        return [float(v) for v in 2 * np.sum(centred * (W @ centred), axis=0) - squares]


class ConditionalLikelihood:
    """−log p(y_held | y_rest), as a function of the hyperparameters: what is held out is predicted from the rest.

    It is the difference of two marginal likelihoods, of all rows and of the rest. Each has the
    constant mean that is best for it.

    Args:
        kernel: Name of the kernel.
        X: Scaled latents, float64 (n, d).
        y: Labels, float64 (n,), target's unit.
        held_out: Which rows are predicted, bool (n,); at least one, and two or more others.
        constant_mean: As for :class:`Likelihood`.
    """

    def __init__(
        self, kernel: str, X: FloatArray, y: FloatArray, held_out: BoolArray, *, constant_mean: bool
    ) -> None:
        rest = ~held_out
        self._all = Likelihood(kernel, X, y, constant_mean=constant_mean)
        self._rest = Likelihood(kernel, X[rest], y[rest], constant_mean=constant_mean)
        self.distances = self._all.distances

    @property
    def n(self) -> int:
        """Number of labels that are predicted."""
        return self._all.n - self._rest.n

    def __call__(
        self, amplitude: float, length_scale: float | Sequence[float], noise_std: float
    ) -> LikelihoodValue:
        """Evaluate as :meth:`Likelihood.__call__`; the mean is that of all rows."""
        whole = self._all(amplitude, length_scale, noise_std)
        rest = self._rest(amplitude, length_scale, noise_std)
        return LikelihoodValue(
            whole.negative_log_likelihood - rest.negative_log_likelihood,
            whole.gradient - rest.gradient,
            whole.mean,
            max(whole.jitter, rest.jitter),
        )


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

    return tf.function(covariances, input_signature=[_MATRIX, _VECTOR], autograph=False)


@cache
def _gradients(name: str, *, also_by_distance: bool) -> tf.types.experimental.PolymorphicFunction:
    def by_variables(
        distances: tf.Tensor, log_parameters: tf.Tensor, by_covariance: tf.Tensor
    ) -> list[tf.Tensor]:
        variables = [log_parameters, distances] if also_by_distance else [log_parameters]
        with tf.GradientTape() as tape:
            tape.watch(variables)
            K = _kernel_with_exact_diagonal(name, distances, log_parameters)
        gradients: list[tf.Tensor] = tape.gradient(K, variables, output_gradients=by_covariance)
        return gradients

    return tf.function(by_variables, input_signature=[_MATRIX, _VECTOR, _MATRIX], autograph=False)
