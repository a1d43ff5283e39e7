"""The loop as the reference implementation writes it: a new model of TFP in every cycle."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from scipy.spatial.distance import cdist
from selection_loops import Materials, loop_here

from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.posterior import Posterior
from gpnet_ray.gp.scored_points import ScoredPoints
from gpnet_ray.types import FloatArray

__all__ = ["equality", "reference"]

REFERENCE_SIZES = (1800, 2550, 3300)


class SciPyDistances(tfp.math.psd_kernels.MaternOneHalf):  # type: ignore[misc]  # TFP has no types
    """TFP's Laplacian kernel on SciPy's distances.

    TFP's own, from a matrix product, are wrong by 1e-8 on the diagonal already, which moves means
    by 1e-7: too much for the comparison of numbers, and without influence on the picks.
    """

    def _matrix(self, x1: Any, x2: Any) -> Any:
        return self.amplitude**2 * tf.exp(-cdist(x1, x2) / self.length_scale)


def reference_model(
    hyperparameters: Hyperparameters,
    X: FloatArray,
    y: FloatArray,
    X_new: FloatArray,
    *,
    kernel_type: Any = tfp.math.psd_kernels.MaternOneHalf,
) -> Any:
    """The posterior as the reference implementation builds it in every cycle."""
    return tfp.distributions.GaussianProcessRegressionModel(
        kernel=kernel_type(
            tf.constant(hyperparameters.amplitude, tf.float64),
            tf.constant(hyperparameters.length_scale, tf.float64),
        ),
        index_points=X_new,
        observation_index_points=X,
        observations=y,
        observation_noise_variance=tf.constant(hyperparameters.noise_std**2, tf.float64),
        mean_fn=lambda _: tf.constant(hyperparameters.mean, tf.float64),
        jitter=0.0,
    )


def equality(materials: Materials, hyperparameters: Hyperparameters, cycles: int) -> dict[str, Any]:
    """The picks of the reference loop, and means and σ of all unlabelled and test points with them."""
    expected = loop_here(materials, hyperparameters, cycles, shards=3)
    rows, left = materials.train, materials.pool
    X, y = materials.X, materials.y
    posterior = Posterior(hyperparameters, materials.ids_of(rows), X[rows], y[rows])
    everything = np.concatenate([left, materials.test])
    points = ScoredPoints(posterior.snapshot(), materials.ids_of(everything), X[everything])
    picks: list[str] = []
    worst = {"mean": 0.0, "sigma": 0.0}
    for _ in range(cycles):
        everything = np.concatenate([left, materials.test])
        model = reference_model(
            hyperparameters, X[rows], y[rows], X[everything], kernel_type=SciPyDistances
        )
        theirs = {"mean": model.mean().numpy(), "sigma": model.stddev().numpy()}
        ids, mean, sigma = points.predictions()
        assert list(ids) == materials.ids_of(everything)  # noqa: S101 - an internal check
        for name, ours in (("mean", mean), ("sigma", sigma)):
            worst[name] = max(worst[name], float(np.abs(theirs[name] - ours).max()))
        best = int(np.argmax(theirs["sigma"][: len(left)]))
        pick = left[best]
        picks.append(materials.ids[pick])
        rows, left = np.append(rows, pick), np.delete(left, best)
        points.absorb(posterior.commit([materials.ids[pick]], X[[pick]], y[[pick]]))
    same = [a == b for a, b in zip(picks, expected.picks, strict=True)]
    return {
        "cycles": cycles,
        "same_ids_in_order": all(same),
        "largest_mean_difference": worst["mean"],
        "largest_sigma_difference": worst["sigma"],
    }


def reference(
    materials: Materials, hyperparameters: Hyperparameters, cycles: int
) -> dict[str, Any]:
    """One cycle of the reference at three sizes, integrated over the loop by Simpson's rule."""
    X, y, seconds = materials.X, materials.y, []
    everything = np.concatenate([materials.train, materials.pool])
    points = np.concatenate([materials.pool, materials.test])
    for size in REFERENCE_SIZES:
        start = time.perf_counter()
        model = reference_model(
            hyperparameters, X[everything[:size]], y[everything[:size]], X[points]
        )
        _ = model.mean().numpy(), model.stddev().numpy(), model.variance().numpy()
        seconds.append(time.perf_counter() - start)
    mean = (seconds[0] + 4 * seconds[1] + seconds[2]) / 6
    return {
        **{f"seconds_a_cycle_at_{n}": t for n, t in zip(REFERENCE_SIZES, seconds, strict=True)},
        "seconds_integrated": mean * cycles,
    }
