"""Rows of different lengths, one after the other in a flat array: row i is ``offsets[i]:offsets[i + 1]``."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Offsets", "offsets_of", "slices"]

Offsets: TypeAlias = npt.NDArray[np.int64]


def slices(offsets: Offsets, rows: Offsets) -> tuple[Offsets, Offsets]:
    """Index the flat entries of some rows, one row after the other, and give their new offsets.

    >>> slices(np.array([0, 2, 5]), np.array([1, 0]))
    (array([2, 3, 4, 0, 1]), array([0, 3, 5]))
    """
    counts = offsets[rows + 1] - offsets[rows]
    new_offsets = offsets_of(counts)
    shift = np.repeat(offsets[rows] - new_offsets[:-1], counts)
    return np.arange(new_offsets[-1]) + shift, new_offsets


def offsets_of(counts: npt.ArrayLike) -> Offsets:
    """Where rows of these lengths begin, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
