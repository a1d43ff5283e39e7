"""An upper bound of a variance that costs a fiftieth of the variance itself.

What is known only lowers a variance: var(p | labelled) ≤ var(p | some of the labelled). So a few hundred labelled
points, chosen by greedy pivoted Cholesky (Harbrecht, Peters and Schneider, Appl. Numer. Math. 62, 428 (2012),
doi:10.1016/j.apnum.2011.10.001) so that they say the most about the others, bound the variance of every candidate; only those whose
bound reaches the best have to be computed in full.
"""

from __future__ import annotations

import json
from hashlib import sha256

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.kernels import gram_matrix, kernel_matrix
from gpnet_ray.gp.linear_algebra import cholesky_with_jitter, invert_lower, smallest_pivot
from gpnet_ray.types import BoundArray, FloatArray

__all__ = ["FIRST_BOUND_ROWS", "FirstBounds", "leading_rows", "rounded_up"]

FIRST_BOUND_ROWS = 256
"""Labelled points that the bounds rest on."""

# Of a covariance, relative: what the expansion of a distance leaves of 16 digits (gp/kernels.py).
_KERNEL_ERROR = 1e-12
# Changes when a bound of the same points comes out differently, or is kept in another form.
_VERSION = 3
# Entries of a tile: its few temporaries fit the cache.
_TILE_ENTRIES = 1 << 20


class FirstBounds:
    """Upper bounds of the variances of any points, given all labelled ones.

    Args:
        hyperparameters: Of the posterior.
        X: Its labelled points, scaled latents, float64 (n, d).
        jitter: The largest variance that the posterior had to add to its diagonal; counted as noise here,
            since more noise only raises a bound.
        rows: How many of the points the bounds rest on.
    """

    def __init__(
        self,
        hyperparameters: Hyperparameters,
        X: FloatArray,
        *,
        jitter: float = 0.0,
        rows: int = FIRST_BOUND_ROWS,
    ) -> None:
        self._hyperparameters = hyperparameters
        self._X = X[leading_rows(hyperparameters, X, rows)]
        K = gram_matrix(hyperparameters, self._X)
        prior = hyperparameters.amplitude**2
        noise = hyperparameters.noise_std**2 + jitter
        K = tf.linalg.set_diag(K, tf.linalg.diag_part(K) + noise)
        L, added = cholesky_with_jitter(
            K, variance_scale=prior, what="the covariance of the points that bounds rest on"
        )
        # A product with the inverse runs at twice the rate of a solve; the slack covers its rounding.
        self._inverse = invert_lower(L)
        # Weights of the prediction are at most √prior / √noise long, and each meets a covariance's error.
        smallest = max(noise + added, smallest_pivot(prior))
        weights = np.sqrt(len(self._X) * prior / smallest)
        self._slack = 8.0 * _KERNEL_ERROR * prior * float(weights)
        self._jitter = jitter

    @property
    def tile_rows(self) -> int:
        """Points to bound at once."""
        return max(1, _TILE_ENTRIES // len(self._X))

    def fingerprint(self) -> str:
        """Hash of everything that the bounds depend on besides the points."""
        about = {"version": _VERSION, "jitter": self._jitter, **self._hyperparameters.to_json()}
        content = (
            json.dumps(about, sort_keys=True).encode() + np.ascontiguousarray(self._X).tobytes()
        )
        return sha256(content).hexdigest()

    def of(self, X: FloatArray) -> BoundArray:
        """Bounds of the variances at scaled latents X (m, d): float32 (m,), as shares of the prior variance.

        A share is always within float32's range, whatever the target's unit.
        """
        V = tf.matmul(self._inverse, kernel_matrix(self._hyperparameters, self._X, X))
        prior = self._hyperparameters.amplitude**2
        variance = prior - tf.reduce_sum(V * V, axis=0)
        return rounded_up((np.maximum(variance.numpy(), 0.0) + self._slack) / prior)


def leading_rows(
    hyperparameters: Hyperparameters, X: FloatArray, rows: int
) -> npt.NDArray[np.int64]:
    """The labelled points that explain the most, in the order of greedy pivoted Cholesky.

    Args:
        hyperparameters: Of the posterior.
        X: Labelled points, scaled latents, float64 (n, d).
        rows: How many to choose; all of them where there are no more.

    Returns:
        Their rows in X, int64 (min(n, rows),).
    """
    count, prior = min(rows, len(X)), hyperparameters.amplitude**2
    noise, smallest = hyperparameters.noise_std**2, smallest_pivot(prior)
    variance = np.full(len(X), prior)
    V = np.empty((count, len(X)))
    chosen: list[int] = []
    for number in range(count):
        best = int(np.argmax(variance))
        covariance = kernel_matrix(hyperparameters, X[best : best + 1], X).numpy()[0]
        known = V[:number, best] @ V[:number]
        V[number] = (covariance - known) / np.sqrt(max(variance[best] + noise, smallest))
        variance -= V[number] ** 2
        chosen.append(best)
        variance[chosen] = -np.inf
    return np.array(chosen, dtype=np.int64)


def rounded_up(shares: npt.ArrayLike) -> BoundArray:
    """The next float32 above every number, so that what was a bound stays one."""
    above: BoundArray = np.nextafter(np.asarray(shares, np.float32), np.float32(np.inf))
    return above
