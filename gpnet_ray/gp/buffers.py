"""Matrices on the device that grow without being copied at every step."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import tensorflow as tf

__all__ = ["GrowingFactor", "GrowingRows"]


class GrowingFactor:
    """A lower triangular matrix in a preallocated square buffer whose memory doubles when it is full.

    Args:
        capacity: Rows to make room for at first.
    """

    def __init__(self, capacity: int) -> None:
        self._buffer = tf.Variable(tf.zeros((max(capacity, 1), max(capacity, 1)), tf.float64))
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def capacity(self) -> int:
        """Rows that fit before the buffer grows."""
        return int(self._buffer.shape[0])

    def read(self) -> tf.Tensor:
        """The filled part, float64 (n, n)."""
        return self._buffer[: self._size, : self._size]

    def append(self, rows: tf.Tensor, corner: tf.Tensor) -> None:
        """Add b rows: ``rows`` (b, n) left of the diagonal block, ``corner`` (b, b) on it."""
        n, end = self._size, self._size + int(corner.shape[0])
        if end == n:
            return
        if end > self.capacity:
            self._grow(max(end, math.ceil(math.sqrt(2) * self.capacity)))
        if n:
            self._buffer[n:end, :n].assign(rows)
        self._buffer[n:end, n:end].assign(corner)
        self._size = end

    def _grow(self, capacity: int) -> None:
        filled, n = self.read(), self._size
        self._buffer = tf.Variable(tf.zeros((capacity, capacity), tf.float64))
        if n:
            self._buffer[:n, :n].assign(filled)


class GrowingRows:
    """A wide matrix (n, m) that gains rows, kept as a few pieces that double in size.

    TensorFlow copies a variable whenever it is read after a part of it was assigned, which would
    cost as much as the update itself. Pieces are never written again; two neighbours are joined
    once the newer has grown to the size of the older, so that there are at most about log₂ n of
    them and a row is copied at most that often.

    Args:
        rows: What to begin with, (n, m).
    """

    def __init__(self, rows: tf.Tensor) -> None:
        self._pieces = [rows]

    @property
    def shape(self) -> tuple[int, int]:
        """(n, m)."""
        return sum(int(piece.shape[0]) for piece in self._pieces), int(self._pieces[0].shape[1])

    def append(self, rows: tf.Tensor) -> None:
        """Add rows of shape (b, m)."""
        pieces = self._pieces
        pieces.append(rows)
        while len(pieces) > 1 and pieces[-2].shape[0] <= pieces[-1].shape[0]:
            newer, older = pieces.pop(), pieces.pop()
            pieces.append(tf.concat([older, newer], axis=0))

    def transposed_product(self, A: npt.NDArray[np.floating]) -> tf.Tensor:
        """Aᵀ V for A of shape (n, b): (b, m)."""
        total, start = None, 0
        for piece in self._pieces:
            stop = start + int(piece.shape[0])
            part = tf.matmul(tf.constant(A[start:stop], piece.dtype), piece, transpose_a=True)
            total, start = part if total is None else total + part, stop
        return total

    def columns(self, positions: npt.NDArray[np.int64]) -> tf.Tensor:
        """Some of the columns, (n, k)."""
        return tf.concat([tf.gather(piece, positions, axis=1) for piece in self._pieces], axis=0)

    def keep_columns(self, positions: npt.NDArray[np.int64]) -> None:
        """Keep only these columns and give back the room of the others."""
        for i, piece in enumerate(self._pieces):
            self._pieces[i] = tf.gather(piece, positions, axis=1)
