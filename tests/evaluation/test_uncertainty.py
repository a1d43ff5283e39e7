"""Metrics of σ: by hand, in closed form, and against SciPy."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
from scipy import integrate, stats

from gpnet_ray.errors import InputError
from gpnet_ray.evaluation.uncertainty import (
    PredictionMetrics,
    calibration_curve,
    metric_units,
    prediction_metrics,
)


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """4,000 labels that were drawn from the very Gaussians that predict them."""
    rng = np.random.default_rng(11)
    means = rng.normal(-2.0, 1.0, 4000)
    sigmas = rng.uniform(0.05, 0.3, 4000)
    return means + sigmas * rng.normal(size=4000), means, sigmas


def test_accuracy_of_four_points_by_hand():
    labels = np.array([1.0, 2.0, 3.0, 4.0])
    means = np.array([1.5, 2.0, 2.0, 4.5])  # absolute errors 0.5, 0, 1, 0.5
    metrics = prediction_metrics(labels, means, np.array([0.25, 0.1, 0.4, 0.2]))
    assert metrics.n == 4
    # Sums of four numbers of size 1: rounding of 1e-16 each.
    assert metrics.mae == pytest.approx(0.5, rel=1e-14)
    assert metrics.rmse == pytest.approx(math.sqrt(1.5 / 4), rel=1e-14)
    # Deviations from 0.5 are 0, −0.5, 0.5, 0; three degrees of freedom.
    assert metrics.std_absolute_error == pytest.approx(math.sqrt(0.5 / 3), rel=1e-14)
    assert metrics.r2 == pytest.approx(1 - 1.5 / 5, rel=1e-14)
    assert metrics.pearson_r == pytest.approx(stats.pearsonr(labels, means).statistic, rel=1e-13)
    # 0.5 ≤ 0.5 and 0 ≤ 0.2 are inside, 1 > 0.8 and 0.5 > 0.4 are not: the bound itself counts.
    assert metrics.coverage_2sigma == 0.5


def test_sharpness_and_dispersion_by_hand():
    sigmas = np.array([1.0, 2.0, 3.0])
    metrics = prediction_metrics(np.zeros(3), np.array([0.5, 1.0, -1.0]), sigmas)
    assert metrics.sharpness == pytest.approx(math.sqrt(14 / 3), rel=1e-14)
    # Mean 2, deviations −1, 0, 1, two degrees of freedom: standard deviation 1.
    assert metrics.dispersion == pytest.approx(0.5, rel=1e-14)
    assert prediction_metrics(np.zeros(3), np.ones(3), np.full(3, 0.2)).dispersion == pytest.approx(
        0, abs=1e-15
    )


@pytest.mark.parametrize(("mean", "sigma"), [(0.3, 0.5), (-1.2, 0.1), (0.0, 2.0)])
def test_crps_is_the_integral_that_defines_it(mean, sigma):
    label = 0.4

    def squared_difference(x: float) -> float:
        return float((stats.norm.cdf(x, mean, sigma) - (x >= label)) ** 2)

    # The jump at the label is a bound of integration; beyond 12σ nothing is left in float64.
    low, high = min(label, mean - 12 * sigma), max(label, mean + 12 * sigma)
    expected = sum(
        integrate.quad(squared_difference, a, b, points=[mean], epsabs=1e-12)[0]
        for a, b in ((low, label), (label, high))
    )
    crps = prediction_metrics(np.array([label]), np.array([mean]), np.array([sigma])).crps
    assert crps == pytest.approx(expected, abs=1e-9)  # what the quadrature is good for


def test_crps_of_calibrated_gaussians_is_sigma_over_root_pi(drawn):
    # Closed form of the expectation (Gneiting & Raftery 2007); its standard error here is about 1 %.
    labels, means, sigmas = drawn
    expected = sigmas.mean() / math.sqrt(math.pi)
    assert prediction_metrics(labels, means, sigmas).crps == pytest.approx(expected, rel=0.04)


def test_nll_by_hand_and_its_shift_with_the_unit(drawn):
    labels, means, sigmas = drawn
    nll = prediction_metrics(labels, means, sigmas).nll
    by_hand = np.mean(0.5 * np.log(2 * np.pi * sigmas**2) + (labels - means) ** 2 / (2 * sigmas**2))
    assert nll == pytest.approx(by_hand, rel=1e-12)
    milli = prediction_metrics(1000 * labels, 1000 * means, 1000 * sigmas).nll
    assert milli - nll == pytest.approx(math.log(1000), rel=1e-12)


def test_right_sigmas_are_calibrated_and_halved_ones_are_not(drawn):
    labels, means, sigmas = drawn
    right = prediction_metrics(labels, means, sigmas)
    # Shares of 4,000 points have standard errors below 0.008.
    assert right.coverage_2sigma == pytest.approx(0.9545, abs=0.012)
    assert right.miscalibration_area < 0.02
    halved = prediction_metrics(labels, means, sigmas / 2)
    # Of σ/2 the level p covers 2Φ(q/2) − 1 with q the quantile of p; the area is this integral.
    area, _ = integrate.quad(
        lambda p: p - (2 * stats.norm.cdf(stats.norm.ppf(0.5 + p / 2) / 2) - 1), 0, 1
    )
    assert halved.miscalibration_area == pytest.approx(area, abs=0.012)
    # The same differences averaged over 100 levels instead of integrated: 1/100 of difference.
    assert halved.mean_absolute_calibration_error == pytest.approx(area, abs=0.014)
    assert halved.rms_calibration_error > halved.mean_absolute_calibration_error


def test_the_calibration_curve_counts_points_inside_central_intervals(drawn):
    labels, means, sigmas = (column[:300] for column in drawn)
    curve = calibration_curve(labels, means, sigmas)
    assert (curve.expected[0], curve.expected[-1]) == (0.0, 1.0)
    for level in (10, 50, 90):
        low, high = stats.norm.interval(curve.expected[level], means, sigmas)
        assert curve.observed[level] == np.mean((labels >= low) & (labels <= high))
    metrics = prediction_metrics(labels, means, sigmas)
    difference = curve.observed - curve.expected
    assert metrics.rms_calibration_error == pytest.approx(np.sqrt(np.mean(difference**2)))
    assert metrics.mean_absolute_calibration_error == pytest.approx(np.abs(difference).mean())


def test_rank_correlation_of_error_and_sigma():
    sigmas = np.array([0.1, 0.2, 0.3, 0.4])
    labels = np.zeros(4)
    assert prediction_metrics(labels, np.array([0.01, -0.5, 0.6, -2.0]), sigmas).spearman == 1.0
    assert prediction_metrics(labels, np.array([3.0, -2.0, 1.0, 0.5]), sigmas).spearman == -1.0
    # Ranks of the errors 1, 2, 4, 3: 1 − 6·2 / (4·15).
    mixed = prediction_metrics(labels, np.array([0.1, 0.2, 0.9, 0.3]), sigmas).spearman
    assert mixed == pytest.approx(0.8, rel=1e-14)


def test_what_is_not_defined_is_nan_and_warns_of_nothing(recwarn):
    equal = prediction_metrics(np.ones(3), np.array([1.0, 1.5, 0.0]), np.full(3, 0.2))
    assert math.isnan(equal.r2)
    assert math.isnan(equal.pearson_r)
    assert math.isnan(equal.spearman)
    assert equal.mae == 0.5
    one = prediction_metrics(np.zeros(1), np.array([0.5]), np.array([0.2]))
    assert (one.mae, one.rmse, one.coverage_2sigma) == (0.5, 0.5, 0.0)
    undefined = ("std_absolute_error", "r2", "pearson_r", "dispersion", "spearman")
    assert all(math.isnan(getattr(one, name)) for name in undefined)
    assert not [w for w in recwarn if issubclass(w.category, (RuntimeWarning, UserWarning))]


def test_every_metric_has_its_unit():
    assert set(metric_units("eV")) == {field.name for field in fields(PredictionMetrics)}


@pytest.mark.parametrize(
    ("labels", "means", "sigmas", "message"),
    [
        ([1.0, 2.0], [1.0], [0.1, 0.1], r"shapes.*same points"),
        ([], [], [], "at least one"),
        ([[1.0]], [[1.0]], [[0.1]], "three arrays"),
        ([1.0, math.nan], [1.0, 1.0], [0.1, 0.1], "labels hold 1 values of 2"),
        ([1.0, 1.0], [1.0, 1.0], [0.1, 0.0], "smallest of the sigmas is 0"),
    ],
)
def test_unusable_predictions_are_refused(labels, means, sigmas, message):
    with pytest.raises(InputError, match=message):
        prediction_metrics(np.array(labels), np.array(means), np.array(sigmas))
