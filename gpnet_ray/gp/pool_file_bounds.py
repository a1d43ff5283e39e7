"""The bounds of one file of a pool: which of its points have to be looked at."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gpnet_ray.types import BoolArray, BoundArray, FloatArray

__all__ = ["FileBounds"]


class FileBounds:
    """An upper bound a point, −∞ for those that are kept elsewhere or are not to be picked any more.

    Args:
        bounds: float32 (m,), shares of the prior variance.
    """

    def __init__(self, bounds: BoundArray) -> None:
        self._bounds = bounds
        self._touched: BoolArray = np.zeros(len(bounds), dtype=np.bool_)
        self._largest = self._max()

    @property
    def largest(self) -> float:
        """The largest bound; −∞ where nothing is left."""
        return self._largest

    @property
    def n_touched(self) -> int:
        """How many points were ever computed in full."""
        return int(np.count_nonzero(self._touched))

    def above(self, threshold: float, most: int) -> npt.NDArray[np.int64]:
        """Points whose bound is larger than a threshold: the ``most`` largest of them, in no order."""
        if self._largest <= threshold:
            return np.empty(0, dtype=np.int64)
        rows = np.flatnonzero(self._bounds > threshold)
        if len(rows) > most:
            rows = rows[np.argpartition(-self._bounds[rows], most - 1)[:most]]
        return rows

    def of(self, rows: npt.NDArray[np.int64]) -> FloatArray:
        """Bounds of some points."""
        return self._bounds[rows].astype(np.float64)

    def take_out(self, rows: npt.NDArray[np.int64]) -> None:
        """Keep these points elsewhere from now on, since they are computed in full."""
        self._bounds[rows] = -np.inf
        self._touched[rows] = True
        self._largest = self._max()

    def put_back(self, rows: npt.NDArray[np.int64], bounds: BoundArray) -> None:
        """Keep points here again, with the bounds that are known by now."""
        self._bounds[rows] = bounds
        self._largest = self._max()

    def _max(self) -> float:
        return float(self._bounds.max()) if len(self._bounds) else -np.inf
