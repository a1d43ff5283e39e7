"""σ made honest on rows that neither the network nor the Gaussian process had seen (no TensorFlow).

A network has learned the rows that the process is fitted to, so that the process takes its own errors for smaller
than they are; and errors of a network have heavier tails than a Gaussian. Both show on rows that were held
out. Every way here multiplies σ by one number, so that no order of σ changes, and says
besides how wide the interval of a level is in units of the new σ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gpnet_ray.errors import InputError, NumericalError, nearest_name_hint
from gpnet_ray.gp.settings import RECALIBRATIONS
from gpnet_ray.types import FloatArray

__all__ = ["FEWEST_HELD_OUT", "TWO_SIGMA", "Recalibration", "fit_recalibration"]

TWO_SIGMA = math.erf(math.sqrt(2.0))
"""Share of a Gaussian within two standard deviations, 0.9545."""

FEWEST_HELD_OUT = 21
"""The fewest rows whose largest standardised error bounds a 2σ interval: n ≥ 0.9545 (n + 1)."""

# Beyond, Student's t is a Gaussian to within the width of a line.
_LARGEST_DEGREES_OF_FREEDOM = 1e3


@dataclass(frozen=True)
class Recalibration:
    """How wide intervals are in units of σ, and by what σ was multiplied for it.

    Attributes:
        how: ``none``; ``variance`` (a Gaussian of another width); ``student-t`` (Student's t instead of
            the Gaussian); ``isotonic`` (coverage by isotonic regression, Kuleshov et al. 2018, for central
            intervals); ``conformal`` (split conformal prediction with errors in units of σ, Lei et al. 2018).
        scale: What σ was multiplied by. After it, mean ± 2σ is the interval of level 0.9545.
        n: How many held-out rows it was fitted on.
        degrees_of_freedom: Of Student's t (``student-t``).
        levels: Shares of the held-out rows, rising (``isotonic``, ``conformal``).
        widths: Half-widths that belong to ``levels``, in units of the new σ.
    """

    how: str = "none"
    scale: float = 1.0
    n: int = 0
    degrees_of_freedom: float = math.inf
    levels: tuple[float, ...] = ()
    widths: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Validate once.

        Raises:
            InputError: an unknown way, or a scale that no σ can be multiplied by.
        """
        if self.how not in RECALIBRATIONS:
            raise InputError(
                f"unknown recalibration {self.how!r}: {nearest_name_hint(self.how, RECALIBRATIONS)}"
            )
        if not (math.isfinite(self.scale) and self.scale > 0 and self.degrees_of_freedom > 0):
            raise InputError(
                f"a recalibration with scale {self.scale} and {self.degrees_of_freedom} degrees of"
                " freedom makes no σ; fit it again"
            )

    def half_widths(self, levels: FloatArray) -> FloatArray:
        """Half-widths of the central intervals of these levels, in units of σ, shape as ``levels``.

        Infinite where the held-out rows are too few to say (``conformal``) and at level 1 of a
        distribution without end.

        Raises:
            InputError: a level below 0 or above 1.
        """
        p = np.asarray(levels, dtype=np.float64)
        if not ((p >= 0) & (p <= 1)).all():
            raise InputError(f"levels {levels} are not all between 0 and 1")
        if self.how == "isotonic":
            return np.asarray(np.interp(p, self.levels, self.widths))
        if self.how == "conformal":
            row = np.searchsorted(self.levels, p - 1e-12)
            return np.asarray(np.append(self.widths, np.inf)[row])
        return self._student_or_gaussian(p)

    def gaussian_levels(self, levels: FloatArray) -> FloatArray:
        """The levels at which a Gaussian of the same σ has intervals as wide as those of ``levels``."""
        from scipy.special import ndtr

        return np.asarray(2.0 * ndtr(self.half_widths(levels)) - 1.0)

    def mean_absolute_error(self) -> float:
        """Mean of |label − mean| in units of σ where errors are as the intervals say: their half-widths over all levels.

        Of a Gaussian √(2/π), 0.798. Infinite with one degree of freedom or less: such a Student's t has no mean. Of
        ``conformal`` it is that of the held-out rows, as the intervals beyond the last of them are not known.
        """
        if self.how == "conformal":
            return float(np.mean(self.widths))
        if self.how == "isotonic":
            # Straight lines between the rows, and level beyond the first and the last one, as in half_widths.
            levels = np.array([0.0, *self.levels, 1.0])
            widths = np.array([self.widths[0], *self.widths, self.widths[-1]])
            return float(np.sum(np.diff(levels) * (widths[:-1] + widths[1:]) / 2))
        if math.isinf(self.degrees_of_freedom):
            return math.sqrt(2 / math.pi)
        return _students_mean_absolute_error(self.degrees_of_freedom)

    def _student_or_gaussian(self, p: FloatArray) -> FloatArray:
        from scipy import stats

        if math.isinf(self.degrees_of_freedom):
            return np.asarray(stats.norm.ppf(0.5 + p / 2))
        quantile = stats.t(self.degrees_of_freedom).ppf
        return np.asarray(2.0 * quantile(0.5 + p / 2) / quantile(0.5 + TWO_SIGMA / 2))

    def to_json(self) -> dict[str, Any]:
        """Return a dict of JSON types."""
        content = asdict(self) | {"levels": list(self.levels), "widths": list(self.widths)}
        if math.isinf(self.degrees_of_freedom):
            content["degrees_of_freedom"] = None
        return content

    @classmethod
    def in_gp_file(cls, content: Mapping[str, Any]) -> Recalibration:
        """Read it from the content of a ``gp.json``; one from before it was kept had none.

        Raises:
            InputError: as :meth:`from_json`.
        """
        known = content.get("recalibration")
        return cls() if known is None else cls.from_json(known)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Recalibration:
        """Rebuild from :meth:`to_json`'s dict.

        Raises:
            InputError: a missing entry, or one out of range.
        """
        try:
            degrees = content["degrees_of_freedom"]
            return cls(
                how=str(content["how"]),
                scale=float(content["scale"]),
                n=int(content["n"]),
                degrees_of_freedom=math.inf if degrees is None else float(degrees),
                levels=tuple(float(v) for v in content["levels"]),
                widths=tuple(float(v) for v in content["widths"]),
            )
        except KeyError as error:
            raise InputError(f"the recalibration lacks {error}; write it with to_json()") from None


def fit_recalibration(how: str, standardised_errors: FloatArray) -> Recalibration:
    """Fit on held-out rows what σ has to be multiplied by, and how wide intervals are.

    Args:
        how: One of ``gpnet_ray.gp.settings.RECALIBRATIONS``.
        standardised_errors: (label − mean) / σ of rows that network and process had not seen, float64 (n,).

    Raises:
        InputError: fewer than ``FEWEST_HELD_OUT`` rows, or errors that are not finite or all zero.
        NumericalError: Student's t cannot be fitted to them.
    """
    errors = np.asarray(standardised_errors, dtype=np.float64)
    if how == "none":
        return Recalibration()
    if len(errors) < FEWEST_HELD_OUT:
        raise InputError(
            f"σ cannot be recalibrated on {len(errors)} held-out rows, it takes {FEWEST_HELD_OUT}; raise"
            " training.validation_fraction, label more, or set gp.recalibration to none"
        )
    if not (np.isfinite(errors).all() and errors.any()):
        raise InputError("the held-out rows' errors are not finite or all zero; check the labels")
    fits = {
        "variance": _variance,
        "student-t": _student_t,
        "isotonic": _isotonic,
        "conformal": _conformal,
    }
    if how not in fits:
        raise InputError(f"unknown recalibration {how!r}: {nearest_name_hint(how, RECALIBRATIONS)}")
    return fits[how](errors)


def _variance(errors: FloatArray) -> Recalibration:
    """The Gaussian of largest likelihood."""
    return Recalibration("variance", scale=float(np.sqrt(np.mean(errors**2))), n=len(errors))


def _student_t(errors: FloatArray) -> Recalibration:
    """Student's t of largest likelihood, centred on the mean of the prediction."""
    from scipy import stats

    try:
        degrees, _, scale = stats.t.fit(errors, floc=0.0)
    except stats.FitError as error:
        raise NumericalError(
            f"Student's t cannot be fitted to the errors of {len(errors)} held-out rows ({error}); set"
            " gp.recalibration to conformal"
        ) from error
    degrees = float(min(degrees, _LARGEST_DEGREES_OF_FREEDOM))
    two_sigma = float(scale * stats.t(degrees).ppf(0.5 + TWO_SIGMA / 2))
    return Recalibration(
        "student-t", scale=two_sigma / 2, n=len(errors), degrees_of_freedom=degrees
    )


def _students_mean_absolute_error(degrees: float) -> float:
    """Mean |t| over half of what bounds |t| at level 0.9545 (Johnson, Kotz & Balakrishnan, vol. 2, 1995, ch. 28)."""
    from scipy import special, stats

    if degrees <= 1:
        return math.inf
    mean = 2 * math.sqrt(degrees) / ((degrees - 1) * special.beta(degrees / 2, 0.5))
    return float(2 * mean / stats.t(degrees).ppf(0.5 + TWO_SIGMA / 2))


def _isotonic(errors: FloatArray) -> Recalibration:
    """Share of rows within an interval, as a rising function of its half-width.

    Kuleshov et al. have the level of the Gaussian interval in place of its half-width. The regression reads
    only the order, in which both are alike, but from 8.3σ on that level is 1.0 in float64 and tells no rows apart.
    """
    from sklearn.isotonic import IsotonicRegression

    size = np.sort(np.abs(errors))
    observed = np.arange(1, len(size) + 1) / len(size)
    # Both ends are known; the last row's interval holds all rows, and what is wider as well.
    half_widths, ends = np.append(0.0, size), np.append(0.0, observed)
    regression = IsotonicRegression(y_min=0.0, y_max=1.0).fit(half_widths, ends)
    shares, rows = np.unique(regression.predict(half_widths), return_index=True)
    widths = half_widths[rows]
    return _tabulated("isotonic", shares, widths, float(np.interp(TWO_SIGMA, shares, widths)), size)


def _conformal(errors: FloatArray) -> Recalibration:
    """The k-th smallest error bounds a new one with probability k / (n + 1) or more."""
    size = np.sort(np.abs(errors))
    levels = np.arange(1, len(size) + 1) / (len(size) + 1)
    two_sigma = size[np.searchsorted(levels, TWO_SIGMA)]
    return _tabulated("conformal", levels, size, float(two_sigma), size)


def _tabulated(
    how: str, levels: FloatArray, widths: FloatArray, two_sigma: float, rows: FloatArray
) -> Recalibration:
    """``widths`` in units of the old σ."""
    scale = two_sigma / 2
    return Recalibration(
        how,
        scale=scale,
        n=len(rows),
        levels=tuple(levels.tolist()),
        widths=tuple((widths / scale).tolist()),
    )
