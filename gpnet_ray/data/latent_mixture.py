"""Latent vectors drawn at random from a mixture of Gaussians that was fitted to real ones.

They try selection on pools of any size without featurising; none of them belongs to a crystal.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gpnet_ray.data.plain_columns import refuse_objects
from gpnet_ray.data.pool_folder import PoolFolder
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

COLUMN = "latent"


@dataclass(frozen=True, eq=False)
class LatentSample:
    """Real latents to fit to.

    Attributes:
        latents: float32 (n, d), finite.
        fingerprint: hash of their values.
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
            seed: Of the start, and of which rows are fitted where there are very many.

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

        if len(latents) > MOST_ROWS:
            rows = generator(seed, "rows of the latent mixture").choice(
                len(latents), MOST_ROWS, replace=False
            )
            latents = latents[np.sort(rows)]
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


def read_sample(path: Path) -> LatentSample:
    """Read real latents from a Parquet file with a column ``latent``, or from a pool's folder.

    Raises:
        DataError: there are none, they are of different lengths or not finite.
    """
    if path.is_dir():
        pool = PoolFolder.open(path)
        column, layer = pool.table().column(COLUMN), pool.layer
    else:
        column, layer = _parquet_column(path), None
    try:
        rows = column.combine_chunks().to_numpy(zero_copy_only=False)
        latents = np.stack(rows).astype(np.float32)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{path}: the column {COLUMN!r} does not hold vectors of one length ({error})"
        ) from None
    if latents.ndim != 2 or not np.isfinite(latents).all():
        raise DataError(f"{path}: the column {COLUMN!r} does not hold vectors of finite numbers")
    digest = sha256(np.ascontiguousarray(latents, dtype="<f4").tobytes())
    digest.update(str(latents.shape).encode())
    return LatentSample(latents, digest.hexdigest(), layer)


def _parquet_column(path: Path) -> pa.ChunkedArray:
    try:
        with pq.ParquetFile(path) as file:
            refuse_objects(file.schema_arrow)
            names = file.schema_arrow.names
            if COLUMN not in names:
                raise DataError(
                    f"{path} has no column {COLUMN!r}: {nearest_name_hint(COLUMN, names)}"
                )
            return file.read(columns=[COLUMN]).column(COLUMN)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(
            f"{path} holds no latents that can be read ({error}); name a Parquet file with a column"
            f" {COLUMN!r}, or a folder written by 'pool build' or 'featurize'"
        ) from None


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums in one order, so that the same latents give the same numbers."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield
