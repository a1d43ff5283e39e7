"""Hyperparameters and recalibration from rows that were held out of the network's training."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

from gpnet_ray.errors import InputError
from gpnet_ray.gp.calibrated_fit import fit_calibrated, standardised_errors
from gpnet_ray.gp.fit import fit_hyperparameters
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.likelihood import ConditionalLikelihood
from gpnet_ray.gp.posterior import Posterior
from gpnet_ray.gp.settings import GpConfig

N, N_HELD = 240, 60


@pytest.fixture(scope="module")
def learned() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latents, labels and which rows were held out: the others' labels are told without their error.

    So it looks to a Gaussian process where a network has learned its train rows by heart.
    """
    rng = np.random.default_rng(0)
    X, held = rng.uniform(size=(N, 3)), np.zeros(N, dtype=bool)
    held[rng.choice(N, N_HELD, replace=False)] = True
    y = np.sin(4 * X[:, 0]) + X[:, 1] + np.where(held, 0.2, 0.02) * rng.standard_t(4, N)
    return X, y, held


def laplacian(a: np.ndarray, b: np.ndarray, p: Hyperparameters) -> np.ndarray:
    return p.amplitude**2 * np.exp(-cdist(a, b) / p.length_scale)


def test_likelihood_of_held_out_rows_is_that_of_their_conditional_distribution(learned) -> None:
    X, y, held = learned
    rest = ~held
    p = Hyperparameters("laplacian", 0.7, 0.9, 0.15, 0.0)
    noise = p.noise_std**2 * np.eye(N)
    K = laplacian(X, X, p) + noise
    gain = K[np.ix_(held, rest)] @ np.linalg.inv(K[np.ix_(rest, rest)])
    covariance = K[np.ix_(held, held)] - gain @ K[np.ix_(rest, held)]
    expected = -stats.multivariate_normal(gain @ y[rest], covariance).logpdf(y[held])
    likelihood = ConditionalLikelihood("laplacian", X, y, held, constant_mean=False)
    value = likelihood(p.amplitude, p.length_scale, p.noise_std)
    # A difference of two numbers of about 100 in double precision.
    assert value.negative_log_likelihood == pytest.approx(expected, abs=1e-9)
    assert likelihood.n == N_HELD

    def at(log_parameters: np.ndarray) -> float:
        return likelihood(*np.exp(log_parameters).tolist()).negative_log_likelihood

    here, step = np.log([p.amplitude, p.length_scale, p.noise_std]), 1e-5
    slopes = [(at(here + step * e) - at(here - step * e)) / (2 * step) for e in np.eye(3)]
    # Central differences of such a step are right to about 1e-10 of the third derivative, plus rounding.
    np.testing.assert_allclose(value.gradient, slopes, rtol=1e-5, atol=1e-5)


def test_hyperparameters_can_be_fitted_on_held_out_rows(learned) -> None:
    X, y, held = learned
    labelled = fit_hyperparameters(X, y, config=GpConfig())
    config = GpConfig(fit_rows="held-out")
    on_held = fit_hyperparameters(X, y, config=config, held_out=held)
    # The held-out rows' errors are ten times those of the others.
    assert on_held.hyperparameters.noise_std > 1.3 * labelled.hyperparameters.noise_std
    with pytest.raises(InputError, match=r"0 of 240 labelled rows were held out.*gp\.fit_rows"):
        fit_hyperparameters(X, y, config=config)
    with pytest.raises(InputError, match=r"239 of 240"):
        fit_hyperparameters(X, y, config=config, held_out=np.arange(N) > 0)


def test_standardised_errors_are_those_of_a_process_that_never_saw_the_rows(learned) -> None:
    X, y, held = learned
    rest = ~held
    p = Hyperparameters("laplacian", 0.7, 0.9, 0.15, 0.2)
    K = laplacian(X[rest], X[rest], p) + p.noise_std**2 * np.eye(rest.sum())
    k = laplacian(X[rest], X[held], p)
    mean = p.mean + k.T @ np.linalg.solve(K, y[rest] - p.mean)
    variance = p.amplitude**2 + p.noise_std**2 - (k * np.linalg.solve(K, k)).sum(axis=0)
    expected = (y[held] - mean) / np.sqrt(variance)
    # NumPy's LU against a Cholesky factor, both in double precision.
    np.testing.assert_allclose(standardised_errors(p, X, y, held), expected, atol=1e-9)
    with pytest.raises(InputError, match="all 240 rows were held out"):
        standardised_errors(p, X, y, np.ones(N, dtype=bool))


@pytest.mark.parametrize("how", ["variance", "student-t", "isotonic", "conformal"])
def test_recalibration_changes_no_mean_and_no_order_of_sigma(learned, how: str) -> None:
    X, y, held = learned
    ids = [f"m-{i}" for i in range(N)]
    new = np.random.default_rng(5).uniform(-0.5, 1.5, size=(300, 3))
    as_fitted = fit_calibrated(X, y, held, config=GpConfig(recalibration="none"))
    honest = fit_calibrated(X, y, held, config=GpConfig(recalibration=how))
    (mean, sigma), (same_mean, wider) = (
        Posterior(fit.hyperparameters, ids, X, y).predict(new) for fit in (as_fitted, honest)
    )
    # All that differs is rounding.
    np.testing.assert_allclose(same_mean, mean, atol=1e-10)
    np.testing.assert_allclose(wider, honest.recalibration.scale * sigma, rtol=1e-10)
    assert honest.recalibration.scale > 1.2
    assert (np.argsort(wider) == np.argsort(sigma)).all()


def test_recalibrated_sigma_covers_rows_that_nobody_has_seen(learned) -> None:
    X, y, held = learned
    fit = fit_calibrated(X, y, held, config=GpConfig())
    rng = np.random.default_rng(6)
    new = rng.uniform(size=(4000, 3))
    labels = np.sin(4 * new[:, 0]) + new[:, 1] + 0.2 * rng.standard_t(4, 4000)
    ids = [f"m-{i}" for i in range(N)]
    mean, sigma = Posterior(fit.hyperparameters, ids, X, y).predict(new)
    covered = (np.abs(labels - mean) <= 2 * sigma).mean()
    # The standard error of a coverage that was fitted on 60 rows is 2.7 %; as fitted it is 0.70.
    assert covered == pytest.approx(0.9545, abs=0.054)
    assert fit.recalibration.how == "student-t"


def test_too_few_held_out_rows_leave_sigma_as_fitted_and_say_so(learned) -> None:
    X, y, _ = learned
    few = np.arange(N) < 20
    fit = fit_calibrated(X, y, few, config=GpConfig())
    assert (
        fit.hyperparameters
        == fit_calibrated(X, y, few, config=GpConfig(recalibration="none")).hyperparameters
    )
    assert fit.recalibration.how == "none"
    assert "20 of 240 labelled rows" in fit.warnings[-1]
    assert "not recalibrated" in fit.warnings[-1]
