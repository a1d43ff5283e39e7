"""A folder of latents that is either whole or not there, and a cache of such folders.

The format, and how it is read, is in :mod:`gpnet_ray.data.pool_folder`.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from gpnet_ray.campaign.latent_writer import REJECTED, LatentWriter, pool_parts
from gpnet_ray.campaign.partial_folder import made_beside, moved_to
from gpnet_ray.data.dataset import RejectedMaterial
from gpnet_ray.data.pool_folder import FEATURISED, MANIFEST, VERSION, PoolFolder, read_manifest
from gpnet_ray.errors import DataError, RunFolderError
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.output_place import check_new_folder

if TYPE_CHECKING:
    from gpnet_ray.campaign.pool_sources import PoolSource
    from gpnet_ray.progress import Progress

__all__ = ["cache_key", "copy_latents", "featurised_from", "keep_latents", "write_latents"]


def cache_key(network: NetworkState, source_fingerprint: str) -> str:
    """Hash of the network (its layer included) and the crystals: equal keys have equal latents."""
    return sha256(f"{VERSION} {network.fingerprint()} {source_fingerprint}".encode()).hexdigest()


def featurised_from(source: PoolSource, network: NetworkState) -> dict[str, Any]:
    """What the manifest of featurised crystals says of where they come from: all that they depend on."""
    return {
        "kind": FEATURISED,
        "source": source.name,
        "source_fingerprint": source.fingerprint,
        "network_fingerprint": network.fingerprint(),
        "layer": network.config.layer,
        "target": network.target,
        "unit": network.unit,
    }


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
        about: What the manifest says beside the files.

    Returns:
        The manifest.

    Raises:
        DataError: none of the crystals could be used; nothing is left behind then.
        RunFolderError: the folder is occupied; says where the latents lie if it was not at first.
    """
    check_new_folder(folder)
    with made_beside(folder) as made:
        content = _write(made, tables, rejected, about)
        if not moved_to(folder, made):
            others = (folder.with_name(f"{folder.name}-{n}") for n in count(2))
            beside = next(other for other in others if moved_to(other, made))
            raise RunFolderError(
                f"{folder} came in the meantime, and is left as it is; the latents are in {beside}"
            )
    return content


def keep_latents(
    kept: Path,
    tables: Iterable[pa.Table],
    *,
    rejected: Sequence[RejectedMaterial],
    about: Mapping[str, Any],
) -> None:
    """Add a folder of latents to the cache; what is there already stays if it is whole.

    Args:
        kept: Where in the cache.
        tables: As :func:`gpnet_ray.campaign.featurising.featurise` gives them.
        rejected: Materials that were rejected before.
        about: What the manifest says beside the files.

    Raises:
        DataError: none of the crystals could be used; nothing is left behind then.
        RunFolderError: a file lies at this place of the cache.
    """
    if kept.exists() and not kept.is_dir():
        raise RunFolderError(f"{kept} is no folder; remove it, or name another --cache")
    with made_beside(kept) as made:
        _write(made, tables, rejected, about)
        if moved_to(kept, made) or _is_whole(kept):
            # Where another process was first, its latents are as good: the key says so.
            return
        # Moved, not removed file by file: another process may come to look at any time, or do the same.
        with suppress(FileNotFoundError):
            kept.rename(made.with_name("damaged"))
        moved_to(kept, made)


def copy_latents(cached: Path, folder: Path, *, progress: Progress | None = None) -> dict[str, Any]:
    """Copy a cached folder to where the user wants it, after a look at all of it.

    Returns:
        Its manifest.

    Raises:
        DataError: the cached folder is not what was written.
        RunFolderError: the folder is occupied.
    """
    content, files = _whole(cached, progress)
    with made_beside(folder) as made:
        for name in files:
            # No link: who changes the one would change the other.
            shutil.copyfile(cached / name, made / name)
        if not moved_to(folder, made):
            raise RunFolderError(
                f"{folder} exists already; remove it or name another folder (the latents are in {cached})"
            )
    return content


def _write(
    made: Path,
    tables: Iterable[pa.Table],
    rejected: Sequence[RejectedMaterial],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    with LatentWriter(made, about, rejected=rejected) as writer:
        for part in pool_parts(tables, n_done=0):
            writer.write(part)
        return writer.finish()


def _whole(folder: Path, progress: Progress | None = None) -> tuple[dict[str, Any], list[str]]:
    """Manifest and files of a folder of latents, all of which are what was written.

    Raises:
        DataError: one is not.
    """
    pool = PoolFolder.open(folder)
    pool.check(progress)
    listing = folder / REJECTED
    try:
        with listing.open(newline="", encoding="utf-8") as file:
            n_listed = sum(1 for _ in csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{listing} cannot be read ({error})") from None
    if n_listed != pool.n_rejected:
        raise DataError(f"{listing} lists {n_listed} materials, {pool.n_rejected} were rejected")
    return read_manifest(folder), [MANIFEST, REJECTED, *(file.path.name for file in pool.files)]


def _is_whole(folder: Path) -> bool:
    try:
        _whole(folder)
    except DataError:
        return False
    return True
