"""Settings of the Gaussian process: the section ``gp`` of the configuration."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from pydantic import field_validator

from gpnet_ray.config_section import Count, NotNegative, Positive, Section

__all__ = [
    "KERNELS",
    "LATENT_PROJECTIONS",
    "LATENT_SCALINGS",
    "RECALIBRATIONS",
    "GpConfig",
    "Kernel",
    "LatentProjection",
    "LatentScaling",
    "RecalibrationMethod",
]

Kernel: TypeAlias = Literal[
    "laplacian", "laplacian-l1", "matern32", "matern52", "rbf", "rational-quadratic"
]
LatentScaling: TypeAlias = Literal["min-max", "standard", "none"]
LatentProjection: TypeAlias = Literal["none", "pca-2", "pca-3"]
RecalibrationMethod: TypeAlias = Literal["none", "variance", "student-t", "isotonic", "conformal"]

KERNELS: tuple[Kernel, ...] = (
    "laplacian",
    "laplacian-l1",
    "matern32",
    "matern52",
    "rbf",
    "rational-quadratic",
)
LATENT_SCALINGS: tuple[LatentScaling, ...] = ("min-max", "standard", "none")
LATENT_PROJECTIONS: tuple[LatentProjection, ...] = ("none", "pca-2", "pca-3")
RECALIBRATIONS: tuple[RecalibrationMethod, ...] = (
    "none",
    "variance",
    "student-t",
    "isotonic",
    "conformal",
)


class GpConfig(Section):
    """The Gaussian process on the latent vectors."""

    kernel: Kernel = "laplacian"
    mean: Literal["constant", "zero"] = "constant"
    latent_scaling: LatentScaling = "min-max"
    latent_projection: LatentProjection = "none"
    """Principal components that the scaled latents are reduced to; fitted on the labelled rows alone."""
    noise_std: Positive | None = None
    """Observation noise (target's unit); ``null``: fitted with the other hyperparameters."""
    initial_amplitude: Positive = 1.0
    """Where the optimiser starts, in standard deviations of the train targets."""
    initial_length_scale: Positive = 1.0
    """Where the optimiser starts, in units of the scaled latent space."""
    max_evaluations: Count = 100
    """Largest number of evaluations of the likelihood and its gradient, from each start."""
    optimiser: Literal["l-bfgs", "adam"] = "l-bfgs"
    """``adam`` takes ``max_evaluations`` steps, as the paper does, in the logarithms of the parameters."""
    adam_learning_rate: Positive = 0.01
    starts: Count = 1
    """Searches, the first from the initial values and the others from seeded points; the best wins."""
    penalty: NotNegative = 0.0
    """Weight λ of λ/2 · Σ (log θ − log θ₀)², added to the negative log likelihood; θ₀ are the labels'
    standard deviation, the median distance, and a tenth of the deviation for the noise. It keeps
    parameters that few labels do not determine from running away."""
    one_length_scale_a_dimension: bool = False
    """Whether every latent dimension has its own length scale (automatic relevance determination)."""
    fit_rows: Literal["labelled", "held-out"] = "labelled"
    """Whose likelihood the hyperparameters maximise: that of all labelled rows, or that of the rows held out of
    the network's training given the other labelled ones."""
    recalibration: RecalibrationMethod = "student-t"
    """How σ is made honest on the rows held out of the network's training: amplitude and noise are
    multiplied by one number (a given ``noise_std`` too), which changes no mean and no order of σ."""
    columns_dtype: Literal["float64", "float32"] = "float64"
    """Of what the shards keep of the pool: ``float32`` halves the memory and speeds up the scoring, at
    the price of variances that are wrong by about 1e-6 of the prior's, so that picks differ in the end.
    Refused where that would decide who is picked: smooth kernels, hardly any noise. May change with ``--resume``."""

    @field_validator("latent_projection", mode="before")
    @classmethod
    def _can_transform_new_points(cls, value: object) -> object:
        if isinstance(value, str) and re.fullmatch(r"t-?sne.*", value.lower()):
            raise ValueError(
                "t-SNE places only the points that it was fitted on and cannot transform new ones, so no"
                " Gaussian process can predict there: it is for pictures. Valid here: "
                + ", ".join(LATENT_PROJECTIONS)
            )
        return value
