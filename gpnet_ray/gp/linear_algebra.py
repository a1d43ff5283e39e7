"""Triangular factors: make one, retrying with jitter; solve with one; invert one."""

from __future__ import annotations

import tensorflow as tf

from gpnet_ray.errors import NumericalError

__all__ = [
    "cholesky_with_jitter",
    "gram_of_lower",
    "invert_lower",
    "smallest_pivot",
    "solve_lower",
]

# Below this size one triangular solve is faster than two with a product between them.
_LEAF = 512
_JITTERS = (0.0, *(10.0**e for e in range(-12, -3)))
# A pivot that small is rounding error, whatever its sign: the square root of noise.
_PIVOT_SHARE = 1e-13


def smallest_pivot(variance_scale: float) -> float:
    """Smallest conditional variance that is more than rounding error of a prior variance."""
    return _PIVOT_SHARE * variance_scale


def solve_lower(L: tf.Tensor, B: tf.Tensor) -> tf.Tensor:
    """Solve L Y = B for a lower triangular L of shape (n, n); B and Y have shape (n, m).

    Halves the triangle until it is small: most of the work becomes matrix products, which run at
    twice the rate of TensorFlow's own triangular solve on a CPU.
    """
    n = int(L.shape[0])
    if n == 0:
        return B
    if n <= _LEAF:
        return tf.linalg.triangular_solve(L, B)
    half = n // 2
    top = solve_lower(L[:half, :half], B[:half])
    bottom = solve_lower(L[half:, half:], B[half:] - tf.matmul(L[half:, :half], top))
    return tf.concat([top, bottom], axis=0)


def invert_lower(L: tf.Tensor) -> tf.Tensor:
    """Invert a lower triangular matrix of shape (n, n) by halves, a third of the work of a solve."""
    n = int(L.shape[0])
    if n <= _LEAF:
        return tf.linalg.triangular_solve(L, tf.eye(n, dtype=L.dtype))
    half = n // 2
    top, bottom = invert_lower(L[:half, :half]), invert_lower(L[half:, half:])
    corner = -tf.matmul(bottom, tf.matmul(L[half:, :half], top))
    right = tf.zeros((half, n - half), L.dtype)
    return tf.concat([tf.concat([top, right], axis=1), tf.concat([corner, bottom], axis=1)], axis=0)


def gram_of_lower(M: tf.Tensor) -> tf.Tensor:
    """Mᵀ M of a lower triangular M of shape (n, n), leaving out the products with its zeros."""
    n = int(M.shape[0])
    if n <= _LEAF:
        return tf.matmul(M, M, transpose_a=True)
    half = n // 2
    A, B, C = M[:half, :half], M[half:, :half], M[half:, half:]
    top = gram_of_lower(A) + tf.matmul(B, B, transpose_a=True)
    corner = tf.matmul(C, B, transpose_a=True)
    return tf.concat(
        [
            tf.concat([top, tf.transpose(corner)], axis=1),
            tf.concat([corner, gram_of_lower(C)], axis=1),
        ],
        axis=0,
    )


def cholesky_with_jitter(
    K: tf.Tensor, *, variance_scale: float, what: str
) -> tuple[tf.Tensor, float]:
    """Factorise K = L Lᵀ; where rounding has made it indefinite, add a growing variance to its diagonal.

    Args:
        K: Symmetric, float64 (n, n), target's unit squared.
        variance_scale: amplitude², against which the jitter is measured: 0, then 1e-12 to 1e-4 of it.
        what: What an error calls the matrix.

    Returns:
        L and the jitter that was added (target's unit squared).

    Raises:
        NumericalError: the matrix is not finite, or indefinite beyond the largest jitter.
    """
    if not bool(tf.reduce_all(tf.math.is_finite(K))):
        raise NumericalError(
            f"{what} holds NaN or infinite entries; check latents and hyperparameters"
        )
    diagonal = tf.linalg.diag_part(K)
    for share in _JITTERS:
        jitter = share * variance_scale
        shifted = K if share == 0 else tf.linalg.set_diag(K, diagonal + jitter)
        L = _cholesky_or_nan(shifted)
        pivots = tf.linalg.diag_part(L) ** 2
        # NaN compares false, so that a failed factorisation is not taken for a good one.
        if bool(tf.reduce_all(pivots > smallest_pivot(variance_scale))):
            return L, jitter
    raise NumericalError(
        f"{what} ({K.shape[0]} points) is not positive definite even with {jitter:.3g} on its diagonal; "
        "give or fit a larger noise_std, or leave out points that are almost equal"
    )


def _cholesky_or_nan(K: tf.Tensor) -> tf.Tensor:
    try:
        return tf.linalg.cholesky(K)
    except tf.errors.InvalidArgumentError:
        # Some builds of TensorFlow raise, others return NaN: let the caller see one of the two.
        return tf.fill(tf.shape(K), tf.constant(float("nan"), K.dtype))
