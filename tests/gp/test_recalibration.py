"""σ made honest on held-out rows: widths of intervals, one factor on σ, and what it leaves alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from gpnet_ray.errors import InputError, NumericalError
from gpnet_ray.gp.recalibration import (
    FEWEST_HELD_OUT,
    TWO_SIGMA,
    Recalibration,
    fit_recalibration,
)
from gpnet_ray.gp.settings import RECALIBRATIONS

FITTED = [how for how in RECALIBRATIONS if how != "none"]


def heavy_tailed(n: int, *, seed: int = 0) -> np.ndarray:
    """Errors in units of a σ that is too small, from Student's t with 4 degrees of freedom."""
    return 1.5 * np.random.default_rng(seed).standard_t(4, n)


def test_without_recalibration_the_intervals_are_those_of_a_gaussian() -> None:
    levels = np.array([0.0, 0.5, 0.9, TWO_SIGMA])
    expected = [0.0, 0.6744897501960817, 1.6448536269514722, 2.0]
    np.testing.assert_allclose(Recalibration().half_widths(levels), expected, atol=1e-12)
    assert fit_recalibration("none", np.zeros(0)) == Recalibration()


@pytest.mark.parametrize("how", FITTED)
def test_two_sigma_is_the_interval_of_its_level_and_wider_levels_are_wider(how: str) -> None:
    found = fit_recalibration(how, heavy_tailed(400))
    assert found.n == 400
    # Isotonic regression may bridge a gap of one row of 400 by a straight line.
    assert found.half_widths(np.array([TWO_SIGMA])) == pytest.approx(2.0, abs=1e-9)
    widths = found.half_widths(np.linspace(0.01, 0.99, 50))
    assert (np.diff(widths) >= 0).all()
    assert widths[0] < 0.1


def test_variance_scaling_is_the_root_mean_square_of_the_errors() -> None:
    errors = heavy_tailed(60)
    found = fit_recalibration("variance", errors)
    assert found.scale == pytest.approx(np.sqrt((errors**2).mean()), rel=1e-14)
    assert found.half_widths(np.array([0.9]))[0] == pytest.approx(stats.norm.ppf(0.95), rel=1e-12)


def test_students_t_finds_the_distribution_that_errors_came_from() -> None:
    found = fit_recalibration("student-t", heavy_tailed(20_000))
    # Standard errors of the fit on 20,000 draws are 0.13 for the degrees of freedom and 0.8 % of the scale.
    assert found.degrees_of_freedom == pytest.approx(4.0, abs=0.5)
    exact = 1.5 * stats.t(4).ppf(0.5 + TWO_SIGMA / 2) / 2
    assert found.scale == pytest.approx(exact, rel=0.03)
    ratio = stats.t(4).ppf(0.75) / stats.t(4).ppf(0.5 + TWO_SIGMA / 2)
    assert found.half_widths(np.array([0.5]))[0] == pytest.approx(2 * ratio, rel=0.03)


def test_students_t_of_gaussian_errors_is_nearly_a_gaussian() -> None:
    found = fit_recalibration("student-t", np.random.default_rng(1).normal(size=5000))
    # The standard error of a 2σ quantile from 5,000 draws is about 1.5 %.
    assert found.scale == pytest.approx(1.0, rel=0.05)
    assert json.loads(json.dumps(found.to_json()))["degrees_of_freedom"] > 10


def test_a_fit_that_fails_says_what_to_take_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise stats.FitError("no optimum")

    monkeypatch.setattr(stats.t, "fit", fails)
    with pytest.raises(NumericalError, match=r"30 held-out rows \(.*no optimum.*conformal"):
        fit_recalibration("student-t", heavy_tailed(30))


def test_split_conformal_takes_the_row_that_its_guarantee_names() -> None:
    # Errors 1 … 39: an interval of level 0.5 holds a new error where it is the ceil(0.5 · 40) = 20th of
    # them; that of 2σ is the ceil(0.9545 · 40) = 39th.
    errors = np.random.default_rng(0).permutation(np.arange(1.0, 40.0))
    found = fit_recalibration("conformal", errors)
    assert found.scale == pytest.approx(39.0 / 2)
    np.testing.assert_allclose(
        found.half_widths(np.array([0.5, 0.51, 0.975])) * found.scale, [20.0, 21.0, 39.0]
    )
    assert np.isinf(found.half_widths(np.array([0.98]))).all()


def test_isotonic_regression_gives_the_share_of_rows_within_an_interval() -> None:
    errors = heavy_tailed(200)
    found = fit_recalibration("isotonic", errors)
    size = np.sort(np.abs(errors))
    # Half of the rows have an error below the 100th of them.
    assert found.half_widths(np.array([0.5]))[0] * found.scale == pytest.approx(size[99], rel=1e-9)


def test_isotonic_regression_takes_errors_beyond_what_a_gaussian_knows() -> None:
    # Of a Gaussian nothing lies beyond 8.3σ, to the last digit. 95 rows of a network do not, five do.
    far = np.array([8.2, 8.4, -9.0, 12.0, -40.0])
    errors = np.append(np.random.default_rng(0).uniform(-4, 4, 95), far)
    found = fit_recalibration("isotonic", errors)
    written = json.dumps(found.to_json(), allow_nan=False)
    assert Recalibration.from_json(json.loads(written)) == found
    widths = found.half_widths(np.array([0.97, 0.98, 0.99, 1.0])) * found.scale
    np.testing.assert_allclose(widths, [8.4, 9.0, 12.0, 40.0])


# Not of ``variance``: a Gaussian of the right variance is too wide in the middle of heavy tails.
@pytest.mark.parametrize("how", ["student-t", "isotonic", "conformal"])
def test_intervals_hold_the_share_of_new_rows_that_they_promise(how: str) -> None:
    found = fit_recalibration(how, heavy_tailed(2000, seed=1))
    new = np.abs(heavy_tailed(100_000, seed=2)) / found.scale
    levels = np.array([0.5, 0.8, TWO_SIGMA])
    share = (new[:, None] <= found.half_widths(levels)).mean(axis=0)
    # One standard error of a share from 2,000 rows is 1.1 % and less.
    np.testing.assert_allclose(share, levels, atol=0.03)
    inside = found.gaussian_levels(levels)
    np.testing.assert_allclose(stats.norm.ppf(0.5 + inside / 2), found.half_widths(levels))


@pytest.mark.parametrize("degrees", [2.5, 4.0, 30.0])
def test_the_promised_mean_error_of_students_t_is_that_of_draws_from_it(degrees: float) -> None:
    drawn = np.abs(np.random.default_rng(3).standard_t(degrees, 1_000_000))
    # σ is half of what 95.45 % of the draws lie within.
    sigma = np.quantile(drawn, TWO_SIGMA) / 2
    promised = Recalibration("student-t", degrees_of_freedom=degrees).mean_absolute_error()
    # Standard errors of 1,000,000 draws: 0.2 % of the mean at 2.5 degrees, 0.2 % of the quantile.
    assert promised == pytest.approx(drawn.mean() / sigma, rel=0.01)


@pytest.mark.parametrize("how", ["student-t", "isotonic", "conformal"])
def test_new_rows_have_the_mean_error_that_sigma_promises(how: str) -> None:
    found = fit_recalibration(how, heavy_tailed(20_000, seed=1))
    new = np.abs(heavy_tailed(1_000_000, seed=2)) / found.scale
    # Of 20,000 rows the 2σ quantile has a standard error of 1 %, the mean error one of 0.7 %.
    assert found.mean_absolute_error() == pytest.approx(new.mean(), rel=0.03)
    # A Gaussian of this σ would have 0.80.
    assert new.mean() < 0.72


def test_the_promised_mean_error_is_a_gaussians_without_another_law_and_infinite_without_a_mean() -> (
    None
):
    for gaussian in (Recalibration(), Recalibration("variance", scale=1.5)):
        assert gaussian.mean_absolute_error() == pytest.approx(0.7978845608)
    for degrees in (0.5, 1.0):
        heaviest = Recalibration("student-t", degrees_of_freedom=degrees)
        assert heaviest.mean_absolute_error() == np.inf


@pytest.mark.parametrize("how", RECALIBRATIONS)
def test_comes_back_from_json_as_it_was(how: str) -> None:
    found = fit_recalibration(how, heavy_tailed(50))
    assert Recalibration.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_errors_say_what_is_wrong() -> None:
    with pytest.raises(InputError, match=r"20 held-out rows, it takes 21.*validation_fraction"):
        fit_recalibration("conformal", heavy_tailed(FEWEST_HELD_OUT - 1))
    fit_recalibration("conformal", heavy_tailed(FEWEST_HELD_OUT))
    with pytest.raises(InputError, match="not finite or all zero"):
        fit_recalibration("variance", np.array([np.nan] * 30))
    with pytest.raises(InputError, match="isotonic"):
        fit_recalibration("isotonc", heavy_tailed(30))
    with pytest.raises(InputError, match="scale 0"):
        Recalibration("variance", scale=0.0)
    with pytest.raises(InputError, match=r"between 0 and 1"):
        Recalibration().half_widths(np.array([1.5]))
    with pytest.raises(InputError, match="lacks 'scale'"):
        Recalibration.from_json({"how": "none", "degrees_of_freedom": None})
