"""``gpnet-ray init``: a campaign whose labels the user computes."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from gpnet_ray.commands import options
from gpnet_ray.commands.interrupted import INTERRUPTED
from gpnet_ray.commands.which_network import say_which_network
from gpnet_ray.config import STRATEGIES, Config

if TYPE_CHECKING:
    from gpnet_ray.data.dataset import MaterialsDataset
    from gpnet_ray.progress import Progress

__all__ = ["RunDir", "init", "read_candidates"]

RunDir = Annotated[Path, typer.Argument(help="The campaign's folder.", show_default=False)]


def init(
    run_dir: RunDir,
    dataset: Annotated[
        Path,
        typer.Option(
            help="Materials of which some have a value of the target: the start. Those without are the"
            " candidates.",
            show_default=False,
        ),
    ],
    pool: Annotated[
        Path | None,
        typer.Option(
            help="The candidates, where they lie in a file of their own (targets are not read)."
        ),
    ] = None,
    target: options.Target = None,
    unit: options.Unit = None,
    id_column: options.IdColumn = None,
    structure_column: options.StructureColumn = None,
    global_feature: options.GlobalFeatures = None,
    on_bad_structure: options.OnBadStructure = None,
    preset: options.Preset = None,
    config: options.ConfigFile = None,
    setting: options.Settings = None,
    test: Annotated[
        int,
        typer.Option(help="Labelled materials, drawn by the seed, that only measure the error."),
    ] = 0,
    network: Annotated[
        Path | None,
        typer.Option(
            help="A trained network to use (a folder, or an .hdf5 of megnet); left out: trained."
        ),
    ] = None,
    epochs: options.Epochs = None,
    cutoff: options.Cutoff = None,
    layer: options.LatentLayer = None,
    kernel: options.Kernel = None,
    scaling: options.Scaling = None,
    strategy: Annotated[
        str | None, typer.Option(help=f"What picks: {', '.join(STRATEGIES)}; left out: max-sigma.")
    ] = None,
    seed: options.Seed = None,
    address: options.Address = None,
    shards: Annotated[int | None, typer.Option(help="Actors that score the pool.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a campaign in which nothing was told yet.")
    ] = False,
) -> None:
    """Begin a campaign whose labels you compute: train, featurise, fit the GP; then ask and tell."""
    given: dict[str, Any] = {
        "retraining.when": "never",  # That is for campaigns with an oracle.
        "data.dataset": dataset,
        "data.target": target,
        "data.unit": unit,
        "data.id_column": id_column,
        "data.structure_column": structure_column,
        "network.global_features": global_feature,
        "data.on_bad_structure": on_bad_structure,
        "training.epochs": epochs,
        "network.cutoff_angstrom": cutoff,
        "network.layer": layer,
        "gp.kernel": kernel,
        "gp.latent_scaling": scaling,
        "selection.strategies": None if strategy is None else [strategy],
        "seed": seed,
        "resources.address": address,
        "resources.shards": shards,
    }
    resolved = options.resolve(given, settings=setting, preset=preset, file=config)
    _init(run_dir, dataset, pool, resolved, n_test=test, network=network, overwrite=overwrite)


def _init(
    run_dir: Path,
    dataset: Path,
    pool: Path | None,
    config: Config,
    *,
    n_test: int,
    network: Path | None,
    overwrite: bool,
) -> None:
    from gpnet_ray.campaign.ask_tell import AskTellCampaign
    from gpnet_ray.campaign.ask_tell_folder import AskTellFolder
    from gpnet_ray.campaign.ask_tell_setup import BEGIN_AGAIN
    from gpnet_ray.campaign.surrogate import load_network
    from gpnet_ray.progress import make_progress

    progress = make_progress(Console())
    # Asked before the dataset is read, so that the answer comes at once.
    AskTellFolder(run_dir).check_can_begin(overwrite=overwrite)
    if network is not None:
        say_which_network(network, progress)
    state = None if network is None else load_network(network)
    labelled, candidates = _read(dataset, pool, config, progress)
    progress.line(f"{len(labelled)} labelled materials and {len(candidates)} candidates")
    try:
        with AskTellCampaign.create(
            run_dir,
            labelled,
            candidates,
            config,
            n_test=n_test,
            network=state,
            overwrite=overwrite,
            progress=progress,
        ) as campaign:
            status = campaign.status()
    except KeyboardInterrupt:
        print(f"Interrupted; the campaign has not begun: {BEGIN_AGAIN}.", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    command = ["gpnet-ray", "ask", str(run_dir), "-n", "20", "--write-structures", "poscar"]
    typer.echo(
        f"{run_dir}: {status.n_start} labels, {status.n_test} test rows, {status.n_free} candidates."
        f" Next: {shlex.join(command)}"
    )


def _read(
    dataset: Path, pool: Path | None, config: Config, progress: Progress
) -> tuple[MaterialsDataset, MaterialsDataset]:
    from gpnet_ray.data.readers import read_dataset, read_partly_labelled

    data = config.data
    columns: dict[str, Any] = {
        "target": data.target,
        "unit": config.label_unit(),
        "id_column": data.id_column,
        "structure_column": data.structure_column,
        "global_features": config.network.global_features,
        "on_bad_structure": data.on_bad_structure,
        "progress": progress,
    }
    if pool is None:
        return read_partly_labelled(dataset, **columns)
    return read_dataset(dataset, **columns), read_candidates(pool, config, progress)


def read_candidates(path: Path, config: Config, progress: Progress) -> MaterialsDataset:
    """Read ids and crystals alone, by the campaign's column names."""
    from gpnet_ray.data.readers import read_dataset

    data = config.data
    return read_dataset(
        path,
        target=data.target,
        unit=data.unit,
        with_targets=False,
        id_column=data.id_column,
        structure_column=data.structure_column,
        global_features=config.network.global_features,
        on_bad_structure=data.on_bad_structure,
        progress=progress,
    )
