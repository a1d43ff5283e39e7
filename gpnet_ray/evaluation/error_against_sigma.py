"""Does a large σ mean a large error? MAE over deciles of σ, and the points that are predicted worst."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpnet_ray.errors import InputError
from gpnet_ray.evaluation.uncertainty import check_predictions
from gpnet_ray.types import FloatArray

__all__ = ["SigmaBin", "WorstPoint", "error_in_sigma_bins", "worst_points"]


@dataclass(frozen=True)
class SigmaBin:
    """The points whose σ lies in one bin; all but ``n`` in the target's unit.

    Attributes:
        n: Number of points.
        sigma_from: Smallest σ of them.
        sigma_to: Largest σ of them.
        rms_sigma: Root mean square of their σ. It is the RMSE that they promise where errors are Gaussian; after a
            recalibration 2σ is the interval of level 0.9545, whatever the RMSE.
        mae: Mean absolute error.
        rmse: Root mean squared error.
    """

    n: int
    sigma_from: float
    sigma_to: float
    rms_sigma: float
    mae: float
    rmse: float


@dataclass(frozen=True)
class WorstPoint:
    """A point with one of the largest absolute residuals; numbers in the target's unit.

    Attributes:
        material_id: Its id.
        formula: Its formula.
        label: True value.
        mean: Predicted mean.
        sigma: Predicted standard deviation.
        residual: ``label − mean``.
        beyond_2sigma: Whether |residual| > 2σ, so that σ did not warn of it.
    """

    material_id: str
    formula: str
    label: float
    mean: float
    sigma: float
    residual: float
    beyond_2sigma: bool


def error_in_sigma_bins(
    labels: FloatArray, means: FloatArray, sigmas: FloatArray, *, bins: int = 10
) -> tuple[SigmaBin, ...]:
    """Sort the points by σ into bins of (nearly) equal number and measure the error in each.

    Args:
        labels: True values, float64 ``(n,)``, target's unit.
        means: Predicted means, float64 ``(n,)``, target's unit.
        sigmas: Predicted standard deviations, float64 ``(n,)``, target's unit, positive.
        bins: Number of bins; ten are deciles. With fewer points than bins each point is a bin.

    Returns:
        The bins from the smallest σ to the largest. Their numbers of points differ by at most one; equal
        σ may fall on both sides of a bound, in the order of the points.

    Raises:
        InputError: as :func:`gpnet_ray.evaluation.uncertainty.prediction_metrics`, or ``bins`` below 1.
    """
    if bins < 1:
        raise InputError(f"{bins} bins hold nothing; give at least 1")
    labels, means, sigmas = check_predictions(labels, means, sigmas)
    residuals = labels - means
    order = np.argsort(sigmas, kind="stable")
    return tuple(
        SigmaBin(
            n=len(rows),
            sigma_from=float(sigmas[rows[0]]),
            sigma_to=float(sigmas[rows[-1]]),
            rms_sigma=float(np.sqrt(np.mean(sigmas[rows] ** 2))),
            mae=float(np.abs(residuals[rows]).mean()),
            rmse=float(np.sqrt(np.mean(residuals[rows] ** 2))),
        )
        for rows in np.array_split(order, min(bins, len(order)))
    )


def worst_points(
    ids: Sequence[str],
    formulas: Sequence[str],
    labels: FloatArray,
    means: FloatArray,
    sigmas: FloatArray,
    *,
    count: int = 10,
) -> tuple[WorstPoint, ...]:
    """List the points with the largest absolute residuals, the worst first.

    Args:
        ids: Id of every point, ``(n,)``.
        formulas: Formula of every point, ``(n,)``.
        labels: True values, float64 ``(n,)``, target's unit.
        means: Predicted means, float64 ``(n,)``, target's unit.
        sigmas: Predicted standard deviations, float64 ``(n,)``, target's unit, positive.
        count: How many to list; fewer where there are fewer points.

    Raises:
        InputError: as :func:`gpnet_ray.evaluation.uncertainty.prediction_metrics`, or a number of ids or
            formulas that is not the number of points.
    """
    labels, means, sigmas = check_predictions(labels, means, sigmas)
    if not len(ids) == len(formulas) == len(labels):
        raise InputError(
            f"{len(ids)} ids and {len(formulas)} formulas do not fit {len(labels)} points; give one of"
            " each a point"
        )
    residuals = labels - means
    # Equal residuals in the order of their ids, so that the list does not depend on the rows' order.
    order = np.lexsort((np.asarray(ids, dtype=np.str_), -np.abs(residuals)))
    return tuple(
        WorstPoint(
            material_id=str(ids[row]),
            formula=str(formulas[row]),
            label=float(labels[row]),
            mean=float(means[row]),
            sigma=float(sigmas[row]),
            residual=float(residuals[row]),
            beyond_2sigma=bool(abs(residuals[row]) > 2 * sigmas[row]),
        )
        for row in order[:count]
    )
