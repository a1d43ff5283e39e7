"""Latent vectors brought to comparable ranges, fitted on the train rows alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gpnet_ray.config import LATENT_SCALINGS
from gpnet_ray.errors import InputError, nearest_name_hint
from gpnet_ray.types import FloatArray

__all__ = ["LatentScaler", "finite_latents"]


def finite_latents(
    latents: npt.ArrayLike, *, width: int | None = None, what: str = "latents"
) -> FloatArray:
    """Return latent vectors as float64 of shape (n, d), or say why they cannot be used.

    Args:
        latents: Anything of shape (n, d).
        width: The d that is needed, where it is known.
        what: What the error calls them.

    Raises:
        InputError: not two-dimensional, another width, NaN or infinite entries (names the first row).
    """
    X = np.asarray(latents, dtype=np.float64)
    if X.ndim != 2:
        raise InputError(f"{what} have shape {X.shape}; a table (points, latent width) is needed")
    if width is not None and X.shape[1] != width:
        raise InputError(
            f"{what} are {X.shape[1]} wide, expected {width}; use latents of the layer and network that the GP was fitted on"
        )
    if X.shape[1] == 0:
        raise InputError(f"{what} have no columns; at least one latent dimension is needed")
    bad = np.flatnonzero(~np.isfinite(X).all(axis=1))
    if bad.size:
        raise InputError(
            f"{what} hold NaN or infinite values in {bad.size} of {len(X)} rows (first: row {bad[0]}); "
            "the network diverged or the file is damaged: retrain it or leave these materials out"
        )
    return X


@dataclass(frozen=True)
class LatentScaler:
    """An affine map of every latent dimension, x ↦ (x − offset) / scale.

    Attributes:
        how: ``min-max``, ``standard`` or ``none``.
        offset: What is subtracted, one number a dimension.
        scale: What is divided by, one number a dimension; 1 where a dimension never varies on the
            train rows, which would otherwise be divided by zero.
    """

    how: str
    offset: tuple[float, ...]
    scale: tuple[float, ...]

    @classmethod
    def fit(cls, latents_train: npt.ArrayLike, how: str) -> LatentScaler:
        """Fit the map on the latents of the train rows, shape (n, d).

        Raises:
            InputError: unknown ``how``, no rows, or latents that are not finite.
        """
        if how not in LATENT_SCALINGS:
            raise InputError(
                f"unknown latent scaling {how!r}: {nearest_name_hint(how, LATENT_SCALINGS)}"
            )
        X = finite_latents(latents_train, what="train latents")
        if len(X) == 0:
            raise InputError("there are no train latents to fit a scaling on; label some materials")
        offset, scale = np.zeros(X.shape[1]), np.ones(X.shape[1])
        if how == "min-max":
            offset, scale = X.min(axis=0), np.ptp(X, axis=0)
        elif how == "standard":
            offset, scale = X.mean(axis=0), X.std(axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        return cls(how=how, offset=tuple(offset.tolist()), scale=tuple(scale.tolist()))

    def transform(self, latents: npt.ArrayLike) -> FloatArray:
        """Scale latents of shape (n, d); float64 comes back.

        Raises:
            InputError: latents of another width, or NaN or infinite entries.
        """
        X = finite_latents(latents, width=len(self.offset))
        offset, scale = np.array(self.offset, np.float64), np.array(self.scale, np.float64)
        return np.asarray((X - offset) / scale)

    def to_json(self) -> dict[str, Any]:
        """Return a dict of JSON types."""
        return {"how": self.how, "offset": list(self.offset), "scale": list(self.scale)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> LatentScaler:
        """Rebuild from :meth:`to_json`'s dict.

        Raises:
            InputError: a missing entry.
        """
        try:
            return cls(
                how=str(content["how"]),
                offset=tuple(float(v) for v in content["offset"]),
                scale=tuple(float(v) for v in content["scale"]),
            )
        except KeyError as error:
            raise InputError(f"the latent scaler lacks {error}; write it with to_json()") from None
