"""An exact Gaussian process posterior that grows as labels arrive, without being refactorised.

Rasmussen and Williams, *Gaussian Processes for Machine Learning* (2006), Algorithm 2.1, with the
factor extended by blocks: for b new points V = L⁻¹ k(X, X_new), and the Cholesky factor of their
conditional covariance k(X_new, X_new) + noise² I − Vᵀ V are the rows that L gains.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from gpnet_ray.errors import InputError
from gpnet_ray.gp.buffers import GrowingFactor
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.kernels import gram_matrix, kernel_matrix
from gpnet_ray.gp.linear_algebra import cholesky_with_jitter, solve_lower
from gpnet_ray.gp.messages import Block, PosteriorSnapshot
from gpnet_ray.gp.scaling import finite_latents
from gpnet_ray.tensorflow_devices import prepare_gpus
from gpnet_ray.types import FloatArray

__all__ = ["Block", "Posterior", "PosteriorSnapshot"]


class Posterior:
    """The Gaussian process given the labels so far.

    Args:
        hyperparameters: Kernel, noise and mean; they stay fixed.
        ids: The points labelled so far, all different.
        X: Their scaled latents, shape (n, d).
        y: Their labels, shape (n,), target's unit.
        reserve: How many labels to make room for from the start; more are taken in as well, by
            doubling the factor's buffer.
        memory_budget_bytes: Bound of the temporaries of :meth:`predict`.

    Raises:
        InputError: ids, latents and labels that do not fit together or are not finite; two
            different labels of one id.
        NumericalError: a covariance matrix that cannot be factorised.
    """

    def __init__(
        self,
        hyperparameters: Hyperparameters,
        ids: Sequence[str],
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        reserve: int = 0,
        memory_budget_bytes: int = 1 << 28,
    ) -> None:
        prepare_gpus()
        latents = finite_latents(X, what="labelled latents")
        width = latents.shape[1]
        if len(hyperparameters.lengths) not in (1, width):
            raise InputError(
                f"{len(hyperparameters.lengths)} length scales for latents of width {width}; give one, or one a dimension"
            )
        self.hyperparameters = hyperparameters
        self.jitter = 0.0
        """Largest variance added to the diagonal so far to make a factorisation succeed."""
        self.clipped = 0
        """How many predicted variances came out negative by rounding and were set to 0."""
        self._memory_budget_bytes = memory_budget_bytes
        self._label_of: dict[str, float] = {}
        self._X = np.empty((0, width))
        self._z = np.empty(0)
        self._L = GrowingFactor(max(reserve, len(ids)))
        self.commit(ids, latents, y)

    def __len__(self) -> int:
        return len(self._label_of)

    @property
    def latent_width(self) -> int:
        """Width d of the scaled latents."""
        return int(self._X.shape[1])

    @property
    def capacity(self) -> int:
        """How many labels fit before the factor's buffer grows, by doubling its memory."""
        return self._L.capacity

    @property
    def ids(self) -> tuple[str, ...]:
        """The labelled points, in the order of the factor's rows."""
        return tuple(self._label_of)

    def snapshot(self) -> PosteriorSnapshot:
        """Return all that a shard needs, as NumPy arrays that later commits do not change."""
        return PosteriorSnapshot(
            hyperparameters=self.hyperparameters,
            X=self._X,
            L=self._L.read().numpy(),
            z=self._z,
            jitter=self.jitter,
        )

    def commit(self, ids: Sequence[str], X: npt.ArrayLike, y: npt.ArrayLike) -> Block:
        """Add labelled points; return what shards need to follow.

        Committing the same (id, label) again changes nothing, so that a message may arrive twice.

        Args:
            ids: The points, b of them.
            X: Their scaled latents, shape (b, d).
            y: Their labels, shape (b,), target's unit.

        Returns:
            The block of those that were new, in the given order; it may be empty.

        Raises:
            InputError: arrays that do not fit the ids, NaN or infinite values, or another label for
                an id that has one. Nothing has been added then.
            NumericalError: the new covariance cannot be factorised. Nothing has been added then.
        """
        latents, labels = self._checked(ids, X, y)
        new = self._new_positions(ids, labels)
        P = latents[new]
        V = self.columns(P)
        S = _conditional_covariance(self.hyperparameters, P, V)
        amplitude = self.hyperparameters.amplitude
        L, jitter = cholesky_with_jitter(
            S, variance_scale=amplitude**2, what="the covariance of the labelled points"
        )
        residual = labels[new] - self.hyperparameters.mean - V.numpy().T @ self._z
        z = solve_lower(L, tf.constant(residual[:, np.newaxis])).numpy()[:, 0]
        self._L.append(tf.transpose(V), L)
        self._X, self._z = np.concatenate([self._X, P]), np.concatenate([self._z, z])
        self._label_of.update((ids[i], float(labels[i])) for i in new)
        self.jitter = max(self.jitter, jitter)
        return Block(ids=tuple(ids[i] for i in new), X=P, V=V.numpy(), L=L.numpy(), z=z)

    def columns(self, X: FloatArray) -> tf.Tensor:
        """L⁻¹ k(X_labelled, X) for scaled latents X of shape (m, d): float64 (n, m)."""
        return solve_lower(self._L.read(), kernel_matrix(self.hyperparameters, self._X, X))

    def predict(self, X_new: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Predict observations at scaled latents of shape (m, d), in tiles of bounded memory.

        Returns:
            Mean and standard deviation, each (m,), target's unit. The deviation is that of an
            observation, sqrt(var f + noise²), as ``GaussianProcessRegressionModel.stddev()`` of TFP.

        Raises:
            InputError: latents of another width, NaN or infinite entries.
        """
        X = finite_latents(X_new, width=self._X.shape[1])
        mean, variance = np.empty(len(X)), np.empty(len(X))
        # A tile holds the covariances, the solved columns and one temporary.
        width = max(1, self._memory_budget_bytes // (3 * 8 * max(1, len(self))))
        for start in range(0, len(X), width):
            tile = slice(start, start + width)
            V = self.columns(X[tile])
            mean[tile] = tf.linalg.matvec(V, self._z, transpose_a=True).numpy()
            variance[tile] = -tf.reduce_sum(V * V, axis=0).numpy()
        mean += self.hyperparameters.mean
        variance += self.hyperparameters.amplitude**2
        self.clipped += int(np.count_nonzero(variance < 0))
        return mean, np.sqrt(np.maximum(variance, 0.0) + self.hyperparameters.noise_std**2)

    def _checked(
        self, ids: Sequence[str], X: npt.ArrayLike, y: npt.ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        latents = finite_latents(X, width=self._X.shape[1], what="labelled latents")
        labels = np.asarray(y, dtype=np.float64)
        if labels.shape != (len(ids),) or len(latents) != len(ids):
            raise InputError(
                f"{len(ids)} ids with latents of shape {latents.shape} and labels of shape {labels.shape}; one of each an id is needed"
            )
        bad = np.flatnonzero(~np.isfinite(labels))
        if bad.size:
            raise InputError(
                f"the label of {ids[bad[0]]!r} is {labels[bad[0]]}; labels have to be finite: report a material without one as failed"
            )
        return latents, labels

    def _new_positions(self, ids: Sequence[str], labels: FloatArray) -> list[int]:
        seen: dict[str, float] = {}
        new = []
        for i, (material_id, label) in enumerate(zip(ids, labels.tolist(), strict=True)):
            known = self._label_of.get(material_id, seen.get(material_id))
            if known is None:
                seen[material_id] = label
                new.append(i)
            elif known != label:
                raise InputError(
                    f"{material_id!r} has the label {known} already and now {label}; a material keeps its first label"
                )
        return new


def _conditional_covariance(
    hyperparameters: Hyperparameters, X: FloatArray, V: tf.Tensor
) -> tf.Tensor:
    """Covariance of observations at X (b, d) given the labels: k(X, X) + noise² I − Vᵀ V."""
    K = gram_matrix(hyperparameters, X) - tf.matmul(V, V, transpose_a=True)
    return tf.linalg.set_diag(K, tf.linalg.diag_part(K) + hyperparameters.noise_std**2)
