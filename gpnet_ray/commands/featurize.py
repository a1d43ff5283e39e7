"""``gpnet-ray featurize``: latent vectors of a whole pool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from gpnet_ray.commands import options
from gpnet_ray.commands.which_network import say_which_network

__all__ = ["featurize"]


def featurize(
    network: options.Network,
    dataset: Annotated[
        str,
        typer.Argument(
            help="Parquet, CSV with a CIF column, folder with id_prop.csv, matbench JSON, or"
            " hypothetical-oxides:N."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the latents; has to be new.")],
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder in which latents are kept, so that nothing is computed twice."),
    ] = None,
    layer: options.LatentLayer = None,
    id_column: options.IdColumn = None,
    structure_column: options.StructureColumn = None,
    seed: options.Seed = None,
    address: options.Address = None,
    config: options.ConfigFile = None,
    setting: options.Settings = None,
) -> None:
    """Turn the crystals of a pool into latent vectors, in blocks, on all CPUs or GPUs."""
    given = {
        "data.id_column": id_column,
        "data.structure_column": structure_column,
        "network.layer": layer,
        "seed": seed,
        "resources.address": address,
    }
    resolved = options.resolve(given, settings=setting, preset=None, file=config)

    from gpnet_ray.campaign.pool_sources import pool_source
    from gpnet_ray.campaign.pretraining import with_asked_layer
    from gpnet_ray.campaign.surrogate import load_network
    from gpnet_ray.campaign.surrogate_use import featurise_into
    from gpnet_ray.progress import make_progress

    progress = make_progress(Console())
    say_which_network(network, progress)
    state = with_asked_layer(load_network(network), resolved, layer)
    source = pool_source(
        dataset,
        id_column=resolved.data.id_column,
        structure_column=resolved.data.structure_column,
        global_features=state.config.global_features,
        seed=resolved.seed,
        progress=progress,
    )
    content = featurise_into(
        out, source, state, cache=cache, resources=resolved.resources, progress=progress
    )
    progress.line(
        f"{content['n_featurised']} latents of {content['layer']} in {out};"
        f" {content['n_rejected']} materials rejected, with reasons in {out / 'rejected.csv'}"
    )
