"""Hyperparameters that make the labels most likely.

The negative log marginal likelihood is minimised over the logarithms of amplitude, length scale and
noise by L-BFGS-B with exact gradients (Byrd, Lu, Nocedal and Zhu, SIAM J. Sci. Comput. 16, 1190
(1995); SciPy's implementation). A constant mean is not searched for: for given hyperparameters the
best one is known (generalised least squares).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from gpnet_ray.config import GpConfig
from gpnet_ray.errors import InputError
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.kernels import pairwise_distances
from gpnet_ray.gp.likelihood import Likelihood, LikelihoodValue
from gpnet_ray.gp.messages import FitResult, FitStep
from gpnet_ray.gp.scaling import finite_latents
from gpnet_ray.types import FloatArray

__all__ = ["fit_hyperparameters"]

_NAMES = ("amplitude", "length_scale", "noise_std")
# Bounds in units of the labels' standard deviation and of the median distance between two points:
# wide enough for any labels that a Gaussian process can describe.
_AMPLITUDE_BOUNDS = (1e-3, 1e3)
_LENGTH_BOUNDS = (1e-3, 1e3)
_NOISE_BOUNDS = (1e-4, 1e1)
_INITIAL_NOISE = 0.1
# Relative change of the likelihood and size of its gradient, both a label, at which the search ends.
_RELATIVE_CHANGE = 1e-10
_GRADIENT = 1e-6


def fit_hyperparameters(X: npt.ArrayLike, y: npt.ArrayLike, *, config: GpConfig) -> FitResult:
    """Fit the hyperparameters on labelled points, by maximum marginal likelihood.

    Args:
        X: Scaled latents, shape (n, d).
        y: Labels, shape (n,), target's unit.
        config: Kernel, mean, noise, where to start, and the largest number of evaluations.

    Raises:
        InputError: fewer than two points, latents or labels that are not finite or do not fit
            together, all labels equal, all latents equal.
        NumericalError: a covariance matrix that cannot be factorised.
    """
    start = time.perf_counter()
    latents, labels = _checked(X, y)
    metric = "cityblock" if config.kernel == "laplacian-l1" else "euclidean"
    distances = pairwise_distances(latents, latents, metric=metric)
    likelihood = Likelihood(
        config.kernel, distances, labels, constant_mean=config.mean == "constant"
    )
    search = _Search(
        likelihood, config, spread=float(labels.std()), bounds=_bounds(distances, labels)
    )
    search.run()
    return search.result(seconds=time.perf_counter() - start)


class _Search:
    """The minimisation, which remembers every evaluation."""

    def __init__(
        self,
        likelihood: Likelihood,
        config: GpConfig,
        *,
        spread: float,
        bounds: Sequence[tuple[float, float]],
    ) -> None:
        self._likelihood, self._config, self._spread = likelihood, config, spread
        self._bounds = bounds if config.noise_std is None else bounds[:2]
        self._trace: list[FitStep] = []
        self._values: list[LikelihoodValue] = []
        self._ended = ""

    def run(self) -> None:
        """Minimise; what is found lies in the trace."""
        config = self._config
        first = [
            config.initial_amplitude * self._spread,
            config.initial_length_scale,
            _INITIAL_NOISE * self._spread,
        ]
        bounds = np.log(np.array(self._bounds))
        initial = np.clip(np.log(first[: len(bounds)]), bounds[:, 0], bounds[:, 1])
        outcome = minimize(
            self._objective,
            initial,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={
                "maxfun": config.max_evaluations,
                "maxiter": config.max_evaluations,
                "ftol": _RELATIVE_CHANGE,
                "gtol": _GRADIENT,
            },
        )
        if outcome.status == 1:
            self._ended = f"the search was cut short after {len(self._trace)} evaluations; raise gp.max_evaluations"
        elif outcome.status != 0:
            self._ended = f"the search ended early: {outcome.message}"

    def result(self, *, seconds: float) -> FitResult:
        """The best evaluation, as hyperparameters with warnings."""
        best = int(np.argmin([step.negative_log_likelihood for step in self._trace]))
        step = self._trace[best]
        hyperparameters = Hyperparameters(
            kernel=self._config.kernel,
            amplitude=step.amplitude,
            length_scale=step.length_scale,
            noise_std=step.noise_std,
            mean=step.mean,
        )
        warnings = [self._ended] if self._ended else []
        for name, (low, high) in zip(_NAMES, self._bounds, strict=False):
            value = getattr(step, name)
            for bound, side in ((low, "lower"), (high, "upper")):
                if abs(np.log(value / bound)) < 1e-6:
                    warnings.append(
                        f"{name} ended at its {side} bound {bound:.4g}: the labels do not determine it; check the latents and the target"
                    )
        if self._values[best].jitter > 0:
            warnings.append(
                f"a variance of {self._values[best].jitter:.3g} was added to the diagonal of the covariance to factorise it; the fitted noise is too small for points this close"
            )
        return FitResult(hyperparameters, tuple(self._trace), seconds, tuple(warnings))

    def _objective(self, log_parameters: FloatArray) -> tuple[float, FloatArray]:
        amplitude, length_scale, *noise = np.exp(log_parameters).tolist()
        noise_std = noise[0] if noise else float(self._config.noise_std or 0.0)
        value = self._likelihood(amplitude, length_scale, noise_std)
        self._values.append(value)
        self._trace.append(
            FitStep(
                evaluation=len(self._trace) + 1,
                negative_log_likelihood=value.negative_log_likelihood,
                amplitude=amplitude,
                length_scale=length_scale,
                noise_std=noise_std,
                mean=value.mean,
            )
        )
        n = self._likelihood.n
        # A label's share, so that the thresholds mean the same for any number of labels.
        return value.negative_log_likelihood / n, value.gradient[: len(log_parameters)] / n


def _checked(X: npt.ArrayLike, y: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    latents = finite_latents(X, what="labelled latents")
    labels = np.asarray(y, dtype=np.float64)
    if labels.shape != (len(latents),):
        raise InputError(
            f"labels have shape {labels.shape} for latents of shape {latents.shape}; one label a point is needed"
        )
    if len(labels) < 2:
        raise InputError(
            f"hyperparameters cannot be fitted on {len(labels)} labelled points; label at least 2"
        )
    bad = np.flatnonzero(~np.isfinite(labels))
    if bad.size:
        raise InputError(
            f"{bad.size} of {len(labels)} labels are NaN or infinite (first: row {bad[0]}); leave these materials out"
        )
    if np.ptp(labels) == 0:
        raise InputError(
            f"all {len(labels)} labels equal {labels[0]}: there is nothing to learn; check the target column"
        )
    return latents, labels


def _bounds(distances: FloatArray, labels: FloatArray) -> list[tuple[float, float]]:
    r = np.asarray(distances)
    apart = r[r > 0]
    if not apart.size:
        raise InputError(
            f"the latents of all {len(labels)} labelled points are equal; check the network that made them"
        )
    typical, spread = float(np.median(apart)), float(labels.std())
    scales = (spread, typical, spread)
    factors = (_AMPLITUDE_BOUNDS, _LENGTH_BOUNDS, _NOISE_BOUNDS)
    return [(s * low, s * high) for s, (low, high) in zip(scales, factors, strict=True)]
