"""Latent vectors brought to comparable ranges and, on wish, to few dimensions; fitted on train rows alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gpnet_ray.errors import InputError, nearest_name_hint
from gpnet_ray.gp.settings import LATENT_PROJECTIONS, LATENT_SCALINGS
from gpnet_ray.types import FloatArray

__all__ = ["LatentScaler", "check_projection", "finite_latents"]


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
    """An affine map of latents, x ↦ A (x − offset) / scale; A is the identity or projects on k axes.

    Attributes:
        how: ``min-max``, ``standard`` or ``none``.
        projection: ``none``, ``pca-2`` or ``pca-3``.
        offset: What is subtracted, d numbers; with a projection the train rows' mean.
        scale: What is divided by, d numbers; 1 where a dimension never varies on the train rows, which would
            otherwise be divided by zero.
        axes: k orthonormal rows of d numbers, the principal axes of the scaled train rows in the order of
            falling variance; ``None`` without a projection.
    """

    how: str
    projection: str
    offset: tuple[float, ...]
    scale: tuple[float, ...]
    axes: tuple[tuple[float, ...], ...] | None

    @classmethod
    def fit(
        cls, latents_train: npt.ArrayLike, how: str, *, projection: str = "none"
    ) -> LatentScaler:
        """Fit the map on the latents of the train rows, shape (n, d).

        Args:
            latents_train: Of the labelled rows alone: what they are scaled by must not know the test rows.
            how: Scaling, done first.
            projection: Principal components of the scaled latents (Pearson 1901), by scikit-learn.

        Raises:
            InputError: unknown ``how`` or ``projection``, no rows, fewer rows or dimensions than
                ``projection`` has, or latents that are not finite.
        """
        _check_known("latent scaling", how, LATENT_SCALINGS)
        _check_known("latent projection", projection, LATENT_PROJECTIONS)
        X = finite_latents(latents_train, what="train latents")
        if len(X) == 0:
            raise InputError("there are no train latents to fit a scaling on; label some materials")
        offset, scale = np.zeros(X.shape[1]), np.ones(X.shape[1])
        if how == "min-max":
            offset, scale = X.min(axis=0), np.ptp(X, axis=0)
        elif how == "standard":
            offset, scale = X.mean(axis=0), X.std(axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        axes = None
        if projection != "none":
            center, components = _principal_axes((X - offset) / scale, projection)
            offset = offset + scale * center
            axes = tuple(tuple(row) for row in components.tolist())
        return cls(
            how=how,
            projection=projection,
            offset=tuple(offset.tolist()),
            scale=tuple(scale.tolist()),
            axes=axes,
        )

    def transform(self, latents: npt.ArrayLike) -> FloatArray:
        """Map latents of shape (n, d) to float64 (n, d), or to (n, k) with a projection.

        Raises:
            InputError: latents of another width, or NaN or infinite entries.
        """
        X = finite_latents(latents, width=len(self.offset))
        offset, scale = np.array(self.offset, np.float64), np.array(self.scale, np.float64)
        scaled = np.asarray((X - offset) / scale)
        if self.axes is None:
            return scaled
        # No BLAS: a row has the same bits in every company, so picks do not depend on the shards.
        axes = np.array(self.axes, np.float64)
        return np.asarray(np.einsum("nd,kd->nk", scaled, axes, optimize=False))

    def to_json(self) -> dict[str, Any]:
        """Return a dict of JSON types."""
        return {
            "how": self.how,
            "projection": self.projection,
            "offset": list(self.offset),
            "scale": list(self.scale),
            "axes": None if self.axes is None else [list(row) for row in self.axes],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> LatentScaler:
        """Rebuild from :meth:`to_json`'s dict.

        Raises:
            InputError: a missing entry.
        """
        try:
            axes = content["axes"]
            return cls(
                how=str(content["how"]),
                projection=str(content["projection"]),
                offset=tuple(float(v) for v in content["offset"]),
                scale=tuple(float(v) for v in content["scale"]),
                axes=None if axes is None else tuple(tuple(float(v) for v in row) for row in axes),
            )
        except KeyError as error:
            raise InputError(f"the latent scaler lacks {error}; write it with to_json()") from None


def _principal_axes(scaled: FloatArray, projection: str) -> tuple[FloatArray, FloatArray]:
    """Mean (d,) and axes (k, d) of the rows' principal components."""
    # scikit-learn takes a second to import, and most runs project nothing.
    from sklearn.decomposition import PCA

    check_projection(projection, *scaled.shape)
    # The exact decomposition: the same axes on every run.
    pca = PCA(n_components=_n_axes(projection), svd_solver="full").fit(scaled)
    return np.asarray(pca.mean_), np.asarray(pca.components_)


def check_projection(projection: str, n_rows: int, width: int) -> None:
    """Refuse a projection of so many train rows of so many latent dimensions onto more axes than there are.

    Raises:
        InputError: fewer rows or dimensions than ``projection`` has.
    """
    k = 0 if projection == "none" else _n_axes(projection)
    if min(n_rows, width) < k:
        raise InputError(
            f"{projection} needs {k} train rows and latent dimensions or more; there are {n_rows} rows of {width}: "
            "label more materials, take a wider layer, or set gp.latent_projection to none"
        )


def _n_axes(projection: str) -> int:
    return int(projection.removeprefix("pca-"))


def _check_known(what: str, name: str, valid: Sequence[str]) -> None:
    if name not in valid:
        raise InputError(f"unknown {what} {name!r}: {nearest_name_hint(name, valid)}")
