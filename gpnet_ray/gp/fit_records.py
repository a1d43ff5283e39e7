"""What a fit answers: no TensorFlow, so that a driver can read it."""

from __future__ import annotations

from dataclasses import dataclass

from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.recalibration import Recalibration

__all__ = ["FitResult", "FitStep"]


@dataclass(frozen=True)
class FitStep:
    """One evaluation of the likelihood and its gradient.

    Attributes:
        evaluation: Its number, from 1.
        negative_log_likelihood: Of all n labels, or of the held-out ones given the others
            (``gp.fit_rows``), without a penalty.
        amplitude: Target's unit.
        length_scale: In units of the scaled latent space; one, or one a dimension.
        noise_std: Target's unit.
        mean: Target's unit.
    """

    evaluation: int
    negative_log_likelihood: float
    amplitude: float
    length_scale: float | tuple[float, ...]
    noise_std: float
    mean: float


@dataclass(frozen=True)
class FitResult:
    """The fitted hyperparameters and how they were found.

    Attributes:
        hyperparameters: Those of the smallest negative log likelihood (with penalty) seen; amplitude and
            noise multiplied by ``recalibration.scale``.
        recalibration: What was found on the held-out rows.
        trace: Every evaluation, in order, before the recalibration.
        seconds: Wall time.
        warnings: What a user should know: a parameter at a bound, jitter, a search cut short.
    """

    hyperparameters: Hyperparameters
    recalibration: Recalibration
    trace: tuple[FitStep, ...]
    seconds: float
    warnings: tuple[str, ...]
