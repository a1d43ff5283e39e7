"""How good means and σ are together: accuracy, calibration, sharpness, dispersion, scores.

The definitions of calibration, sharpness and dispersion are those of Tran et al., Mach. Learn.: Sci.
Technol. 1, 025006 (2020), doi:10.1088/2632-2153/ab7e1a, as the library uncertainty-toolbox has them; it does
the computing wherever it has the metric. Predictions are taken as Gaussian, N(mean, σ²) for each label, except that
the coverage of a level is that of the recalibrated interval where a recalibration is given.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpnet_ray.errors import InputError
from gpnet_ray.gp.recalibration import Recalibration
from gpnet_ray.types import FloatArray

__all__ = [
    "LEVELS",
    "CalibrationCurve",
    "PredictionMetrics",
    "calibration_curve",
    "check_predictions",
    "metric_units",
    "prediction_metrics",
]

LEVELS = 100
"""Confidence levels from 0 to 1, both included, at which coverage is compared with what is expected."""


@dataclass(frozen=True)
class PredictionMetrics:
    """Every metric of one set of predictions.

    :func:`metric_units` gives the unit of each. A metric that is not defined for the points is NaN: R²
    and Pearson's r where all labels are equal, every spread and correlation of a single point, a correlation with
    something constant.

    Attributes:
        n: Number of points.
        mae: Mean absolute error.
        rmse: Root mean squared error.
        std_absolute_error: Standard deviation of the absolute error over the points (n − 1 degrees of
            freedom).
        r2: Coefficient of determination of the means.
        pearson_r: Pearson's correlation coefficient of labels and means.
        coverage_2sigma: Share of the points with |label − mean| ≤ 2σ; 0.954 where σ is right.
        miscalibration_area: Area between the calibration curve (see :func:`calibration_curve`) and the
            diagonal; 0 where σ is right, 0.5 at worst.
        rms_calibration_error: Root mean square of observed minus expected share over the levels.
        mean_absolute_calibration_error: Mean absolute value of the same.
        sharpness: Root mean square of σ; it says how confident the predictions are, not how right.
        dispersion: Coefficient of variation of σ: its standard deviation (n − 1) over its mean. 0 where
            every point has the same σ, which then tells no point from another.
        nll: Mean negative logarithm of the Gaussian density at the labels; smaller is better. It depends on
            the unit: labels in other units shift it.
        crps: Mean continuous ranked probability score of the Gaussians; smaller is better. Of
            predictions without spread it is the MAE.
        spearman: Spearman's rank correlation of |label − mean| and σ: 1 where a larger σ always
            means a larger error, 0 where σ says nothing about it.
    """

    n: int
    mae: float
    rmse: float
    std_absolute_error: float
    r2: float
    pearson_r: float
    coverage_2sigma: float
    miscalibration_area: float
    rms_calibration_error: float
    mean_absolute_calibration_error: float
    sharpness: float
    dispersion: float
    nll: float
    crps: float
    spearman: float


def metric_units(unit: str) -> dict[str, str]:
    """Return the unit of every field of :class:`PredictionMetrics` for labels in ``unit``.

    >>> metric_units("eV")["mae"], metric_units("eV")["coverage_2sigma"], metric_units("eV")["nll"]
    ('eV', '1 (share of the points)', 'nat (labels in eV)')
    """
    of_label = ("mae", "rmse", "std_absolute_error", "sharpness", "crps")
    shares = (
        *("coverage_2sigma", "miscalibration_area"),
        *("rms_calibration_error", "mean_absolute_calibration_error"),
    )
    return {
        "n": "points",
        **dict.fromkeys(of_label, unit),
        **dict.fromkeys(("r2", "pearson_r", "dispersion", "spearman"), "1"),
        **dict.fromkeys(shares, "1 (share of the points)"),
        "nll": f"nat (labels in {unit})",
    }


@dataclass(frozen=True)
class CalibrationCurve:
    """Coverage at all levels: what the σ promise and what the points do.

    Attributes:
        expected: Confidence levels from 0 to 1, float64 ``(LEVELS,)``.
        observed: Share of the points inside the central interval of each level, float64 ``(LEVELS,)``. Below the diagonal σ is too small, above it too large.
    """

    expected: FloatArray
    observed: FloatArray


def prediction_metrics(
    labels: FloatArray,
    means: FloatArray,
    sigmas: FloatArray,
    recalibration: Recalibration | None = None,
) -> PredictionMetrics:
    """Compute every metric of one set of predictions.

    Args:
        labels: True values, float64 ``(n,)``, target's unit.
        means: Predicted means, float64 ``(n,)``, target's unit.
        sigmas: Predicted standard deviations of an observation, float64 ``(n,)``, target's unit, positive.
        recalibration: How wide the interval of a level is in units of σ; ``None``: as a Gaussian's. The
            metrics of calibration over all levels read it.

    Raises:
        InputError: no point, arrays of different shape, values that are not finite, a σ that is not
            positive.
    """
    from scipy import stats

    labels, means, sigmas = check_predictions(labels, means, sigmas)
    uct = _uncertainty_toolbox()
    absolute = np.abs(labels - means)
    several, labels_differ = len(labels) > 1, np.ptp(labels) > 0
    predictions = (means, sigmas, labels)
    calibration = {"vectorized": True, "recal_model": _levels_of(recalibration)}
    # A mean or label of zero makes the library divide by it, in a metric that is not used here; what has
    # no spread has no correlation, which is NaN and no reason for a warning.
    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", category=RuntimeWarning)
        if several:
            accuracy = uct.prediction_error_metrics(means, labels)
        else:
            accuracy = {"mae": absolute[0], "rmse": absolute[0], "r2": np.nan, "corr": np.nan}
        spearman = stats.spearmanr(absolute, sigmas).statistic if several else np.nan
    values = {
        "mae": accuracy["mae"],
        "rmse": accuracy["rmse"],
        "std_absolute_error": absolute.std(ddof=1) if several else np.nan,
        # The library calls the R² of equal labels 0 or 1.
        "r2": accuracy["r2"] if labels_differ else np.nan,
        "pearson_r": accuracy["corr"],
        "coverage_2sigma": np.mean(absolute <= 2 * sigmas),
        "miscalibration_area": uct.miscalibration_area(*predictions, LEVELS, **calibration),
        "rms_calibration_error": uct.root_mean_squared_calibration_error(
            *predictions, LEVELS, **calibration
        ),
        "mean_absolute_calibration_error": uct.mean_absolute_calibration_error(
            *predictions, LEVELS, **calibration
        ),
        "sharpness": uct.sharpness(sigmas),
        "dispersion": sigmas.std(ddof=1) / sigmas.mean() if several else np.nan,
        "nll": uct.nll_gaussian(*predictions),
        "crps": uct.crps_gaussian(*predictions),
        "spearman": spearman,
    }
    return PredictionMetrics(
        n=len(labels), **{name: float(value) for name, value in values.items()}
    )


def calibration_curve(
    labels: FloatArray,
    means: FloatArray,
    sigmas: FloatArray,
    recalibration: Recalibration | None = None,
) -> CalibrationCurve:
    """Compute which share of the points lies inside the central interval of every confidence level.

    Args:
        labels: True values, float64 ``(n,)``, target's unit.
        means: Predicted means, float64 ``(n,)``, target's unit.
        sigmas: Predicted standard deviations of an observation, float64 ``(n,)``, target's unit, positive.
        recalibration: As for :func:`prediction_metrics`.

    Raises:
        InputError: as :func:`prediction_metrics`.
    """
    labels, means, sigmas = check_predictions(labels, means, sigmas)
    expected, observed = _uncertainty_toolbox().get_proportion_lists_vectorized(
        means, sigmas, labels, LEVELS, recal_model=_levels_of(recalibration)
    )
    return CalibrationCurve(expected=expected, observed=observed)


def check_predictions(
    labels: FloatArray, means: FloatArray, sigmas: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Check labels, means and σ of points and return them as float64 ``(n,)``.

    Raises:
        InputError: no point, arrays of different shape, values that are not finite, a σ that is not
            positive.
    """
    arrays = {
        name: np.asarray(values, dtype=np.float64)
        for name, values in (("labels", labels), ("means", means), ("sigmas", sigmas))
    }
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) != 1 or arrays["labels"].ndim != 1 or not arrays["labels"].size:
        raise InputError(
            f"predictions have shapes {shapes}; give labels, means and sigmas of the same points, at"
            " least one, as three arrays (n,)"
        )
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise InputError(
                f"{name} hold {int((~np.isfinite(array)).sum())} values of {len(array)} that are not"
                " finite; leave out the points that have no label or no prediction"
            )
    if not (arrays["sigmas"] > 0).all():
        raise InputError(
            f"the smallest of the sigmas is {arrays['sigmas'].min():g}; a standard deviation of an"
            " observation is positive (give the GP a noise, or leave out points without σ)"
        )
    return arrays["labels"], arrays["means"], arrays["sigmas"]


@dataclass(frozen=True)
class _Levels:
    """What the library asks for the level of the Gaussian interval that stands for one of level p."""

    recalibration: Recalibration

    def predict(self, levels: FloatArray) -> FloatArray:
        return self.recalibration.gaussian_levels(levels)


def _levels_of(recalibration: Recalibration | None) -> _Levels | None:
    return None if recalibration is None else _Levels(recalibration)


def _uncertainty_toolbox() -> Any:
    """Import the library when it is needed: it takes a second and brings pyplot along."""
    with warnings.catch_warnings():
        # An invalid escape in a figure's legend (0.1.1), told where pip has not compiled the file.
        warnings.simplefilter("ignore", category=SyntaxWarning)
        warnings.simplefilter("ignore", category=DeprecationWarning)
        import uncertainty_toolbox
    return uncertainty_toolbox
