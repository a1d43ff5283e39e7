"""Files of a pool that are on the disk with their checksums as soon as they are full.

What was interrupted goes on after the last file that was finished. The format, and how it is read, is in
:mod:`gpnet_ray.data.pool_folder`.
"""

from __future__ import annotations

import csv
import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gpnet_ray.campaign.rejected import REJECTED_COLUMNS, none_usable, rejected_csv
from gpnet_ray.data.dataset import RejectedMaterial
from gpnet_ray.data.pool_folder import BUILDING, FORMAT, MANIFEST, VERSION
from gpnet_ray.errors import DataError, RunFolderError
from gpnet_ray.latent_columns import NOT_FINITE, latent_matrix
from gpnet_ray.types import BoolArray

__all__ = [
    "REJECTED",
    "ROWS_PER_FILE",
    "LatentWriter",
    "PoolPart",
    "discard_notes",
    "pool_parts",
    "refuse_another",
]

REJECTED = "rejected.csv"
LOCK = ".building.lock"
NAMES = ("source", "note")
ROWS_PER_FILE = 65_536
COLUMNS = ["material_id", "latent", "network_prediction"]
# What id_text takes away at the ends of an id, and nothing at all.
NO_ID = r"^$|^[\p{Cc}\p{Z}]|[\p{Cc}\p{Z}]$"


@dataclass(frozen=True, eq=False)
class PoolPart:
    """What is written at once.

    Attributes:
        points: what goes into one file; without rows there is no file.
        rejected: the materials among them that have no latent.
        n_done: how many rows of the source are in this part and those before it.
    """

    points: pa.Table
    rejected: Sequence[RejectedMaterial]
    n_done: int


class LatentWriter:
    """A pool being written; use it as a context manager, so that others can go on with it afterwards.

    Args:
        folder: Where; made if need be.
        about: What the manifest says beside the files: all that the points depend on. What is there already and was
            begun with something else is refused.
        rejected: Materials that the source itself rejected.

    Raises:
        RunFolderError: the folder holds something else, or another process writes it.
    """

    def __init__(
        self, folder: Path, about: Mapping[str, Any], *, rejected: Sequence[RejectedMaterial] = ()
    ) -> None:
        self._folder, self._about = folder, dict(about)
        _refuse_strangers(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(folder / LOCK)
        try:
            self._state = self._begun()
            if not self._state["rejected_bytes"]:
                self._note()
                self._reject(rejected, rejected_csv(rejected))
                self._note()
        except BaseException:
            self._lock.close()
            raise

    @property
    def n_done(self) -> int:
        """How many rows of the source are on the disk, the rejected ones included."""
        return int(self._state["n_done"])

    @property
    def n_files(self) -> int:
        """How many files are finished."""
        return len(self._state["shards"])

    def write(self, part: PoolPart) -> None:
        """Put a part on the disk; what was killed in between goes on before it.

        Raises:
            DataError: an id that a file of labels could not carry back; nothing of the part is written.
        """
        if part.points.num_rows:
            _check_ids(part.points.column("material_id"))
        if part.rejected:
            _, rows = rejected_csv(part.rejected).split("\r\n", 1)
            self._reject(part.rejected, rows)
        if part.points.num_rows:
            name = f"latents-{self.n_files:05d}.arrow"
            content = _arrow_file(part.points)
            _write_whole(self._folder / name, content)
            digest = sha256(content).hexdigest()
            about = {"rows": part.points.num_rows, "bytes": len(content), "sha256": digest}
            self._state["shards"].append({"name": name, **about})
            self._state["latent_width"] = part.points.schema.field("latent").type.list_size
        self._state["n_done"] = part.n_done
        self._note()

    def finish(self) -> dict[str, Any]:
        """Write the manifest, with which the folder is a pool, and give it back.

        Raises:
            DataError: no material had a latent; the folder is removed.
        """
        shards = self._state["shards"]
        if not shards:
            with (self._folder / REJECTED).open(newline="", encoding="utf-8") as file:
                refused = [RejectedMaterial(**row) for row in csv.DictReader(file)]
            shutil.rmtree(self._folder)
            raise none_usable(refused)
        content = {
            "format": FORMAT,
            "version": VERSION,
            **self._about,
            "latent_width": self._state["latent_width"],
            "n_featurised": sum(shard["rows"] for shard in shards),
            "n_rejected": self._state["n_rejected"],
            "shards": shards,
        }
        _write_whole(self._folder / MANIFEST, _json(content))
        discard_notes(self._folder)
        return content

    def __enter__(self) -> LatentWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.close()

    def _begun(self) -> dict[str, Any]:
        """The state that an earlier process left, or a new one."""
        file = self._folder / BUILDING
        if not file.is_file():
            counts = {"n_done": 0, "n_rejected": 0, "rejected_bytes": 0}
            return {"about": self._about, "shards": [], "latent_width": None, **counts}
        try:
            state = json.loads(file.read_bytes())
        except ValueError as error:
            raise DataError(
                f"{file} is damaged ({error}); remove {self._folder} and build the pool anew"
            ) from None
        refuse_another(self._folder, state["about"], self._about)
        for shard in state["shards"]:
            path = self._folder / shard["name"]
            if not path.is_file() or path.stat().st_size != shard["bytes"]:
                raise DataError(
                    f"{path}, which was finished, is missing or of another size; remove {self._folder} and"
                    " build the pool anew"
                )
        _cut_off(self._folder / REJECTED, state["rejected_bytes"])
        return dict(state)

    def _reject(self, rejected: Sequence[RejectedMaterial], text: str) -> None:
        content = text.encode()
        with (self._folder / REJECTED).open("ab") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self._state["rejected_bytes"] += len(content)
        self._state["n_rejected"] += len(rejected)

    def _note(self) -> None:
        _write_whole(self._folder / BUILDING, _json(self._state))


def pool_parts(tables: Iterable[pa.Table], *, n_done: int) -> Iterator[PoolPart]:
    """Cut what streams out of the network into parts of :data:`ROWS_PER_FILE` points each.

    Args:
        tables: As :func:`gpnet_ray.campaign.featurising.featurise` gives them, in the order of the source.
        n_done: How many rows of the source came before.

    Yields:
        Parts; a latent that is not finite makes its material a rejected one.
    """
    waiting: list[pa.Table] = []
    masks: list[BoolArray] = []
    n_good = 0
    for table in tables:
        waiting.append(table)
        masks.append(_has_latent(table))
        n_good += int(masks[-1].sum())
        while n_good >= ROWS_PER_FILE:
            joined, mask = pa.concat_tables(waiting), np.concatenate(masks)
            end = int(np.flatnonzero(mask)[ROWS_PER_FILE - 1]) + 1
            n_done += end
            yield _part(joined.slice(0, end), mask[:end], n_done)
            waiting, masks = [joined.slice(end)], [mask[end:]]
            n_good -= ROWS_PER_FILE
    if waiting and (joined := pa.concat_tables(waiting)).num_rows:
        yield _part(joined, np.concatenate(masks), n_done + joined.num_rows)


def discard_notes(folder: Path) -> None:
    """Remove what is kept only until a pool is whole."""
    for name in (BUILDING, LOCK):
        (folder / name).unlink(missing_ok=True)


def refuse_another(folder: Path, begun: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse to go on with a pool that was begun with something else.

    Args:
        folder: The pool.
        begun: What its points depend on, by its own account.
        given: What is to go on.

    Raises:
        RunFolderError: names what differs.
    """
    for key, value in given.items():
        # The same crystals may lie under another name now; their fingerprint follows.
        if key not in NAMES and begun.get(key) != value:
            shown = (begun.get("source"), given["source"]) if key == "source_fingerprint" else None
            was, now = shown or (begun.get(key), value)
            raise RunFolderError(
                f"{folder} was begun with another {key.removesuffix('_fingerprint')}: {was!r}, not {now!r}; go on"
                " with what it was begun with, or name another folder"
            )


def _check_ids(ids: pa.ChunkedArray) -> None:
    changed = ids.filter(pc.match_substring_regex(ids, NO_ID))
    if len(changed):
        raise DataError(
            f"the id {changed[0].as_py()!r} would not come back from a file of labels as it is; give ids that are not"
            " empty and neither begin nor end with a blank or a control character"
        )


def _cut_off(rejects: Path, noted: int) -> None:
    """Take away what a killed process wrote after its last note: it comes again."""
    found = rejects.stat().st_size if rejects.is_file() else 0
    if found < noted:
        # Truncating to more than there is would fill the file with NUL bytes.
        raise DataError(
            f"{rejects} has {found} bytes where {noted} were written; restore it from a copy, or remove"
            f" {rejects.parent} and build the pool anew"
        )
    with rejects.open("ab") as file:
        file.truncate(noted)


def _refuse_strangers(folder: Path) -> None:
    """Leave a folder alone that holds something else than a pool that is being built."""
    if not folder.exists() or (folder / BUILDING).is_file():
        return
    own = (LOCK, f".{BUILDING}.tmp")
    if not folder.is_dir() or any(file.name not in own for file in folder.iterdir()):
        raise RunFolderError(f"{folder} exists already; remove it or name another folder")


def _has_latent(table: pa.Table) -> BoolArray:
    """Which rows have a latent that can be used, bool (n,)."""
    mask: BoolArray = np.asarray(pc.is_null(table.column("category")))
    latents = latent_matrix(table.filter(pa.array(mask)).column("latent"))
    usable: BoolArray = mask.copy()
    usable[mask] = np.isfinite(latents).all(axis=1)
    return usable


def _part(table: pa.Table, usable: BoolArray, n_done: int) -> PoolPart:
    points = table.filter(pa.array(usable)).select(COLUMNS)
    rejected = [
        RejectedMaterial(**row) if row["category"] else RejectedMaterial(name, *NOT_FINITE)
        for row in table.filter(pa.array(~usable)).select(REJECTED_COLUMNS).to_pylist()
        for name in [row["material_id"]]
    ]
    return PoolPart(points, rejected, n_done)


def _arrow_file(points: pa.Table) -> bytes:
    """The points as an Arrow IPC file of one record batch."""
    (batch,) = points.replace_schema_metadata(None).combine_chunks().to_batches()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file that is there once all of it is on the disk."""
    draft = path.with_name(f".{path.name}.tmp")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _locked(path: Path) -> BinaryIO:
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise RunFolderError(
            f"{path.parent} is being written by another process; wait until it has ended or stop it"
        ) from None
    return file
