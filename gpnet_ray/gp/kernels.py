"""Covariance functions from TensorFlow Probability on distances that are right to the last digits.

TFP's own ``kernel.matrix`` expands |x − y|² into |x|² + |y|² − 2 x·y, whose rounding error of 1e-16
becomes one of 5e-7 after the square root where two points are close: too much for a Matérn-1/2
kernel, which is steepest at zero. Here the expansion is kept, because a matrix product is fast, and
only pairs so close that it would lose digits are computed again from their difference.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import tensorflow as tf
import tensorflow_probability as tfp

from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.types import FloatArray

__all__ = [
    "gram_matrix",
    "kernel_matrix",
    "kernel_of_distance",
    "make_kernel",
    "metric_of",
    "pairwise_distances",
    "trace_count",
]

# Matérn-1/2 with the Euclidean norm is the Laplacian kernel of Eq. 1 of the paper; on the L1 norm it
# is the product of one-dimensional Laplacians.
_KERNELS = {
    "laplacian": tfp.math.psd_kernels.MaternOneHalf,
    "laplacian-l1": tfp.math.psd_kernels.MaternOneHalf,
    "matern32": tfp.math.psd_kernels.MaternThreeHalves,
    "matern52": tfp.math.psd_kernels.MaternFiveHalves,
    "rbf": tfp.math.psd_kernels.ExponentiatedQuadratic,
    "rational-quadratic": tfp.math.psd_kernels.RationalQuadratic,
}

# With |x−y|² at least this share of |x|²+|y|², the expansion keeps 12 of the 16 digits.
_NEAR = 1e-3
# Pairs computed again at once: bounds the memory where all points are close to each other.
_NEAR_CHUNK = 1 << 16
# Rows whose median is the centre of a tile, from there to twice as many.
_CENTRE_ROWS = 32
# Entries of a tile: the few temporaries of one fit the cache, which is also the memory that is needed.
_TILE_ENTRIES = 1 << 20


def make_kernel(
    name: str, amplitude: tf.Tensor | float, length_scale: tf.Tensor | float
) -> tfp.math.psd_kernels.PositiveSemidefiniteKernel:
    """TFP's kernel of that name; ``laplacian-l1`` expects to be told L1 distances.

    ``rational-quadratic`` has a scale mixture rate of 1.
    """
    return _KERNELS[name](amplitude=amplitude, length_scale=length_scale)


def metric_of(kernel: str) -> str:
    """The distance that a kernel is a function of: ``euclidean`` or ``cityblock`` (the L1 norm)."""
    return "cityblock" if kernel == "laplacian-l1" else "euclidean"


def kernel_of_distance(
    name: str, distance: tf.Tensor, amplitude: tf.Tensor, length_scale: tf.Tensor
) -> tf.Tensor:
    """Evaluate a kernel on given distances.

    A stationary kernel of points at distance r is the kernel of the numbers r and 0, which is how
    TFP's kernels are asked through their public interface.

    Args:
        name: One of ``gpnet_ray.gp.settings.KERNELS``.
        distance: Shape (n, m), float64 (or float32), in units of the scaled latent space.
        amplitude: Scalar, target's unit.
        length_scale: Scalar, same unit as ``distance``.

    Returns:
        Covariances, shape (n, m), target's unit squared.
    """
    kernel = make_kernel(name, amplitude, length_scale)
    return kernel.apply(distance[..., tf.newaxis], tf.zeros((1, 1, 1), distance.dtype))


def pairwise_distances(X: FloatArray, Y: FloatArray, *, metric: str = "euclidean") -> tf.Tensor:
    """Distances between the rows of X (n, d) and of Y (m, d): float64 (n, m); exactly 0 for equal rows.

    Args:
        X: float64 (n, d).
        Y: float64 (m, d).
        metric: ``euclidean`` or ``cityblock`` (the L1 norm).
    """
    return _in_row_tiles(_distance_function(metric), X, Y)


def kernel_matrix(hyperparameters: Hyperparameters, X: FloatArray, Y: FloatArray) -> tf.Tensor:
    """Covariances k(X, Y) of shape (n, m), float64, target's unit squared.

    Args:
        hyperparameters: Kernel, amplitude and length scale(s).
        X: Scaled latents, float64 (n, d).
        Y: Scaled latents, float64 (m, d).
    """
    amplitude = tf.constant(hyperparameters.amplitude, tf.float64)
    lengths = tf.constant(hyperparameters.lengths, tf.float64)
    function = _kernel_function(hyperparameters.kernel)
    return _in_row_tiles(lambda x, y: function(x, y, amplitude, lengths), X, Y)


def gram_matrix(hyperparameters: Hyperparameters, X: FloatArray) -> tf.Tensor:
    """Covariances k(X, X) of shape (n, n), float64; the diagonal is amplitude² to the last digit."""
    K = kernel_matrix(hyperparameters, X, X)
    return tf.linalg.set_diag(
        K, tf.fill([len(X)], tf.constant(hyperparameters.amplitude**2, K.dtype))
    )


def trace_count(name: str) -> int:
    """How often TensorFlow has traced the kernel in this process: 1 once used, however sizes grow."""
    return int(_kernel_function(name).experimental_get_tracing_count())


def _in_row_tiles(
    function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], X: FloatArray, Y: FloatArray
) -> tf.Tensor:
    x, y = tf.convert_to_tensor(X, tf.float64), tf.convert_to_tensor(Y, tf.float64)
    n, rows = len(X), max(1, _TILE_ENTRIES // max(1, len(Y)))
    if n <= rows:
        return function(x, y)
    return tf.concat([function(x[i : i + rows], y) for i in range(0, n, rows)], axis=0)


_TABLE = tf.TensorSpec([None, None], tf.float64)
_VECTOR = tf.TensorSpec([None], tf.float64)
_SCALAR = tf.TensorSpec([], tf.float64)


@cache
def _kernel_function(name: str) -> tf.types.experimental.PolymorphicFunction:
    """One traced function a kernel: sizes are left open, so that nothing is traced again."""
    distances = _METRICS[metric_of(name)]

    def covariances(
        x: tf.Tensor, y: tf.Tensor, amplitude: tf.Tensor, lengths: tf.Tensor
    ) -> tf.Tensor:
        r = distances(x / lengths, y / lengths)
        return kernel_of_distance(name, r, amplitude, tf.ones([], r.dtype))

    return tf.function(
        covariances, input_signature=[_TABLE, _TABLE, _SCALAR, _VECTOR], autograph=False
    )


@cache
def _distance_function(metric: str) -> tf.types.experimental.PolymorphicFunction:
    return tf.function(_METRICS[metric], input_signature=[_TABLE, _TABLE], autograph=False)


def _euclidean(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    # The expansion's error grows with |x|² + |y|²: near the origin few pairs are computed again.
    centre = _centre(y)
    u, v = x - centre, y - centre
    size = tf.reduce_sum(u * u, axis=1)[:, tf.newaxis] + tf.reduce_sum(v * v, axis=1)
    squared = size - 2.0 * tf.matmul(u, v, transpose_b=True)
    near = tf.where(squared < _NEAR * size)

    def again(start: tf.Tensor, squared: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pairs = near[start : start + _NEAR_CHUNK]
        # Of the points as they are: moved by a centre that is far away they have lost digits.
        difference = tf.gather(x, pairs[:, 0]) - tf.gather(y, pairs[:, 1])
        exact = tf.reduce_sum(difference * difference, axis=1)
        return start + _NEAR_CHUNK, tf.tensor_scatter_nd_update(squared, pairs, exact)

    _, squared = tf.while_loop(
        lambda start, _: start < tf.shape(near)[0], again, (tf.constant(0), squared)
    )
    return tf.sqrt(squared)


def _centre(y: tf.Tensor) -> tf.Tensor:
    """Median of some rows: a few outliers do not move it away from all others, as they would the mean."""
    some = y[:: tf.maximum(1, tf.shape(y)[0] // _CENTRE_ROWS)]
    n = tf.shape(some)[0]
    middle = tf.sort(some, axis=0)[(n - 1) // 2 : n // 2 + 1]
    return tf.math.divide_no_nan(
        tf.reduce_sum(middle, axis=0), tf.cast(tf.shape(middle)[0], y.dtype)
    )


def _cityblock(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    # One dimension at a time: (n, m, d) differences would need d times the memory.
    def add(j: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return j + 1, total + tf.abs(x[:, j, tf.newaxis] - y[tf.newaxis, :, j])

    start = tf.zeros((tf.shape(x)[0], tf.shape(y)[0]), x.dtype)
    _, total = tf.while_loop(lambda j, _: j < tf.shape(x)[1], add, (tf.constant(0), start))
    return total


_METRICS = {"euclidean": _euclidean, "cityblock": _cityblock}
