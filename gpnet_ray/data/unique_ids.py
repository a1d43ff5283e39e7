"""Ids that occur twice among very many, found in eight bytes an id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["repeated_ids"]

Hashes = npt.NDArray[np.uint64]


def repeated_ids(columns: Callable[[], Iterable[pa.Array]]) -> list[str]:
    """Find the ids that occur more than once.

    Only a 64-bit hash of every id is kept; ids whose hashes are equal are then looked at themselves.

    Args:
        columns: gives the ids, column by column, each time that it is called (once, or twice if hashes
            are equal).

    Returns:
        Each of them once, in order of first occurrence.
    """
    parts = [_hashes(column) for column in columns()]
    if not parts:
        return []
    hashes = np.concatenate(parts)
    del parts
    hashes.sort()
    doubled = hashes[1:][hashes[1:] == hashes[:-1]]
    if not len(doubled):
        return []
    suspects: Counter[str] = Counter()
    for column in columns():
        suspects.update(column.filter(pa.array(np.isin(_hashes(column), doubled))).to_pylist())
    return [name for name, times in suspects.items() if times > 1]


def _hashes(column: pa.Array) -> Hashes:
    from pandas.util import hash_array

    names = column.to_numpy(zero_copy_only=False)
    hashes: Hashes = hash_array(names, categorize=False)
    return hashes
