"""Metrics that are made of sums: against scikit-learn, by hand, and added over shards."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from gpnet_ray.errors import InputError
from gpnet_ray.evaluation.metrics import ErrorSums, error_sums


@pytest.fixture
def predictions() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    target = rng.normal(-3.0, 0.8, size=40)
    mean = target + rng.normal(0, 0.3, size=(5, 40))
    return target, mean, rng.uniform(0.05, 0.4, size=(5, 40))


def test_metrics_of_every_cycle_equal_those_of_scikit_learn(predictions):
    target, mean, sigma = predictions
    metrics = error_sums(target, mean, sigma, centre=-2.0).metrics()
    for cycle in range(5):
        # Sums of 40 numbers of size 1: a few units in the last place, 1e-16 each.
        assert metrics["mae"][cycle] == pytest.approx(
            mean_absolute_error(target, mean[cycle]), rel=1e-13
        )
        assert metrics["rmse"][cycle] == pytest.approx(
            root_mean_squared_error(target, mean[cycle]), rel=1e-13
        )
        assert metrics["r2"][cycle] == pytest.approx(r2_score(target, mean[cycle]), rel=1e-12)


def test_coverage_counts_the_points_within_two_sigma():
    target = np.array([0.0, 0.0, 0.0, 0.0])
    mean = np.array([[0.1, 0.2, 0.21, -0.3]])
    metrics = error_sums(target, mean, np.full((1, 4), 0.1), centre=0.0).metrics()
    assert metrics["coverage_2sigma"].tolist() == [0.5]


def test_sums_of_two_shards_add_to_those_of_the_whole(predictions):
    target, mean, sigma = predictions
    whole = error_sums(target, mean, sigma, centre=-3.0).metrics()
    left = error_sums(target[:13], mean[:, :13], sigma[:, :13], centre=-3.0)
    right = error_sums(target[13:], mean[:, 13:], sigma[:, 13:], centre=-3.0)
    for name, values in (left + right).metrics().items():
        np.testing.assert_allclose(values, whole[name], rtol=1e-12)  # the order of 40 additions


def test_masked_points_do_not_count(predictions):
    target, mean, sigma = predictions
    mask = np.ones(mean.shape, dtype=bool)
    mask[2, 5:] = False
    masked = error_sums(target, mean, sigma, mask=mask, centre=-3.0)
    few = error_sums(target[:5], mean[2:3, :5], sigma[2:3, :5], centre=-3.0)
    assert masked.n.tolist() == [40, 40, 5, 40, 40]
    for name, values in few.metrics().items():
        assert masked.metrics()[name][2] == pytest.approx(values[0], rel=1e-12)


def test_r2_keeps_its_digits_far_from_zero():
    # Energies of 1e6 with a spread of 1: without a centre the squares, 1e12, would lose 12 digits.
    rng = np.random.default_rng(1)
    target = 1e6 + rng.normal(size=200)
    mean = target[np.newaxis] + rng.normal(0, 0.1, size=(1, 200))
    r2 = error_sums(target, mean, np.ones((1, 200)), centre=1e6).metrics()["r2"][0]
    assert r2 == pytest.approx(r2_score(target, mean[0]), abs=1e-8)


def test_what_cannot_be_measured_is_nan():
    nothing = error_sums(np.empty(0), np.empty((1, 0)), np.empty((1, 0)), centre=0.0).metrics()
    assert all(np.isnan(values[0]) for values in nothing.values())
    equal = error_sums(np.full(3, 0.1), np.zeros((1, 3)), np.ones((1, 3)), centre=-7.3).metrics()
    assert np.isnan(equal["r2"][0])
    assert equal["mae"][0] == pytest.approx(0.1)


def test_last_gives_the_metrics_of_the_last_cycle(predictions):
    target, mean, sigma = predictions
    sums = error_sums(target, mean, sigma, centre=-3.0)
    assert sums.last().metrics()["mae"].tolist() == sums.metrics()["mae"][-1:].tolist()


def test_sums_that_do_not_belong_together_are_refused(predictions):
    target, mean, sigma = predictions
    sums = error_sums(target, mean, sigma, centre=0.0)
    with pytest.raises(InputError, match="same centre"):
        sums + error_sums(target, mean, sigma, centre=1.0)
    with pytest.raises(InputError, match="5 cycles"):
        sums + error_sums(target, mean[:3], sigma[:3], centre=0.0)
    with pytest.raises(InputError, match=r"sigma has shape \(5, 39\)"):
        error_sums(target, mean, sigma[:, :39], centre=0.0)
    with pytest.raises(InputError, match="one shape"):
        ErrorSums(*(np.zeros(2) for _ in range(5)), np.zeros(3), centre=0.0)
