"""How good predictions are, in every cycle: sums that shards can add, and the metrics made of them."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from gpnet_ray.errors import InputError
from gpnet_ray.types import BoolArray, FloatArray

__all__ = ["ErrorSums", "error_sums"]


@dataclass(frozen=True)
class ErrorSums:
    """Sums over points, one entry a cycle, from which every metric follows.

    Sums of two disjoint sets of points add, so that shards can be measured apart and reported as one.

    Attributes:
        n: Number of points measured, shape (cycles,).
        sum_absolute: Sum of |target − mean|, target's unit.
        sum_squared: Sum of (target − mean)², target's unit squared.
        n_within_2sigma: Number of points with |target − mean| ≤ 2σ.
        sum_target: Sum of target − ``centre``.
        sum_target_squared: Sum of (target − ``centre``)².
        centre: A constant near the mean target, the same in all sums that are to be added; R² is a
            difference of sums of squares and would lose digits on targets far from zero.
    """

    n: FloatArray
    sum_absolute: FloatArray
    sum_squared: FloatArray
    n_within_2sigma: FloatArray
    sum_target: FloatArray
    sum_target_squared: FloatArray
    centre: float

    def __post_init__(self) -> None:
        """Check that all sums speak of the same cycles.

        Raises:
            InputError: arrays of different shape, or not one-dimensional.
        """
        shapes = {f.name: getattr(self, f.name).shape for f in fields(self) if f.name != "centre"}
        if len(set(shapes.values())) != 1 or len(self.n.shape) != 1:
            raise InputError(f"sums need one shape (cycles,), got {shapes}")

    def __len__(self) -> int:
        return len(self.n)

    def __add__(self, other: ErrorSums) -> ErrorSums:
        if self.centre != other.centre or len(self) != len(other):
            raise InputError(
                f"sums over {len(self)} cycles centred on {self.centre} cannot be added to sums over "
                f"{len(other)} cycles centred on {other.centre}; measure both in the same cycles with the same centre"
            )
        added = {
            f.name: getattr(self, f.name) + getattr(other, f.name)
            for f in fields(self)
            if f.name != "centre"
        }
        return ErrorSums(**added, centre=self.centre)

    def last(self) -> ErrorSums:
        """The sums of the last cycle alone."""
        last = {f.name: getattr(self, f.name)[-1:] for f in fields(self) if f.name != "centre"}
        return ErrorSums(**last, centre=self.centre)

    def metrics(self) -> dict[str, FloatArray]:
        """Mean absolute error, root mean squared error, R² and 2σ coverage in every cycle.

        Returns:
            ``mae`` and ``rmse`` (target's unit), ``r2`` and ``coverage_2sigma`` (a share of 1), each
            of shape (cycles,). NaN where there is nothing to measure: no point, or for R² fewer
            than two different targets.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = self.sum_target_squared - self.sum_target**2 / self.n
            # Rounding leaves a spread of about 1e-16 of the sum where all targets are equal.
            measurable = spread > 1e-14 * self.sum_target_squared
            r2 = np.where(measurable, 1.0 - self.sum_squared / spread, np.nan)
            return {
                "mae": self.sum_absolute / self.n,
                "rmse": np.sqrt(self.sum_squared / self.n),
                "r2": r2,
                "coverage_2sigma": self.n_within_2sigma / self.n,
            }


def error_sums(
    target: FloatArray,
    mean: FloatArray,
    sigma: FloatArray,
    *,
    mask: BoolArray | None = None,
    centre: float,
) -> ErrorSums:
    """Sum the errors of predictions over points, for several cycles at once.

    Args:
        target: True values, shape (m,), target's unit.
        mean: Predicted means, shape (c, m).
        sigma: Predicted standard deviations of an observation, shape (c, m).
        mask: Which points count in which cycle, shape (c, m); ``None``: all.
        centre: Constant subtracted from the targets before they are squared, see :class:`ErrorSums`.

    Raises:
        InputError: shapes that do not fit together.
    """
    expected = (len(mean), len(target))
    for name, array in (("mean", mean), ("sigma", sigma), ("mask", mask)):
        if array is not None and array.shape != expected:
            raise InputError(
                f"{name} has shape {array.shape}, expected (cycles, points) {expected}"
            )
    counted = np.ones(expected) if mask is None else mask.astype(np.float64)
    absolute = np.abs(target - mean)
    within = absolute <= 2.0 * sigma
    absolute *= counted
    centred = target - centre
    return ErrorSums(
        n=counted.sum(axis=1),
        sum_absolute=absolute.sum(axis=1),
        sum_squared=np.einsum("cm,cm->c", absolute, absolute),
        n_within_2sigma=np.einsum("cm,cm->c", within, counted),
        sum_target=counted @ centred,
        sum_target_squared=counted @ centred**2,
        centre=float(centre),
    )
