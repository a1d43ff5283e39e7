"""A pool as a folder of latent vectors: Arrow files that are mapped into memory, and a manifest with checksums.

What lies in the folder (format "gpnet_ray latents", version 2):

- ``featurising.json``, the manifest: layer, width, network, source, every file with rows, bytes and SHA-256.
- ``latents-00000.arrow``, …: Arrow IPC files of one record batch each, with the columns ``material_id`` (string),
  ``latent`` (fixed-size list of float32) and, where a network made them, ``network_prediction`` (float64).
- ``rejected.csv``: the materials that have no latent, with reasons.

:mod:`gpnet_ray.campaign.latent_writer` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gpnet_ray.data.dataset import name_some
from gpnet_ray.data.plain_columns import refuse_objects
from gpnet_ray.data.unique_ids import repeated_ids
from gpnet_ray.errors import DataError
from gpnet_ray.progress import NullProgress, Progress
from gpnet_ray.types import LatentArray

__all__ = [
    "BUILDING",
    "DRAWN",
    "FEATURISED",
    "FORMAT",
    "MANIFEST",
    "UNKNOWN_LAYER",
    "VERSION",
    "MappedLatents",
    "PoolFile",
    "PoolFolder",
    "read_manifest",
]

FORMAT, VERSION = "gpnet_ray latents", 2
MANIFEST = "featurising.json"
BUILDING = "building.json"
"""Stands in the manifest's place while a pool is being built."""

UNKNOWN_LAYER = "unknown"
"""Stands for the layer of drawn latents where nobody has said it."""

FEATURISED, DRAWN = "featurised", "drawn"
"""The kinds: latents that a network gave crystals, or that were drawn at random and are of no crystal."""


@dataclass(frozen=True)
class PoolFile:
    """One file of a pool.

    Attributes:
        path: where it is.
        rows: how many points it holds.
        sha256: hash of its content, hexadecimal.
    """

    path: Path
    rows: int
    sha256: str


@dataclass(frozen=True)
class PoolFolder:
    """A folder of latents as a pool, of which only the manifest has been read.

    Attributes:
        path: the folder.
        files: its files, in order.
        latent_width: d.
        layer: the network's layer that the latents are of; ``UNKNOWN_LAYER`` where a drawn pool's model did not say.
        network: fingerprint of the network; ``None`` where the latents were drawn.
        kind: ``featurised`` or ``drawn``.
        n_rejected: how many materials of the source have no latent.
    """

    path: Path
    files: tuple[PoolFile, ...]
    latent_width: int
    layer: str
    network: str | None
    kind: str
    n_rejected: int

    @classmethod
    def open(cls, path: Path | str) -> PoolFolder:
        """Read the manifest, and see that the files are there.

        Raises:
            DataError: the folder holds no pool, an unfinished one or one of another version, or a file is missing
                or of another size than it had.
        """
        folder = Path(path)
        content = read_manifest(folder)
        try:
            # Only files of this folder, whatever its manifest names.
            files = tuple(
                PoolFile(folder / Path(f["name"]).name, int(f["rows"]), str(f["sha256"]))
                for f in content["shards"]
            )
            sizes = [int(f["bytes"]) for f in content["shards"]]
            pool = cls(
                path=folder,
                files=files,
                latent_width=int(content["latent_width"]),
                layer=str(content["layer"]),
                network=content["network_fingerprint"],
                kind=str(content["kind"]),
                n_rejected=int(content["n_rejected"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{folder / MANIFEST} is damaged ({error!r}); restore it from a copy, or build the pool again"
            ) from None
        for file, size in zip(files, sizes, strict=True):
            _check_size(file.path, size)
        return pool

    @property
    def n_points(self) -> int:
        """How many points the pool has."""
        return sum(file.rows for file in self.files)

    def check(self, progress: Progress | None = None) -> None:
        """Read all files and compare them with the manifest.

        Raises:
            DataError: a file is not what was written, or holds what no pool may hold; or an id occurs twice.
        """
        with (progress or NullProgress()).task(
            "Checking files", total=len(self.files), unit="files"
        ) as task:
            for file in self.files:
                _check_content(file, self.latent_width)
                task.advance()
        repeated = repeated_ids(lambda: (MappedLatents(file).id_column for file in self.files))
        if repeated:
            raise DataError(
                f"{self.path} has duplicate ids: {name_some(repeated)}; build the pool again"
            )

    def table(self) -> pa.Table:
        """All points, mapped into memory: ``material_id``, ``latent`` and, if featurised, ``network_prediction``.

        Raises:
            DataError: a file is damaged.
        """
        return pa.Table.from_batches([MappedLatents(file).batch for file in self.files])


class MappedLatents:
    """One file of a pool, mapped into memory: nothing of it is read before it is used.

    All latents are finite: what writes a pool rejects others, and :meth:`PoolFolder.check` looks for them.

    Args:
        file: Which.

    Attributes:
        batch: all columns as the file has them.
        stamp: size, times of the last changes and number of the file, in words that change whenever it is written,
            copied or moved: while they are the same, so is its content.

    Raises:
        DataError: the file is missing or damaged, or not the one that the manifest speaks of.
    """

    def __init__(self, file: PoolFile) -> None:
        self._file = file
        try:
            about = file.path.stat()
            self.stamp = f"{about.st_size} {about.st_mtime_ns} {about.st_ctime_ns} {about.st_ino}"
            self._map = pa.memory_map(str(file.path))
            reader = pa.ipc.open_file(self._map)
            refuse_objects(reader.schema)
            self.batch = _only_batch(reader)
            self.batch.validate()
            self._latents = _matrix(self.batch, file.rows)
        except (OSError, KeyError, pa.ArrowInvalid) as error:
            raise _damaged(file.path, error) from None

    def __len__(self) -> int:
        return len(self._latents)

    @property
    def latents(self) -> LatentArray:
        """Latents float32 (m, d), a read-only view on the map."""
        return self._latents

    @property
    def id_column(self) -> pa.StringArray:
        """The m ids."""
        return self.batch.column("material_id")

    def ids(self, rows: Sequence[int] | npt.NDArray[np.integer[Any]]) -> list[str]:
        """Ids of the points in some rows, in their order."""
        taken: list[str] = self.id_column.take(pa.array(rows, pa.int64())).to_pylist()
        return taken

    def check_content(self) -> None:
        """Read all of the file, and see that it is what was written.

        Raises:
            DataError: its SHA-256 is not the manifest's.
        """
        # What is hashed is what is mapped, should the file be another one by now.
        _refuse_other_content(self._file, self._map)

    def rows_of(self, ids: Sequence[str]) -> dict[str, int]:
        """In which rows some ids are; those that this file does not hold are left out."""
        # The short list is what is made into a hash table, the column is only passed through.
        wanted = pa.array(ids, pa.string())
        rows = np.flatnonzero(np.asarray(pc.is_in(self.id_column, value_set=wanted)))
        return dict(zip(self.ids(rows), rows.tolist(), strict=True))


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a pool as it stands in its folder.

    Raises:
        DataError: the folder holds no finished pool, or one of another version.
    """
    try:
        content = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError) as error:
        if (folder / BUILDING).is_file():
            raise DataError(
                f"{folder} holds a pool whose building has not ended; go on with the same command and"
                " --resume"
            ) from None
        raise DataError(
            f"{folder} holds no latents ({error}); name a folder written by 'pool build' or 'featurize'"
        ) from None
    about = content if isinstance(content, dict) else {}
    if about.get("format") != FORMAT or about.get("version") != VERSION:
        raise DataError(
            f"{folder} holds {about.get('format')!r} of version {about.get('version')!r}; this program reads"
            f" {FORMAT!r} of version {VERSION}: build the pool again (with 'pool build' or 'featurize')"
        )
    return about


def _only_batch(reader: pa.RecordBatchFileReader) -> pa.RecordBatch:
    if reader.num_record_batches != 1:
        raise pa.ArrowInvalid(f"it has {reader.num_record_batches} record batches, not 1")
    return reader.get_batch(0)


def _matrix(batch: pa.RecordBatch, rows: int) -> LatentArray:
    """The latents of a batch without a copy, after a look at the columns."""
    ids, column = batch.column("material_id"), batch.column("latent")
    kind = column.type
    if ids.type != pa.string() or not pa.types.is_fixed_size_list(kind):
        raise pa.ArrowInvalid(f"material_id is {ids.type} and latent {kind}")
    if kind.value_type != pa.float32():
        raise pa.ArrowInvalid(f"latents are {kind.value_type}, not float")
    if ids.null_count or column.null_count or column.values.null_count:
        raise pa.ArrowInvalid("there are rows without an id or a latent")
    if batch.num_rows != rows:
        raise pa.ArrowInvalid(f"it has {batch.num_rows} rows, not {rows}")
    flat: LatentArray = column.flatten().to_numpy(zero_copy_only=True)
    return flat.reshape(rows, kind.list_size)


def _check_size(path: Path, size: int) -> None:
    try:
        found = path.stat().st_size
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing; restore it from a copy, or build the pool again"
        ) from None
    if found != size:
        raise DataError(
            f"{path} has {found} bytes where {size} were written; restore it from a copy, or build the pool"
            " again"
        )


def _refuse_other_content(file: PoolFile, content: pa.MemoryMappedFile) -> None:
    content.seek(0)
    if sha256(content.read_buffer()).hexdigest() != file.sha256:
        raise DataError(
            f"{file.path} is not what was written (its checksum is not the manifest's); restore it from a copy, or"
            " build the pool again ('gpnet-ray pool check' says when all is well)"
        )


def _check_content(file: PoolFile, width: int) -> None:
    _refuse_other_content(file, pa.memory_map(str(file.path)))
    mapped = MappedLatents(file)
    if mapped.latents.shape[1] != width:
        raise _damaged(file.path, f"latents of width {mapped.latents.shape[1]}, not {width}")
    if not np.isfinite(mapped.latents).all():
        raise _damaged(file.path, "a latent is NaN or infinite")


def _damaged(path: Path, why: object) -> DataError:
    return DataError(f"{path} is damaged ({why}); restore it from a copy, or build the pool again")
