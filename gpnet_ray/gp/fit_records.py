"""How a fit is asked for and what it answers: no TensorFlow, so that a driver can read it."""

from __future__ import annotations

from dataclasses import dataclass

from gpnet_ray.errors import InputError
from gpnet_ray.gp.hyperparameters import Hyperparameters

__all__ = ["FitResult", "FitStep", "SearchOptions"]


@dataclass(frozen=True)
class SearchOptions:
    """How hyperparameters are searched for, beside what :class:`GpConfig` says.

    Attributes:
        one_length_scale_a_dimension: Whether every latent dimension has its own (automatic
            relevance determination) instead of all the same.
        starts: Number of searches, the first from where the configuration says and the others from
            points drawn by ``seed``; the best wins.
        seed: Seed of the further starts.
        penalty: Weight λ of λ/2 · Σ (log θ − log θ₀)², added to the negative log likelihood; θ₀ are
            the labels' standard deviation, the median distance, and a tenth of the deviation for
            the noise. It keeps parameters that few labels do not determine from running away.
        optimiser: ``l-bfgs``, or ``adam`` with ``max_evaluations`` steps, as the paper has it.
        adam_learning_rate: Of ``adam``, in the logarithms of the parameters.
    """

    one_length_scale_a_dimension: bool = False
    starts: int = 1
    seed: int = 0
    penalty: float = 0.0
    optimiser: str = "l-bfgs"
    adam_learning_rate: float = 0.01

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InputError: an unknown optimiser, or a number out of range.
        """
        if self.optimiser not in ("l-bfgs", "adam"):
            raise InputError(f"unknown optimiser {self.optimiser!r}. Valid: l-bfgs, adam")
        if self.starts < 1 or not self.penalty >= 0 or not self.adam_learning_rate > 0:
            raise InputError(
                f"{self.starts} starts, penalty {self.penalty}, learning rate {self.adam_learning_rate}: "
                "at least 1 start, no negative penalty and a positive rate are needed"
            )


@dataclass(frozen=True)
class FitStep:
    """One evaluation of the likelihood and its gradient.

    Attributes:
        evaluation: Its number, from 1.
        negative_log_likelihood: Of all n labels, without a penalty.
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
        hyperparameters: Those of the smallest negative log likelihood (with penalty) seen.
        trace: Every evaluation, in order.
        seconds: Wall time.
        warnings: What a user should know: a parameter at a bound, jitter, a search cut short.
    """

    hyperparameters: Hyperparameters
    trace: tuple[FitStep, ...]
    seconds: float
    warnings: tuple[str, ...]
