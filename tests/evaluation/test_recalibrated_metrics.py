"""Calibration over all levels is that of the recalibrated intervals."""

from __future__ import annotations

import numpy as np

from gpnet_ray.evaluation.uncertainty import LEVELS, calibration_curve, prediction_metrics
from gpnet_ray.gp.recalibration import Recalibration, fit_recalibration


def test_heavy_tailed_errors_are_calibrated_at_every_level_by_their_own_intervals() -> None:
    rng = np.random.default_rng(0)
    sigma = rng.uniform(0.5, 2.0, 20_000)
    label = sigma * rng.standard_t(3, 20_000)
    mean = rng.normal(size=20_000) * 1e-3
    found = fit_recalibration("student-t", rng.standard_t(3, 20_000))
    wider = sigma * found.scale
    gaussian = prediction_metrics(label, mean, wider)
    students = prediction_metrics(label, mean, wider, found)
    # A share of 20,000 points has a standard error of 0.35 % and less.
    assert students.miscalibration_area < 0.01
    assert gaussian.miscalibration_area > 0.05
    assert students.coverage_2sigma == gaussian.coverage_2sigma
    assert abs(students.coverage_2sigma - 0.9545) < 0.01

    curve = calibration_curve(label, mean, wider, found)
    levels = np.linspace(0, 1, LEVELS)
    by_hand = [(np.abs(label - mean) <= wider * w).mean() for w in found.half_widths(levels)]
    # The library goes through a Gaussian's levels, exact to about 1e-12 where few points lie.
    np.testing.assert_allclose(curve.observed, by_hand, atol=1e-4)
    assert prediction_metrics(label, mean, wider, Recalibration()) == gaussian
