"""Whether columns in float32 are good enough to rank points by their variance."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from gpnet_ray.errors import NumericalError
from gpnet_ray.gp.kernels import kernel_matrix
from gpnet_ray.gp.linear_algebra import solve_lower
from gpnet_ray.gp.messages import PosteriorSnapshot
from gpnet_ray.types import FloatArray

__all__ = ["check_single_precision"]

PROBES = 8
"""So many points of largest variance are compared, and as many from all over."""

LARGEST_SHARE = 0.01
"""Errors of variances that are a larger share of the largest one would decide who is picked."""


def check_single_precision(
    snapshot: PosteriorSnapshot, X: FloatArray, variance: FloatArray
) -> None:
    """Compare variances that were computed in float32 with what float64 says, for some of the points.

    Args:
        snapshot: The posterior.
        X: Scaled latents of the points (m, d).
        variance: Their latent variances, from columns in float32 (m,), target's unit squared.

    Raises:
        NumericalError: they are too far off: where a smooth kernel has fitted labels almost without noise, all
            variances are as small as the rounding.
    """
    if not len(X):
        return
    largest = np.argsort(-variance)[:PROBES]
    probes = np.unique([*largest, *np.linspace(0, len(X) - 1, PROBES).astype(np.int64)])
    covariance = kernel_matrix(snapshot.hyperparameters, snapshot.X, X[probes])
    V = solve_lower(tf.constant(snapshot.L, tf.float64), covariance)
    exact = snapshot.hyperparameters.amplitude**2 - tf.reduce_sum(V * V, axis=0).numpy()
    error = float(np.abs(variance[probes] - exact).max())
    if error > LARGEST_SHARE * exact.max():
        raise NumericalError(
            f"in float32 a variance is off by {error:.2g} (target's unit squared), while the largest of {len(probes)}"
            f" points is {exact.max():.2g}: it would not be the largest σ that is picked. Take gp.columns_dtype: float64"
        )
