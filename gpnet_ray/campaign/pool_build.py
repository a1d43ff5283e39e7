"""Making a pool that is as large as one likes: file by file, with flat memory, and going on after a stop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from gpnet_ray.actors.cluster import connected
from gpnet_ray.actors.settings import ResourcesConfig
from gpnet_ray.campaign import latent_writer
from gpnet_ray.campaign.featurised_warnings import say_warnings
from gpnet_ray.campaign.featurising import featurise
from gpnet_ray.campaign.latent_folder import featurised_from
from gpnet_ray.campaign.latent_writer import (
    LatentWriter,
    PoolPart,
    discard_notes,
    pool_parts,
    refuse_another,
)
from gpnet_ray.data.latent_mixture import COMPONENTS, REGULARISATION, LatentMixture, read_sample
from gpnet_ray.data.pool_folder import BUILDING, DRAWN, MANIFEST, UNKNOWN_LAYER, read_manifest
from gpnet_ray.data.raw_materials import id_text
from gpnet_ray.errors import InputError, RunFolderError
from gpnet_ray.latent_columns import latent_column
from gpnet_ray.progress import NullProgress, Progress

if TYPE_CHECKING:
    from gpnet_ray.campaign.pool_sources import PoolSource
    from gpnet_ray.gnn.network_state import NetworkState

__all__ = ["build_pool", "draw_pool"]


def build_pool(
    folder: Path,
    source: PoolSource,
    network: NetworkState,
    *,
    resume: bool = False,
    resources: ResourcesConfig,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Featurise the crystals of a source into a pool, file by file.

    Args:
        folder: Where; empty, or not there yet.
        source: The crystals.
        network: The network.
        resume: Go on with what is in the folder, after its last finished file; begin where there is nothing.
        resources: How many actors, with how many threads or GPUs.
        progress: Where progress is shown.

    Returns:
        The manifest; see :mod:`gpnet_ray.data.pool_folder`.

    Raises:
        DataError: none of the crystals could be used; the folder is removed then.
        RunFolderError: the folder is occupied, or was begun with another source or network.
    """
    progress = progress or NullProgress()
    about = featurised_from(source, network)
    finished = _finished(folder, about, resume=resume, progress=progress)
    if finished is not None:
        return finished
    with LatentWriter(folder, about, rejected=source.rejected) as writer:
        _say_what_is_done(writer, progress)
        if writer.n_done < source.total - len(source.rejected):
            with connected(resources):
                tables = featurise(
                    source, network, n_done=writer.n_done, resources=resources, progress=progress
                )
                said = say_warnings(tables, progress)
                for part in pool_parts(said, n_done=writer.n_done):
                    writer.write(part)
        return writer.finish()


def draw_pool(
    folder: Path,
    like: Path,
    *,
    count: int,
    seed: int,
    prefix: str = "like",
    layer: str | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Draw a pool from a mixture of Gaussians fitted to real latents; none of its points is a crystal's.

    Every file has its own stream of random numbers, so that a build that was interrupted ends with the same bytes.

    Args:
        folder: Where; empty, or not there yet.
        like: Parquet file with a column ``latent``, or a pool's folder.
        count: How many points.
        seed: Of the fit, of the rows fitted where there are very many, and of what is drawn.
        prefix: What their ids begin with: ``like-00000000``, ``like-00000001``, …
        layer: The layer that the latents of the file are of, where it does not say so.
        resume: Go on with what is in the folder, after its last finished file; begin where there is nothing.
        progress: Where progress is shown.

    Returns:
        The manifest; see :mod:`gpnet_ray.data.pool_folder`.

    Raises:
        InputError: a count below one, or a prefix that a file of labels could not carry back.
        DataError: there are no latents in the file, or too few.
        RunFolderError: the folder is occupied, or was begun with other latents, count or seed.
    """
    if count < 1:
        raise InputError(f"asked for {count} points; ask for at least 1")
    if id_text(prefix) != prefix or not prefix.isprintable():
        raise InputError(
            f"ids that begin with {prefix!r} would not come back from a file of labels as they are; name a prefix"
            " without blanks at its ends and without control characters (--prefix)"
        )
    progress = progress or NullProgress()
    sample = read_sample(like, seed=seed)
    about: dict[str, Any] = {
        "kind": DRAWN,
        "note": f"Drawn at random from a mixture of {COMPONENTS} Gaussians fitted to the latents of {like.name}: "
        "no point of this pool is a crystal, and no network made it.",
        "source": str(like),
        "source_fingerprint": sample.fingerprint,
        "network_fingerprint": None,
        "layer": layer or sample.layer or UNKNOWN_LAYER,
        "count": count,
        "seed": seed,
        "id_prefix": prefix,
    }
    finished = _finished(folder, about, resume=resume, progress=progress)
    if finished is not None:
        return finished
    progress.line(f"Fitting {COMPONENTS} Gaussians to latents of {like}")
    mixture = LatentMixture.fit(sample.latents, seed=seed)
    about["mixture"] = {
        "components": COMPONENTS,
        "covariance": "full",
        "regularisation": REGULARISATION,
        "fitted_rows": mixture.n_rows,
        "converged": mixture.converged,
        "fingerprint": mixture.fingerprint,
    }
    with LatentWriter(folder, about) as writer:
        _say_what_is_done(writer, progress)
        with progress.task("Drawing", total=count - writer.n_done, unit="points") as task:
            for part in _drawn_parts(mixture, about, n_done=writer.n_done):
                writer.write(part)
                task.advance(part.points.num_rows)
        return writer.finish()


def _drawn_parts(
    mixture: LatentMixture, about: Mapping[str, Any], *, n_done: int
) -> Iterator[PoolPart]:
    size, count = latent_writer.ROWS_PER_FILE, about["count"]
    for number, start in enumerate(range(0, count, size)):
        if start < n_done:
            continue
        end = min(start + size, count)
        ids = [f"{about['id_prefix']}-{i:08d}" for i in range(start, end)]
        latents = mixture.draw(end - start, seed=about["seed"], stream=number)
        columns = {"material_id": pa.array(ids, pa.string()), "latent": latent_column(latents)}
        yield PoolPart(pa.table(columns), (), n_done=end)


def _finished(
    folder: Path, about: Mapping[str, Any], *, resume: bool, progress: Progress
) -> dict[str, Any] | None:
    """The manifest of a pool that is whole already, if it may be gone on with and is.

    Raises:
        RunFolderError: something is there and is not to be gone on with, or is of another source.
    """
    if not resume and (folder / BUILDING).is_file():
        raise RunFolderError(
            f"{folder} holds a pool whose building has not ended; go on with --resume, or remove it"
        )
    if not resume or not (folder / MANIFEST).is_file():
        return None
    content = read_manifest(folder)
    refuse_another(folder, content, about)
    discard_notes(folder)
    progress.line(f"{folder} is whole already: nothing is left to do")
    return content


def _say_what_is_done(writer: LatentWriter, progress: Progress) -> None:
    if writer.n_files:
        progress.line(
            f"Going on after {writer.n_files} finished files, {writer.n_done} rows of the source"
        )
