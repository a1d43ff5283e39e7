"""The numbers that a fitted Gaussian process consists of beside its data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from gpnet_ray.errors import InputError, nearest_name_hint
from gpnet_ray.gp.settings import KERNELS

__all__ = ["Hyperparameters"]


@dataclass(frozen=True)
class Hyperparameters:
    """Kernel, its parameters, the noise and the mean of a Gaussian process.

    Attributes:
        kernel: Name of the kernel, one of ``gpnet_ray.gp.settings.KERNELS``.
        amplitude: Prior standard deviation, target's unit; k(x, x) = amplitude².
        length_scale: In units of the scaled latent space; one number, or one a dimension.
        noise_std: Standard deviation of the observation noise, target's unit.
        mean: Constant mean, target's unit.
    """

    kernel: str
    amplitude: float
    length_scale: float | tuple[float, ...]
    noise_std: float
    mean: float

    def __post_init__(self) -> None:
        """Validate once.

        Raises:
            InputError: unknown kernel, or a number outside its range (with the value).
        """
        if self.kernel not in KERNELS:
            raise InputError(
                f"unknown kernel {self.kernel!r}: {nearest_name_hint(self.kernel, KERNELS)}"
            )
        # Whole numbers would make integer arrays, which no variance can be subtracted from.
        for name in ("amplitude", "noise_std", "mean"):
            object.__setattr__(self, name, float(getattr(self, name)))
        length = self.length_scale
        length = tuple(map(float, length)) if isinstance(length, (tuple, list)) else float(length)
        object.__setattr__(self, "length_scale", length)
        lengths = self.lengths
        if not lengths or not all(math.isfinite(v) and v > 0 for v in (self.amplitude, *lengths)):
            raise InputError(
                f"amplitude {self.amplitude} and length scale {self.length_scale} have to be positive and finite; fit them again"
            )
        if not (math.isfinite(self.noise_std) and self.noise_std >= 0):
            raise InputError(f"noise_std {self.noise_std} has to be finite and not negative")
        if not math.isfinite(self.mean):
            raise InputError(f"mean {self.mean} has to be finite")

    @property
    def lengths(self) -> tuple[float, ...]:
        """The length scale as a tuple: of one number, or of one a latent dimension."""
        return self.length_scale if isinstance(self.length_scale, tuple) else (self.length_scale,)

    def with_sigma_times(self, factor: float) -> Hyperparameters:
        """The process whose every σ is ``factor`` times as large, and whose means are the same."""
        amplitude, noise_std = self.amplitude * factor, self.noise_std * factor
        return replace(self, amplitude=amplitude, noise_std=noise_std)

    def to_json(self) -> dict[str, Any]:
        """Return a dict of JSON types."""
        content = asdict(self)
        if isinstance(self.length_scale, tuple):
            content["length_scale"] = list(self.length_scale)
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Hyperparameters:
        """Rebuild from :meth:`to_json`'s dict.

        Raises:
            InputError: a missing entry, or one out of range.
        """
        try:
            return cls(
                kernel=str(content["kernel"]),
                amplitude=content["amplitude"],
                length_scale=content["length_scale"],
                noise_std=content["noise_std"],
                mean=content["mean"],
            )
        except KeyError as error:
            raise InputError(
                f"the hyperparameters lack {error}; write them with to_json()"
            ) from None
