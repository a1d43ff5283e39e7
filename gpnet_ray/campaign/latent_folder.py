"""A folder of latents that is either whole or not there, and a cache of such folders.

The format, and how it is read, is in :mod:`gpnet_ray.data.pool_folder`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from gpnet_ray.campaign.latent_writer import LatentWriter, pool_parts
from gpnet_ray.data.dataset import RejectedMaterial
from gpnet_ray.data.pool_folder import FEATURISED, VERSION, read_manifest
from gpnet_ray.errors import RunFolderError
from gpnet_ray.gnn.network_state import NetworkState

if TYPE_CHECKING:
    from gpnet_ray.campaign.pool_sources import PoolSource

__all__ = ["cache_key", "copy_latents", "featurised_from", "write_latents"]


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
        RunFolderError: the folder is occupied.
    """
    with (
        _made_whole(folder) as partial,
        LatentWriter(partial, about, rejected=rejected) as writer,
    ):
        for part in pool_parts(tables, n_done=0):
            writer.write(part)
        return writer.finish()


def copy_latents(cached: Path, folder: Path) -> dict[str, Any]:
    """Put a cached folder where the user wants it, as links where the disk has them.

    Returns:
        Its manifest.

    Raises:
        DataError: the cached folder is not whole.
        RunFolderError: the folder is occupied.
    """
    content = read_manifest(cached)
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
