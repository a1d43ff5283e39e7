"""Latent vectors drawn at random from a mixture of Gaussians that was fitted to real ones.

They try selection on pools of any size without featurising; none of them belongs to a crystal.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gpnet_ray.data.plain_columns import refuse_objects
from gpnet_ray.data.pool_folder import MappedLatents, PoolFolder
from gpnet_ray.errors import DataError, nearest_name_hint
from gpnet_ray.seeds import derive_seed, generator
from gpnet_ray.types import FloatArray, LatentArray

__all__ = ["COMPONENTS", "LatentMixture", "LatentSample", "read_sample"]

COMPONENTS = 32
REGULARISATION = 1e-5
"""Added to the diagonals of the covariances, in the unit of the latents squared."""

FEWEST_ROWS = 10 * COMPONENTS
MOST_ROWS = 20_000
"""Of more latents that many, chosen at random, are fitted: more say no more about 32 components."""

ROWS_AT_ONCE = 8192
"""So many of a Parquet file are Python's at once."""

COLUMN = "latent"


@dataclass(frozen=True, eq=False)
class LatentSample:
    """Real latents to fit to.

    Attributes:
        latents: float32 (m, d), finite; :data:`MOST_ROWS` of them, chosen at random, where there are more.
        fingerprint: hash of the values of all.
        layer: the layer that they are of, where the file says so.
    """

    latents: LatentArray
    fingerprint: str
    layer: str | None


@dataclass(frozen=True, eq=False)
class LatentMixture:
    """A mixture of k Gaussians in d dimensions.

    Attributes:
        weights: float64 (k,), sum to 1.
        means: float64 (k, d).
        factors: float64 (k, d, d), lower Cholesky factors of the covariances.
        n_rows: how many latents it was fitted to.
        converged: whether the fit's likelihood had come to rest.
    """

    weights: FloatArray
    means: FloatArray
    factors: FloatArray
    n_rows: int
    converged: bool

    @classmethod
    def fit(cls, latents: LatentArray, *, seed: int) -> LatentMixture:
        """Fit by expectation maximisation (scikit-learn), with full covariances.

        Args:
            latents: float32 (n, d).
            seed: Of the start.

        Raises:
            DataError: too few latents.
        """
        if len(latents) < FEWEST_ROWS:
            raise DataError(
                f"{len(latents)} latents are too few to fit {COMPONENTS} components to; give at least"
                f" {FEWEST_ROWS}"
            )
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        model = GaussianMixture(
            COMPONENTS,
            covariance_type="full",
            reg_covar=REGULARISATION,
            random_state=derive_seed(seed, "latent mixture"),
        )
        with _one_thread(), warnings.catch_warnings():
            # ``converged`` says it, and with it the manifest.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(latents.astype(np.float64))
        return cls(
            weights=model.weights_,
            means=model.means_,
            factors=np.linalg.cholesky(model.covariances_),
            n_rows=len(latents),
            converged=bool(model.converged_),
        )

    @property
    def fingerprint(self) -> str:
        """Hash of all its numbers."""
        digest = sha256()
        for array in (self.weights, self.means, self.factors):
            digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
        return digest.hexdigest()

    def draw(self, n: int, *, seed: int, stream: int) -> LatentArray:
        """Draw n latents, float32 (n, d).

        Args:
            n: How many.
            seed: Of all that is drawn.
            stream: Number of an independent stream of that seed.
        """
        rng = np.random.default_rng([derive_seed(seed, "drawn latents"), stream])
        # The weights sum to 1 but for rounding, which NumPy does not take.
        component = rng.choice(len(self.weights), size=n, p=self.weights / self.weights.sum())
        drawn = rng.standard_normal((n, self.means.shape[1]))
        with _one_thread():
            for k in range(len(self.weights)):
                rows = component == k
                drawn[rows] = drawn[rows] @ self.factors[k].T + self.means[k]
        return drawn.astype(np.float32)


def read_sample(path: Path, *, seed: int) -> LatentSample:
    """Read real latents from a Parquet file with a column ``latent``, or from a pool's folder, part by part.

    Args:
        path: Where they are; as many as there may be: no more than :data:`MOST_ROWS` are held at once, and one part.
        seed: Of which rows are kept where there are more.

    Raises:
        DataError: there are none, they are of different lengths or not finite.
    """
    if path.is_dir():
        pool = PoolFolder.open(path)
        mapped = (MappedLatents(file).latents for file in pool.files)
        return _sampled(path, mapped, pool.n_points, seed=seed, layer=pool.layer)
    with _opened(path) as file:
        batches = file.iter_batches(batch_size=ROWS_AT_ONCE, columns=[COLUMN])
        read = (_matrix(path, batch.column(COLUMN)) for batch in batches)
        return _sampled(path, read, file.metadata.num_rows, seed=seed, layer=None)


def _sampled(
    path: Path, parts: Iterable[LatentArray], n: int, *, seed: int, layer: str | None
) -> LatentSample:
    """Go over n latents once: hash all, keep some."""
    rows = np.arange(n)
    if n > MOST_ROWS:
        chosen = generator(seed, "rows of the latent mixture").choice(n, MOST_ROWS, replace=False)
        rows = np.sort(chosen)
    digest, kept, start, width = sha256(), [], 0, None
    for part in parts:
        width = part.shape[1] if width is None else width
        if part.shape[1] != width:
            raise DataError(
                f"{path}: the column {COLUMN!r} does not hold vectors of one length: {width} and"
                f" {part.shape[1]}"
            )
        if not np.isfinite(part).all():
            raise _not_finite(path)
        digest.update(np.ascontiguousarray(part, dtype="<f4").reshape(-1).data)
        end = start + len(part)
        here = rows[np.searchsorted(rows, start) : np.searchsorted(rows, end)]
        kept.append(part[here - start])
        start = end
    if not kept:
        raise DataError(f"{path} has no rows; name latents of at least {FEWEST_ROWS} materials")
    digest.update(str((n, width)).encode())
    return LatentSample(np.concatenate(kept), digest.hexdigest(), layer)


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            refuse_objects(file.schema_arrow)
            names = file.schema_arrow.names
            if COLUMN not in names:
                raise DataError(
                    f"{path} has no column {COLUMN!r}: {nearest_name_hint(COLUMN, names)}"
                )
            yield file
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(
            f"{path} holds no latents that can be read ({error}); name a Parquet file with a column"
            f" {COLUMN!r}, or a folder written by 'pool build' or 'featurize'"
        ) from None


def _matrix(path: Path, column: pa.Array) -> LatentArray:
    """Lists of any kind as float32 (m, d)."""
    try:
        latents: LatentArray = np.stack(column.to_numpy(zero_copy_only=False)).astype(np.float32)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{path}: the column {COLUMN!r} does not hold vectors of one length ({error})"
        ) from None
    if latents.ndim != 2:
        raise _not_finite(path)
    return latents


def _not_finite(path: Path) -> DataError:
    return DataError(f"{path}: the column {COLUMN!r} does not hold vectors of finite numbers")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums in one order, so that the same latents give the same numbers."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield
