"""``gpnet-ray pool``: pools of any size, on disk."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from gpnet_ray.commands import options
from gpnet_ray.commands.interrupted import INTERRUPTED
from gpnet_ray.commands.pool_pick import pick
from gpnet_ray.commands.which_network import say_which_network
from gpnet_ray.config import Config
from gpnet_ray.errors import InputError
from gpnet_ray.progress import Progress

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Pools of any size, on disk.")

EMBEDDED = "hypothetical-oxides"


@app.command()
def build(
    out: Annotated[Path, typer.Option(help="Folder for the pool.", show_default=False)],
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="hypothetical-oxides, or a dataset: Parquet, CSV with a CIF column, folder with"
            " id_prop.csv, matbench JSON.",
        ),
    ] = None,
    network: Annotated[
        Path | None,
        typer.Option(help="Network that gives the latents: a folder or .hdf5 written by megnet."),
    ] = None,
    latents_like: Annotated[
        Path | None,
        typer.Option(
            help="Draw latents at random, like those of this Parquet file or pool; of no crystal."
        ),
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="How many are generated or drawn.")
    ] = None,
    prefix: Annotated[
        str, typer.Option(help="What the ids of drawn points begin with: unlike in another pool.")
    ] = "like",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a build that was interrupted.")
    ] = False,
    layer: options.LatentLayer = None,
    id_column: options.IdColumn = None,
    structure_column: options.StructureColumn = None,
    seed: options.Seed = None,
    address: options.Address = None,
    config: options.ConfigFile = None,
    setting: options.Settings = None,
) -> None:
    """Make a pool of latents, file by file: from crystals by a network, or drawn at random."""
    given = {
        "data.id_column": id_column,
        "data.structure_column": structure_column,
        "network.layer": layer,
        "seed": seed,
        "resources.address": address,
    }
    resolved = options.resolve(given, settings=setting, preset=None, file=config)

    from gpnet_ray.campaign.pretraining import asked_layer
    from gpnet_ray.progress import make_progress

    progress = make_progress(Console())
    if (source is None) == (latents_like is None):
        raise InputError("give either --from (crystals) or --latents-like FILE (drawn at random)")
    try:
        if latents_like is not None:
            which = asked_layer(resolved, layer)
            drawn = {"count": count, "seed": resolved.seed, "prefix": prefix, "layer": which}
            content = _drawn(out, latents_like, network, drawn, resume, progress)
        else:
            dataset = _dataset(str(source), count)
            content = _featurised(out, dataset, network, resolved, layer, resume, progress)
    except KeyboardInterrupt:
        print(
            f"Interrupted. Finished files are in {out}; the same command with --resume goes on.",
            file=sys.stderr,
        )
        raise typer.Exit(INTERRUPTED) from None
    progress.line(
        f"{content['n_featurised']} {content['kind']} points in {len(content['shards'])} files in {out};"
        f" {content['n_rejected']} materials rejected"
    )


@app.command()
def check(
    pool: Annotated[Path, typer.Argument(help="Folder written by pool build or featurize.")],
) -> None:
    """Read all files of a pool and compare them with the checksums in its manifest."""
    from gpnet_ray.data.pool_folder import PoolFolder
    from gpnet_ray.progress import make_progress

    progress = make_progress(Console())
    folder = PoolFolder.open(pool)
    folder.check(progress)
    network = f"network {folder.network[:12]}" if folder.network else "no network"
    progress.line(
        f"{pool} is whole: {folder.n_points} {folder.kind} points of width {folder.latent_width}"
        f" (layer {folder.layer}, {network}) in {len(folder.files)} files; {folder.n_rejected} rejected"
    )


app.command()(pick)


def _dataset(source: str, count: int | None) -> str:
    """What ``--from`` and ``--count`` name together."""
    if source == EMBEDDED:
        if count is None:
            raise InputError(f"--from {EMBEDDED} needs --count, how many to generate")
        return f"{EMBEDDED}:{count}"
    if count is not None:
        raise InputError(
            f"--count {count}: all crystals of {source} are taken; --count is for {EMBEDDED} and"
            " --latents-like"
        )
    return source


def _drawn(
    out: Path,
    like: Path,
    network: Path | None,
    how: dict[str, Any],
    resume: bool,
    progress: Progress,
) -> dict[str, Any]:
    from gpnet_ray.campaign.pool_build import draw_pool

    if how["count"] is None or network is not None:
        raise InputError(
            "--latents-like takes --count, how many to draw, and no --network, since none is asked"
        )
    return draw_pool(out, like, **how, resume=resume, progress=progress)


def _featurised(
    out: Path,
    dataset: str,
    network: Path | None,
    config: Config,
    layer: str | None,
    resume: bool,
    progress: Progress,
) -> dict[str, Any]:
    from gpnet_ray.campaign.pool_build import build_pool
    from gpnet_ray.campaign.pool_sources import pool_source
    from gpnet_ray.campaign.pretraining import with_asked_layer
    from gpnet_ray.campaign.surrogate import load_network

    if network is None:
        raise InputError("--from needs --network, the network that gives the latents")
    say_which_network(network, progress)
    state = with_asked_layer(load_network(network), config, layer)
    source = pool_source(
        dataset,
        id_column=config.data.id_column,
        structure_column=config.data.structure_column,
        global_features=state.config.global_features,
        seed=config.seed,
        progress=progress,
    )
    return build_pool(
        out, source, state, resume=resume, resources=config.resources, progress=progress
    )
