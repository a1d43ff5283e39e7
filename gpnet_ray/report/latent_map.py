"""A plane map of the latent space by t-SNE, worked out once a run and kept beside its figures."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpnet_ray.errors import RunFolderError
from gpnet_ray.gp.scaling import LatentScaler
from gpnet_ray.latent_columns import latent_matrix
from gpnet_ray.seeds import derive_seed, generator
from gpnet_ray.types import FloatArray

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MAP_FILE", "MOST_POINTS", "LatentMap", "read_or_make_latent_map"]

MAP_FILE = "latent_map.parquet"
MOST_POINTS = 5000
"""t-SNE of more takes longer than a report should: 15 s for these on one core."""

PERPLEXITY = 30.0
ITERATIONS = 500
FEWEST_POINTS = 10
"""Of fewer points there is nothing to map."""


@dataclass(frozen=True)
class LatentMap:
    """Where materials lie on the map; neighbours are similar for the network, distances mean little else.

    Attributes:
        ids: Id of every point, m of them.
        x: Horizontal place, float64 ``(m,)``, without unit.
        y: Vertical place, float64 ``(m,)``, without unit.
        n_materials: How many materials the run has; with more than m, the points were drawn at random.
    """

    ids: tuple[str, ...]
    x: FloatArray
    y: FloatArray
    n_materials: int

    def note(self) -> str:
        """Say how the map was made and of how many materials, for its caption."""
        shown = f"{len(self.ids):,}"
        which = (
            f"all {shown} materials"
            if len(self.ids) == self.n_materials
            else f"{shown} of the {self.n_materials:,} materials, drawn at random"
        )
        return (
            f"t-SNE (perplexity {PERPLEXITY:g}) of the scaled latents of the network that all arms start"
            f" from, {which}; near means alike, directions and far distances mean nothing."
        )


def read_or_make_latent_map(
    run_dir: Path, folder: Path, *, gp: Mapping[str, Any], seed: int
) -> LatentMap | None:
    """Return the map of a run's latents, from ``folder`` where it has been made already.

    t-SNE (van der Maaten & Hinton, J. Mach. Learn. Res. 9, 2579 (2008)) by scikit-learn, started from the
    principal components, on one thread: the same latents and seed give the same map on the same machine.

    Args:
        run_dir: The run folder, with ``latents.parquet``.
        folder: Where ``latent_map.parquet`` lies or is written.
        gp: Content of ``gp.json``, whose scaler brings the latents to where the GP measures distances.
        seed: The run's seed.

    Returns:
        The map; ``None`` where the run has not made its latents or its GP yet, or has hardly any material.

    Raises:
        RunFolderError: one of the files is there and cannot be used.
    """
    path = run_dir / "latents.parquet"
    if "scaler" not in gp or not path.is_file():
        return None
    table = _read(path, ("material_id", "latent"))
    if len(table) < FEWEST_POINTS:
        return None
    rows = _drawn_rows(len(table), seed)
    ids = tuple(np.array(table.column("material_id").to_pylist(), dtype=object)[rows])
    scaler = LatentScaler.from_json(gp["scaler"])
    latents = scaler.transform(latent_matrix(table.column("latent"))[rows])
    made_of = _fingerprint(ids, latents, seed)
    kept = folder / MAP_FILE
    if not _is_made_of(kept, made_of):
        _write(kept, ids, _tsne(latents, seed), made_of)
    # What is read is what is drawn, whether it was made now or earlier.
    places = _read(kept, ("x", "y"))
    x, y = (np.array(places.column(name).to_pylist(), dtype=np.float64) for name in ("x", "y"))
    return LatentMap(ids=ids, x=x, y=y, n_materials=len(table))


def _drawn_rows(n: int, seed: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    if n <= MOST_POINTS:
        return np.arange(n)
    chosen = generator(seed, "latent map sample").choice(n, MOST_POINTS, replace=False)
    return np.sort(chosen)


def _tsne(latents: FloatArray, seed: int) -> FloatArray:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    # More threads add in another order, which t-SNE blows up into another map; on a machine that
    # others use too they wait for each other longer than they save.
    with threadpool_limits(limits=1):
        model = TSNE(
            perplexity=min(PERPLEXITY, (len(latents) - 1) / 3),
            init="pca",
            max_iter=ITERATIONS,
            random_state=derive_seed(seed, "latent map"),
        )
        return np.asarray(model.fit_transform(latents), dtype=np.float64)


def _fingerprint(ids: tuple[str, ...], latents: FloatArray, seed: int) -> bytes:
    digest = hashlib.sha256("\n".join(ids).encode())
    digest.update(np.ascontiguousarray(latents).tobytes())
    digest.update(f"{PERPLEXITY} {ITERATIONS} {seed}".encode())
    return digest.hexdigest().encode()


def _is_made_of(path: Path, made_of: bytes) -> bool:
    if not path.is_file():
        return False
    metadata = _read(path, ("material_id", "x", "y")).schema.metadata or {}
    return metadata.get(b"made_of") == made_of


def _read(path: Path, columns: tuple[str, ...]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path).read().select(columns)
    except (pa.ArrowInvalid, OSError, KeyError) as error:
        raise RunFolderError(
            f"{path} cannot be used ({error}); remove it, and what made it makes it again"
            " (`gpnet-ray run --resume`, or `gpnet-ray report` for what lies in report/)"
        ) from error


def _write(path: Path, ids: tuple[str, ...], places: FloatArray, made_of: bytes) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"material_id": list(ids), "x": places[:, 0], "y": places[:, 1]}
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    pq.write_table(pa.table(columns).replace_schema_metadata({b"made_of": made_of}), draft)
    draft.replace(path)
