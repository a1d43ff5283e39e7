"""The few candidates of a large pool whose variances are kept exact: columns, latents, ids and places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.kernels import kernel_matrix
from gpnet_ray.gp.linear_algebra import solve_lower
from gpnet_ray.gp.messages import Block
from gpnet_ray.types import FloatArray

__all__ = ["ActivePoints"]


class ActivePoints:
    """Points that come and go in a buffer of fixed size, lowered by one matrix product a block of labels.

    The columns V = L⁻¹ k(X_labelled, X) lie as rows, so that a point that comes or goes moves nothing but itself.

    Args:
        hyperparameters: Of the posterior.
        width: Of the scaled latents, d.
        most: Largest number of points, k.
        n_labelled: How many labels the posterior has, n.
        reserve: How many it will have at most.
    """

    def __init__(
        self,
        hyperparameters: Hyperparameters,
        *,
        width: int,
        most: int,
        n_labelled: int,
        reserve: int,
    ) -> None:
        self._hyperparameters = hyperparameters
        self._size, self._n_labelled = 0, n_labelled
        # Zeros take no memory until they are written.
        self._columns = np.zeros((most, reserve))
        self._X = np.zeros((most, width))
        self._places = np.zeros(most, dtype=np.int64)
        self._variance = np.zeros(most)
        self.ids: list[str] = []
        """In the order of the rows."""

    def __len__(self) -> int:
        return self._size

    @property
    def room(self) -> int:
        """How many more points there is room for."""
        return len(self._variance) - self._size

    @property
    def latents(self) -> FloatArray:
        """Scaled latents, float64 (k, d)."""
        return self._X[: self._size]

    @property
    def places(self) -> npt.NDArray[np.int64]:
        """Where each point lies in the pool, (k,); only the one who keeps the pool reads it."""
        return self._places[: self._size]

    @property
    def variance(self) -> FloatArray:
        """Of the latent function given all labels, target's unit squared, (k,)."""
        return self._variance[: self._size]

    def add(
        self,
        ids: Sequence[str],
        places: npt.NDArray[np.int64],
        X: FloatArray,
        V: FloatArray,
        variance: FloatArray,
    ) -> None:
        """Take points in, with their columns V, float64 (n, k); there has to be room for them."""
        rows = slice(self._size, self._size + len(ids))
        self._columns[rows, : self._n_labelled] = V.T
        self._X[rows], self._places[rows], self._variance[rows] = X, places, variance
        self.ids += ids
        self._size += len(ids)

    def drop(self, rows: npt.NDArray[np.int64]) -> None:
        """Let points go; the last ones move into their rows."""
        size = self._size - len(rows)
        holes = rows[rows < size]
        movers = np.setdiff1d(np.arange(size, self._size), rows, assume_unique=True)
        n = self._n_labelled
        self._columns[holes, :n] = self._columns[movers, :n]
        for array in (self._X, self._places, self._variance):
            array[holes] = array[movers]
        for hole, mover in zip(holes.tolist(), movers.tolist(), strict=True):
            self.ids[hole] = self.ids[mover]
        del self.ids[size:]
        self._size = size

    def columns(self, rows: npt.NDArray[np.int64]) -> FloatArray:
        """L⁻¹ k(X_labelled, X) of some of the points, float64 (n, k)."""
        return np.ascontiguousarray(self._columns[rows, : self._n_labelled].T)

    def absorb(self, block: Block) -> None:
        """Lower the variances by what a block of new labels says."""
        n, b = self._n_labelled, len(block)
        mine = self._columns[: self._size]
        covariance = kernel_matrix(self._hyperparameters, block.X, self.latents)
        covariance -= tf.transpose(tf.matmul(tf.constant(mine[:, :n]), tf.constant(block.V)))
        rows = solve_lower(tf.constant(block.L), covariance).numpy()
        mine[:, n : n + b] = rows.T
        self._variance[: self._size] -= np.einsum("bk,bk->k", rows, rows)
        np.maximum(self.variance, 0.0, out=self._variance[: self._size])
        self._n_labelled = n + b
