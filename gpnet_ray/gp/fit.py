"""Hyperparameters that make the labels most likely.

The negative log marginal likelihood is minimised over the logarithms of amplitude, length scale and
noise with exact gradients. A constant mean is not searched for: for given hyperparameters the best
one is known (generalised least squares).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gpnet_ray.errors import InputError
from gpnet_ray.gp.fit_records import FitResult, FitStep
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.likelihood import ConditionalLikelihood, Likelihood, LikelihoodValue
from gpnet_ray.gp.optimisers import minimise_adam, minimise_lbfgs
from gpnet_ray.gp.recalibration import Recalibration
from gpnet_ray.gp.scaling import finite_latents
from gpnet_ray.gp.settings import GpConfig
from gpnet_ray.seeds import generator
from gpnet_ray.tensorflow_devices import prepare_gpus
from gpnet_ray.types import FloatArray

__all__ = ["FitResult", "FitStep", "fit_hyperparameters"]

# Bounds of amplitude, length scale and noise in units of the labels' standard deviation and of the
# median distance between two points: wide enough for any labels that a Gaussian process can describe.
_BOUNDS = ((1e-3, 1e3), (1e-3, 1e3), (1e-4, 1e1))
# Where noise starts, and what a penalty pulls towards, in the same units.
_TYPICAL = (1.0, 1.0, 0.1)
# Further starts lie within this factor of the typical values.
_START_FACTOR = 10.0


def fit_hyperparameters(
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    config: GpConfig,
    seed: int = 0,
    held_out: npt.ArrayLike | None = None,
) -> FitResult:
    """Fit the hyperparameters on labelled points, by maximum likelihood; σ is left as it comes out.

    Args:
        X: Scaled latents, shape (n, d).
        y: Labels, shape (n,), target's unit.
        config: Kernel, mean, noise, and how to search.
        seed: Seed of the starts after the first.
        held_out: Which rows were held out of the network's training, bool (n,); needed where
            ``config.fit_rows`` is ``held-out``.

    Raises:
        InputError: fewer than two points, latents or labels that are not finite or do not fit
            together, all labels equal, all latents equal; no row held out, or fewer than two others,
            where their likelihood is asked for.
        NumericalError: a covariance matrix that cannot be factorised.
    """
    prepare_gpus()
    start = time.perf_counter()
    latents, labels = _checked(X, y)
    likelihood = _likelihood(latents, labels, held_out, config)
    distances = np.asarray(likelihood.distances)
    apart = distances[distances > 0]
    if not apart.size:
        raise InputError(
            f"the latents of all {len(labels)} labelled points are equal; check the network that made them"
        )
    search = _Search(
        likelihood,
        config,
        seed,
        spread=float(labels.std()),
        distance=float(np.median(apart)),
        width=latents.shape[1],
    )
    search.run()
    return search.result(seconds=time.perf_counter() - start)


@dataclass
class _Search:
    """The minimisation over log amplitude, log length scale(s) and log noise; remembers everything."""

    likelihood: Likelihood | ConditionalLikelihood
    config: GpConfig
    seed: int
    spread: float
    distance: float
    width: int
    trace: list[FitStep] = field(default_factory=list)
    values: list[LikelihoodValue] = field(default_factory=list)
    objectives: list[float] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Minimise from every start; what is found lies in the trace."""
        config = self.config
        typical, bounds = self._vector(_TYPICAL), self._log_bounds()
        noise = config.noise_std or _TYPICAL[2] * self.spread
        first = (
            config.initial_amplitude,
            config.initial_length_scale / self.distance,
            noise / self.spread,
        )
        starts = [self._vector(first)]
        rng = generator(self.seed, "hyperparameter starts")
        for _ in range(config.starts - 1):
            factors = rng.uniform(-np.log(_START_FACTOR), np.log(_START_FACTOR), len(typical))
            starts.append(typical + factors)
        for initial in starts:
            if config.optimiser == "adam":
                how = {"learning_rate": config.adam_learning_rate}
                ended = minimise_adam(
                    self._objective, initial, bounds, max_evaluations=config.max_evaluations, **how
                )
            else:
                ended = minimise_lbfgs(
                    self._objective, initial, bounds, max_evaluations=config.max_evaluations
                )
            self.ended += [ended] if ended else []

    def result(self, *, seconds: float) -> FitResult:
        """The best evaluation, as hyperparameters with warnings."""
        best = int(np.argmin(self.objectives))
        step = self.trace[best]
        hyperparameters = Hyperparameters(
            kernel=self.config.kernel,
            amplitude=step.amplitude,
            length_scale=step.length_scale,
            noise_std=step.noise_std,
            mean=step.mean,
        )
        warnings = [*dict.fromkeys(self.ended), *self._at_bounds(step)]
        if self.values[best].jitter > 0:
            warnings.append(
                f"a variance of {self.values[best].jitter:.3g} was added to the diagonal of the covariance to factorise it; the fitted noise is too small for points this close"
            )
        return FitResult(
            hyperparameters, Recalibration(), tuple(self.trace), seconds, tuple(warnings)
        )

    def _objective(self, log_parameters: FloatArray) -> tuple[float, FloatArray]:
        amplitude, lengths, noise_std = self._split(np.exp(log_parameters).tolist())
        value = self.likelihood(amplitude, lengths, noise_std)
        away = log_parameters - self._vector(_TYPICAL)
        objective = value.negative_log_likelihood + 0.5 * self.config.penalty * float(away @ away)
        self.values.append(value)
        self.objectives.append(objective)
        self.trace.append(
            FitStep(
                evaluation=len(self.trace) + 1,
                negative_log_likelihood=value.negative_log_likelihood,
                amplitude=amplitude,
                length_scale=lengths,
                noise_std=noise_std,
                mean=value.mean,
            )
        )
        gradient = value.gradient[: len(log_parameters)] + self.config.penalty * away
        # A label's share, so that the thresholds mean the same for any number of labels.
        return objective / self.likelihood.n, gradient / self.likelihood.n

    def _split(self, values: Sequence[float]) -> tuple[float, float | tuple[float, ...], float]:
        """Amplitude, length scale(s) and noise out of the searched parameters."""
        rest = list(values[1:])
        noise_std = rest.pop() if self.config.noise_std is None else self.config.noise_std
        lengths = tuple(rest) if self.config.one_length_scale_a_dimension else rest[0]
        return values[0], lengths, noise_std

    def _vector(self, numbers: Sequence[float]) -> FloatArray:
        """Logarithms of amplitude, length scale(s) and noise given in typical units."""
        amplitude, length, noise = numbers
        lengths = self.width if self.config.one_length_scale_a_dimension else 1
        values = [amplitude * self.spread, *[length * self.distance] * lengths, noise * self.spread]
        return np.log(values if self.config.noise_std is None else values[:-1])

    def _log_bounds(self) -> FloatArray:
        low, high = zip(*_BOUNDS, strict=True)
        return np.stack([self._vector(low), self._vector(high)], axis=1)

    def _at_bounds(self, step: FitStep) -> list[str]:
        names = ["amplitude", "length_scale"]
        if self.config.one_length_scale_a_dimension:
            names[1:] = [f"length_scale of dimension {j}" for j in range(self.width)]
        lengths = (
            step.length_scale if isinstance(step.length_scale, tuple) else (step.length_scale,)
        )
        values = np.log([step.amplitude, *lengths, step.noise_std])
        warnings = []
        for name, value, bounds in zip(
            [*names, "noise_std"], values, self._log_bounds(), strict=False
        ):
            for bound, side in zip(bounds, ("lower", "upper"), strict=True):
                if abs(value - bound) < 1e-6:
                    warnings.append(
                        f"{name} ended at its {side} bound {np.exp(bound):.4g}: the labels do not determine it; check the latents and the target"
                    )
        return warnings


def _likelihood(
    X: FloatArray, y: FloatArray, held_out: npt.ArrayLike | None, config: GpConfig
) -> Likelihood | ConditionalLikelihood:
    constant = config.mean == "constant"
    if config.fit_rows == "labelled":
        return Likelihood(config.kernel, X, y, constant_mean=constant)
    held = np.zeros(len(y), np.bool_) if held_out is None else np.asarray(held_out, np.bool_)
    n_held = int(held.sum())
    if n_held == 0 or len(y) - n_held < 2:
        raise InputError(
            f"{n_held} of {len(y)} labelled rows were held out of the network's training; a fit on held-out"
            " rows takes at least 1 and 2 others: set gp.fit_rows to labelled, or change"
            " training.validation_fraction"
        )
    return ConditionalLikelihood(config.kernel, X, y, held, constant_mean=constant)


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
