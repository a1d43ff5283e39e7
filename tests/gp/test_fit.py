"""The marginal likelihood, its gradient and the fit, against TFP and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from scipy.stats import multivariate_normal

from gpnet_ray.errors import InputError
from gpnet_ray.gp.fit import fit_hyperparameters
from gpnet_ray.gp.kernels import make_kernel
from gpnet_ray.gp.likelihood import Likelihood
from gpnet_ray.gp.settings import KERNELS, GpConfig


@pytest.fixture
def sample() -> tuple[np.ndarray, np.ndarray]:
    """A draw from a Gaussian process of amplitude 0.8, length scale 0.6, noise 0.1, mean −3."""
    rng = np.random.default_rng(3)
    X = rng.uniform(size=(150, 3))
    K = 0.64 * np.exp(-cdist(X, X) / 0.6) + 0.01 * np.eye(150)
    return X, -3.0 + np.linalg.cholesky(K) @ rng.normal(size=150)


def likelihood_of(kernel: str, X, y, *, constant_mean: bool = True) -> Likelihood:
    return Likelihood(kernel, X, y, constant_mean=constant_mean)


@pytest.mark.parametrize("kernel", [name for name in KERNELS if name != "laplacian-l1"])
def test_likelihood_equals_the_log_prob_of_tfp(sample, kernel):
    X, y = sample
    ours = likelihood_of(kernel, X, y)(0.9, 0.5, 0.2)
    process = tfp.distributions.GaussianProcess(
        make_kernel(kernel, tf.constant(0.9, tf.float64), tf.constant(0.5, tf.float64)),
        index_points=X,
        observation_noise_variance=tf.constant(0.04, tf.float64),
        mean_fn=lambda _: tf.constant(ours.mean, tf.float64),
        jitter=0.0,
    )
    # TFP's distances on the diagonal are wrong by up to 1e-7, of 150 labels with a noise of 0.04.
    assert ours.negative_log_likelihood == pytest.approx(-float(process.log_prob(y)), rel=1e-6)


def test_likelihood_of_the_l1_kernel_equals_that_of_scipy(sample):
    X, y = sample
    ours = likelihood_of("laplacian-l1", X, y, constant_mean=False)(0.9, 0.5, 0.2)
    K = 0.81 * np.exp(-cdist(X, X, "cityblock") / 0.5) + 0.04 * np.eye(len(X))
    assert ours.mean == 0.0
    assert ours.negative_log_likelihood == pytest.approx(
        -multivariate_normal(np.zeros(len(X)), K).logpdf(y), rel=1e-10
    )


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("constant_mean", [True, False])
def test_gradient_equals_finite_differences(sample, kernel, constant_mean):
    X, y = sample
    X = np.vstack([X, X[:3]])  # points in one place, where the distance has no derivative
    y = np.append(y, y[:3] + 0.05)
    likelihood = likelihood_of(kernel, X, y, constant_mean=constant_mean)
    point = np.log([0.9, 0.5, 0.2])
    step = 1e-5
    for i, derivative in enumerate(likelihood(*np.exp(point)).gradient):
        ends = [
            likelihood(*np.exp(point + sign * step * np.eye(3)[i])).negative_log_likelihood
            for sign in (1, -1)
        ]
        # Central differences: an error of step² and of 1e-14 × 300 / step.
        assert derivative == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("kernel", ["laplacian", "laplacian-l1", "matern52"])
def test_gradient_by_one_length_scale_a_dimension_equals_finite_differences(sample, kernel):
    X, y = np.vstack([sample[0], sample[0][:3]]), np.append(sample[1], sample[1][:3] + 0.05)
    likelihood = likelihood_of(kernel, X, y)
    equal, common = likelihood(0.9, (0.5, 0.5, 0.5), 0.2), likelihood(0.9, 0.5, 0.2)
    assert equal.negative_log_likelihood == pytest.approx(common.negative_log_likelihood, rel=1e-12)
    assert equal.gradient[1:4].sum() == pytest.approx(common.gradient[1], rel=1e-9)
    point, step = np.log([0.9, 0.3, 0.5, 2.0, 0.2]), 1e-5

    def value(log_parameters):
        amplitude, *lengths, noise = np.exp(log_parameters).tolist()
        return likelihood(amplitude, tuple(lengths), noise)

    for i, derivative in enumerate(value(point).gradient):
        ends = [
            value(point + sign * step * np.eye(5)[i]).negative_log_likelihood for sign in (1, -1)
        ]
        assert derivative == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5, abs=1e-5)


def test_one_length_scale_a_dimension_finds_the_dimensions_that_matter():
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(120, 3))
    y = np.sin(6 * X[:, 1]) + rng.normal(0, 0.05, size=120)
    config = GpConfig(kernel="matern52")
    each = GpConfig(kernel="matern52", one_length_scale_a_dimension=True)
    result = fit_hyperparameters(X, y, config=each)
    lengths = result.hyperparameters.length_scale
    assert len(lengths) == 3
    assert lengths[1] < 0.2 * min(lengths[0], lengths[2])
    common = fit_hyperparameters(X, y, config=config)
    best = [min(s.negative_log_likelihood for s in r.trace) for r in (result, common)]
    assert best[0] < best[1] - 10


def test_further_starts_are_seeded_and_never_make_it_worse(sample):
    X, y = sample[0][:40], sample[1][:40]
    one = fit_hyperparameters(X, y, config=GpConfig())
    three = [fit_hyperparameters(X, y, config=GpConfig(starts=3), seed=seed) for seed in (1, 1, 2)]
    assert three[0].trace[: len(one.trace)] == one.trace
    assert three[0].trace == three[1].trace
    assert three[0].trace != three[2].trace
    best = [min(s.negative_log_likelihood for s in r.trace) for r in (one, *three)]
    assert max(best[1:]) <= best[0]


def test_a_penalty_pulls_towards_the_typical_values(sample):
    X, y = sample[0][:40], sample[1][:40]
    free, light, heavy = (
        fit_hyperparameters(X, y, config=GpConfig(penalty=penalty)) for penalty in (0.0, 1.0, 1e6)
    )
    typical = [y.std(), np.median(cdist(X, X)[np.triu_indices(40, 1)]), 0.1 * y.std()]

    def away(result):
        numbers = result.hyperparameters
        got = [numbers.amplitude, numbers.length_scale, numbers.noise_std]
        return np.abs(np.log(np.array(got) / typical))

    assert np.linalg.norm(away(light)) < np.linalg.norm(away(free))
    # The median of pairs is that of both triangles of the matrix.
    np.testing.assert_allclose(away(heavy), 0, atol=1e-3)


def test_adam_arrives_where_l_bfgs_does_after_many_more_evaluations(sample):
    X, y = sample[0][:40], sample[1][:40]
    quasi_newton = fit_hyperparameters(X, y, config=GpConfig())
    config = GpConfig(optimiser="adam", adam_learning_rate=0.05, max_evaluations=600)
    adam = fit_hyperparameters(X, y, config=config)
    assert len(adam.trace) == 600
    best = [min(s.negative_log_likelihood for s in r.trace) for r in (quasi_newton, adam)]
    assert best[0] <= best[1] + 1e-6
    assert adam.hyperparameters.length_scale == pytest.approx(
        quasi_newton.hyperparameters.length_scale, rel=0.05
    )


def test_the_constant_mean_is_the_best_one(sample):
    X, y = sample
    best = likelihood_of("laplacian", X, y)(0.9, 0.5, 0.2)
    for shift in (-0.05, 0.05):
        moved = likelihood_of("laplacian", X, y - best.mean - shift, constant_mean=False)
        value = moved(0.9, 0.5, 0.2).negative_log_likelihood
        assert value > best.negative_log_likelihood
    same = likelihood_of("laplacian", X, y - best.mean, constant_mean=False)(0.9, 0.5, 0.2)
    assert same.negative_log_likelihood == pytest.approx(best.negative_log_likelihood, rel=1e-12)


def test_fit_finds_the_optimum_that_a_search_without_gradients_finds(sample):
    X, y = sample[0][:60], sample[1][:60]
    result = fit_hyperparameters(X, y, config=GpConfig())
    distances = cdist(X, X)

    def negative_log_likelihood(parameters):
        amplitude, length, noise, mean = [*np.exp(parameters[:3]), parameters[3]]
        K = amplitude**2 * np.exp(-distances / length) + noise**2 * np.eye(len(X))
        residual = y - mean
        quadratic = residual @ np.linalg.solve(K, residual)
        return 0.5 * (quadratic + np.linalg.slogdet(2 * np.pi * K)[1])

    found = minimize(
        negative_log_likelihood,
        [*np.log([0.8, 0.6, 0.1]), -3.0],
        method="Nelder-Mead",
        options={"xatol": 1e-5, "fatol": 1e-9, "maxfev": 1000},
    )
    numbers = result.hyperparameters
    best = min(step.negative_log_likelihood for step in result.trace)
    assert best == pytest.approx(found.fun, abs=1e-6)
    # The likelihood is flat at its top: 1e-7 of it is about 1e-3 of a parameter.
    expected = [*np.exp(found.x[:3]), found.x[3]]
    got = [numbers.amplitude, numbers.length_scale, numbers.noise_std, numbers.mean]
    np.testing.assert_allclose(got, expected, rtol=3e-3)
    assert len(result.trace) <= 60
    assert [step.evaluation for step in result.trace] == list(range(1, len(result.trace) + 1))
    assert result.warnings == ()


def test_fit_starts_where_the_configuration_says(sample):
    X, y = sample
    config = GpConfig(initial_amplitude=0.5, initial_length_scale=0.25, kernel="matern52")
    first = fit_hyperparameters(X, y, config=config).trace[0]
    assert first.amplitude == pytest.approx(0.5 * y.std(), rel=1e-12)
    assert first.length_scale == pytest.approx(0.25, rel=1e-12)


def test_given_noise_stays_and_a_zero_mean_is_zero(sample):
    X, y = sample
    result = fit_hyperparameters(X, y, config=GpConfig(noise_std=0.3, mean="zero"))
    assert {step.noise_std for step in result.trace} == {0.3}
    assert {step.mean for step in result.trace} == {0.0}
    assert result.hyperparameters.noise_std == 0.3


def test_fit_is_the_same_in_another_unit(sample):
    X, y = sample
    a = fit_hyperparameters(X, y, config=GpConfig()).hyperparameters
    b = fit_hyperparameters(X, 1000.0 * y, config=GpConfig()).hyperparameters
    # The search ends a little before the flat top, at another place for other rounding.
    assert b.amplitude == pytest.approx(1000.0 * a.amplitude, rel=1e-3)
    assert b.length_scale == pytest.approx(a.length_scale, rel=1e-3)
    assert b.mean == pytest.approx(1000.0 * a.mean, rel=1e-3)


def test_a_parameter_that_ends_at_a_bound_is_warned_of_with_its_value():
    X = np.random.default_rng(0).uniform(size=(60, 2))
    # A plane without noise: the noise falls to its bound.
    result = fit_hyperparameters(X, X @ [1.0, 2.0], config=GpConfig(kernel="matern52"))
    value = result.hyperparameters.noise_std
    assert any(
        f"noise_std ended at its lower bound {value:.4g}" in text for text in result.warnings
    )


def test_a_search_that_is_cut_short_says_so(sample):
    X, y = sample
    result = fit_hyperparameters(X, y, config=GpConfig(max_evaluations=3))
    # SciPy looks at the count between its steps, each of which may take a few evaluations.
    assert len(result.trace) <= 8
    assert "raise gp.max_evaluations" in result.warnings[0]
    best = min(result.trace, key=lambda step: step.negative_log_likelihood)
    assert result.hyperparameters.amplitude == best.amplitude


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.ones((1, 2)), [1.0], "on 1 labelled points"),
        (np.empty((0, 2)), [], "on 0 labelled points"),
        (
            [[0, 1], [np.nan, 1]],
            [1.0, 2.0],
            r"NaN or infinite values in 1 of 2 rows \(first: row 1\)",
        ),
        ([[0, 1], [2, 1]], [1.0, np.inf], r"1 of 2 labels are NaN or infinite \(first: row 1\)"),
        ([[0, 1], [2, 1]], [1.0, 2.0, 3.0], r"labels have shape \(3,\)"),
        ([[0, 1], [2, 1], [3, 3]], [0.5] * 3, "all 3 labels equal 0.5"),
        (np.ones((3, 2)), [0.5, 0.6, 0.7], "latents of all 3 labelled points are equal"),
    ],
)
def test_what_cannot_be_fitted_is_refused(X, y, message):
    with pytest.raises(InputError, match=message):
        fit_hyperparameters(X, y, config=GpConfig())


def test_two_points_and_repeated_points_can_be_fitted():
    result = fit_hyperparameters([[0.0, 1.0], [1.0, 1.0]], [0.0, 1.0], config=GpConfig())
    assert np.isfinite(result.hyperparameters.amplitude)
    rng = np.random.default_rng(1)
    X = np.repeat(rng.uniform(size=(20, 3)), 2, axis=0)
    y = X[:, 0] + rng.normal(0, 0.1, size=40)
    numbers = fit_hyperparameters(X, y, config=GpConfig()).hyperparameters
    # Equal points with different labels tell the noise.
    assert numbers.noise_std == pytest.approx(0.1, rel=0.4)
