"""Learning curves of one arm from several seeds as one: their mean and how far they scatter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gpnet_ray.errors import InputError
from gpnet_ray.evaluation.comparison import LearningCurve
from gpnet_ray.types import FloatArray

__all__ = ["CurveBand", "curve_band"]


@dataclass(frozen=True)
class CurveBand:
    """Mean learning curve of an arm over seeds.

    Attributes:
        arm: Name of the arm.
        n_curves: How many curves, one a seed.
        n_labelled: Labelled materials, int64 ``(c,)``, never falling: every number at which one of the
            curves was measured, from where all have begun to where the first ends, as often as the curve
            that was measured there most often. Of a single curve these are its own.
        mean: Mean error over the curves, float64 ``(c,)``, target's unit.
        std: Standard deviation over the curves (n − 1), float64 ``(c,)``; 0 for a single curve.
    """

    arm: str
    n_curves: int
    n_labelled: npt.NDArray[np.int64]
    mean: FloatArray
    std: FloatArray

    @property
    def mean_curve(self) -> LearningCurve:
        """The mean as a learning curve of its own, to be compared with another arm's."""
        return LearningCurve(arm=self.arm, n_labelled=self.n_labelled, error=self.mean)


def curve_band(curves: Sequence[LearningCurve]) -> CurveBand:
    """Take the mean over the curves of one arm; between two measurements the earlier one holds.

    An arm is measured twice with the same labels where its network was trained again, or where a label failed:
    the first measurements are averaged with each other, then the second ones, and a curve that has no second
    one stays at its first.

    Raises:
        InputError: no curves, curves of different arms, or curves that share no number of labels.
    """
    arms = sorted({curve.arm for curve in curves})
    if len(arms) != 1:
        raise InputError(f"curves of {arms or 'no arm'} have no common mean; give those of one arm")
    start = max(int(curve.n_labelled[0]) for curve in curves)
    end = min(int(curve.n_labelled[-1]) for curve in curves)
    if start > end:
        raise InputError(
            f"no number of labels is in all {len(curves)} curves of {arms[0]!r}: one begins at {start}"
            f" and another ends at {end}; give curves from the same start"
        )
    grid, nth = _grid(curves, start, end)
    errors = np.stack([_held(curve, grid, nth) for curve in curves])
    std = errors.std(axis=0, ddof=1) if len(curves) > 1 else np.zeros(len(grid))
    return CurveBand(
        arm=arms[0], n_curves=len(curves), n_labelled=grid, mean=errors.mean(axis=0), std=std
    )


def _grid(
    curves: Sequence[LearningCurve], start: int, end: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the numbers of labels from start to end, and which measurement with so many each entry is."""
    measured = np.unique(np.concatenate([curve.n_labelled for curve in curves]))
    measured = measured[(measured >= start) & (measured <= end)]
    times = np.max([np.subtract(*_bounds(curve, measured)) for curve in curves], axis=0)
    first = np.cumsum(times) - times
    return np.repeat(measured, times), np.arange(times.sum()) - np.repeat(first, times)


def _held(
    curve: LearningCurve, grid: npt.NDArray[np.int64], nth: npt.NDArray[np.int64]
) -> FloatArray:
    """Return the n-th error measured with so many labels, or the last one before it."""
    after, first = _bounds(curve, grid)
    held: FloatArray = curve.error[np.minimum(first + nth, after - 1)]
    return held


def _bounds(
    curve: LearningCurve, grid: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return how many evaluations had at most so many labels, and how many had fewer."""
    after = np.searchsorted(curve.n_labelled, grid, side="right")
    return after, np.searchsorted(curve.n_labelled, grid, side="left")
