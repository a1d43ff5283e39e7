"""A folder of latent vectors: Arrow shards that can be mapped into memory, who was rejected, a description.

A folder is either whole or not there. Folders can be kept in a cache under the hash of all that they
depend on.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa

from gpnet_ray.campaign.rejected import none_usable, rejected_csv, split_rejected
from gpnet_ray.data.dataset import RejectedMaterial
from gpnet_ray.data.plain_columns import refuse_objects
from gpnet_ray.errors import DataError, RunFolderError
from gpnet_ray.gnn.network_state import NetworkState

__all__ = ["DESCRIPTION", "REJECTED", "cache_key", "copy_latents", "read_latents", "write_latents"]

DESCRIPTION, REJECTED = "featurising.json", "rejected.csv"
FORMAT, VERSION = "gpnet_ray latents", 1
ROWS_PER_SHARD = 65_536
COLUMNS = ["material_id", "latent", "network_prediction"]


def cache_key(network: NetworkState, source_fingerprint: str) -> str:
    """Hash of the network (its layer included) and the crystals: equal keys have equal latents."""
    return sha256(f"{VERSION} {network.fingerprint()} {source_fingerprint}".encode()).hexdigest()


def read_latents(folder: Path) -> pa.Table:
    """Map the shards of a folder into memory: ``material_id``, ``latent``, ``network_prediction``.

    Raises:
        DataError: the folder holds no latents, or another version of them.
    """
    # Only files of this folder, whatever its description names.
    shards = [folder / Path(name).name for name in _description(folder)["shards"]]
    try:
        table = pa.concat_tables(
            [pa.ipc.open_file(pa.memory_map(str(shard))).read_all() for shard in shards]
        )
        refuse_objects(table.schema)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{folder} is damaged ({error}); remove it and featurise again") from None
    return table


def write_latents(
    folder: Path,
    tables: Iterable[pa.Table],
    *,
    rejected: Sequence[RejectedMaterial],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Write a folder of latents as they come; it is there once all of it is.

    Args:
        folder: Where; empty, or not there yet.
        tables: As :func:`gpnet_ray.campaign.featurising.featurise` gives them.
        rejected: Materials that were rejected before.
        about: What the description says beside the counts.

    Returns:
        The description: ``about``, ``n_featurised``, ``n_rejected``, ``shards``.

    Raises:
        DataError: none of the crystals could be used; nothing is left behind then.
        RunFolderError: the folder is occupied.
    """
    refused = list(rejected)
    with _made_whole(folder) as partial:
        n_featurised = 0
        shards: list[str] = []
        for shard in _in_shards(tables, refused):
            name = f"latents-{len(shards):05d}.arrow"
            with (
                pa.OSFile(str(partial / name), "wb") as sink,
                pa.ipc.new_file(sink, shard.schema) as writer,
            ):
                writer.write_table(shard)
            shards.append(name)
            n_featurised += shard.num_rows
        if not n_featurised:
            raise none_usable(refused)
        (partial / REJECTED).write_text(rejected_csv(refused), encoding="utf-8", newline="")
        counts = {"n_featurised": n_featurised, "n_rejected": len(refused), "shards": shards}
        content = {"format": FORMAT, "version": VERSION, **about, **counts}
        (partial / DESCRIPTION).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return content


def copy_latents(cached: Path, folder: Path) -> dict[str, Any]:
    """Put a cached folder where the user wants it, as links where the disk has them.

    Returns:
        Its description.

    Raises:
        DataError: the cached folder is not whole.
        RunFolderError: the folder is occupied.
    """
    content = _description(cached)
    with _made_whole(folder) as partial:
        for file in cached.iterdir():
            if not _linked(file, partial / file.name):
                shutil.copy2(file, partial / file.name)
    return content


def _linked(file: Path, to: Path) -> bool:
    """Whether a link could be made: not to another disk, nor on one without links."""
    try:
        os.link(file, to)
    except OSError:
        return False
    return True


def _in_shards(tables: Iterable[pa.Table], rejected: list[RejectedMaterial]) -> Iterator[pa.Table]:
    """Join what has latents into shards of equal size, and add the others to ``rejected``."""
    waiting: list[pa.Table] = []
    n_waiting = 0
    for table in tables:
        good, bad = split_rejected(table)
        rejected += bad
        waiting.append(good.select(COLUMNS))
        n_waiting += good.num_rows
        while n_waiting >= ROWS_PER_SHARD:
            joined = pa.concat_tables(waiting).combine_chunks()
            yield joined.slice(0, ROWS_PER_SHARD)
            waiting = [joined.slice(ROWS_PER_SHARD)]
            n_waiting -= ROWS_PER_SHARD
    if n_waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def _description(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / DESCRIPTION).read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder} holds no latents ({error}); name a folder written by 'featurize'"
        ) from None
    if content.get("format") != FORMAT or content.get("version") != VERSION:
        raise DataError(
            f"{folder} holds {content.get('format')!r} of version {content.get('version')!r}; this program"
            f" reads {FORMAT!r} of version {VERSION}: featurise again"
        )
    return dict(content)


@contextmanager
def _made_whole(folder: Path) -> Iterator[Path]:
    """Give a folder to fill beside its place, and move it there at the end."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise RunFolderError(f"{folder} exists already; remove it or name another folder")
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        yield partial
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
