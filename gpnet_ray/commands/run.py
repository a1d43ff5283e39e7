"""``gpnet-ray run``: a whole campaign."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from gpnet_ray.commands import options
from gpnet_ray.commands.interrupted import INTERRUPTED, say_interrupted
from gpnet_ray.commands.repeat import repeat_run
from gpnet_ray.commands.report import show_result
from gpnet_ray.config import STRATEGIES, Config
from gpnet_ray.errors import InputError

__all__ = ["run"]


def run(
    dataset: options.Dataset = None,
    target: options.Target = None,
    unit: options.Unit = None,
    id_column: options.IdColumn = None,
    structure_column: options.StructureColumn = None,
    global_feature: options.GlobalFeatures = None,
    on_bad_structure: options.OnBadStructure = None,
    pretrained: options.Pretrained = None,
    preset: options.Preset = None,
    config: options.ConfigFile = None,
    setting: options.Settings = None,
    train: Annotated[int | None, typer.Option(help="Materials labelled at the start.")] = None,
    test: Annotated[int | None, typer.Option(help="Materials that only measure the error.")] = None,
    epochs: options.Epochs = None,
    cutoff: options.Cutoff = None,
    layer: options.LatentLayer = None,
    kernel: options.Kernel = None,
    scaling: options.Scaling = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(STRATEGIES)}; repeatable, each is one arm."),
    ] = None,
    cycles: Annotated[int | None, typer.Option(help="Cycles of every arm.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Labels bought a cycle.")] = None,
    retrain: Annotated[
        str | None,
        typer.Option(
            metavar="never|end|K",
            help="When an arm trains the network again on all its labels: never, after the last cycle,"
            " or every K labels.",
        ),
    ] = None,
    retrain_start: Annotated[
        str | None,
        typer.Option(help="scratch, or warm: from the weights of the arm's last network."),
    ] = None,
    seed: options.Seed = None,
    name: Annotated[str | None, typer.Option(help="Name of the run's folder.")] = None,
    runs_dir: Annotated[Path | None, typer.Option(help="Where run folders lie.")] = None,
    storage: options.Storage = None,
    address: options.Address = None,
    shards: Annotated[int | None, typer.Option(help="Actors that score the pool.")] = None,
    labellers: Annotated[int | None, typer.Option(help="Actors that ask the oracle.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted run.")
    ] = False,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed", help="With --resume: ask again for picks whose label failed."
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run.")] = False,
    repeats: Annotated[
        int | None,
        typer.Option(
            help="Run with so many seeds, SEED, SEED + 1, …, and compare the arms over them."
        ),
    ] = None,
) -> None:
    """Run a whole campaign: train, featurise, fit the GP, run every strategy's cycles, report."""
    given: dict[str, Any] = {
        "data.dataset": dataset,
        "data.target": target,
        "data.unit": unit,
        "data.id_column": id_column,
        "data.structure_column": structure_column,
        "network.global_features": global_feature,
        "data.on_bad_structure": on_bad_structure,
        "split.n_train": train,
        "split.n_test": test,
        "training.pretrained": pretrained,
        "training.epochs": epochs,
        "network.cutoff_angstrom": cutoff,
        "network.layer": layer,
        "gp.kernel": kernel,
        "gp.latent_scaling": scaling,
        "selection.strategies": strategy,
        "selection.cycles": cycles,
        "selection.batch_size": batch_size,
        **_retraining(retrain),
        "retraining.start": retrain_start,
        "seed": seed,
        "name": name,
        "runs_dir": runs_dir,
        "storage.uri": storage,
        "resources.address": address,
        "resources.shards": shards,
        "resources.labellers": labellers,
    }
    resolved = options.resolve(given, settings=setting, preset=preset, file=config)
    if repeats is None:
        _run(resolved, resume=resume, overwrite=overwrite, retry_failed=retry_failed)
        return
    try:
        repeat_run(
            resolved,
            repeats=repeats,
            resume=resume,
            overwrite=overwrite,
            retry_failed=retry_failed,
        )
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _retraining(text: str | None) -> dict[str, Any]:
    """Settings for ``never``, ``end`` or a number of labels."""
    if text is not None and text.isdigit():
        return {"retraining.when": "every", "retraining.every_labels": int(text)}
    if text not in (None, "never", "end"):
        raise InputError(
            f"--retrain {text!r} is neither never nor end nor a number of labels; give one of them"
        )
    return {"retraining.when": text}


def _run(config: Config, *, resume: bool, overwrite: bool, retry_failed: bool) -> None:
    from gpnet_ray.campaign.campaign import Campaign
    from gpnet_ray.campaign.preparation import load_dataset
    from gpnet_ray.campaign.run_folder import RunFolder
    from gpnet_ray.campaign.storage import check_free
    from gpnet_ray.data import hypothetical_oxides
    from gpnet_ray.progress import make_progress

    console = Console()
    progress = make_progress(console)
    source = hypothetical_oxides.SOURCE if config.data.dataset is None else config.data.dataset
    # Asked before the dataset is read, so that the answer comes at once.
    folder = RunFolder(config.run_dir(str(source)))
    check_free(folder, config, resume=resume, overwrite=overwrite)
    dataset, oracle = load_dataset(config, progress)
    progress.line(f"{len(dataset)} materials from {dataset.source}; labels: {dataset.label_note}")
    campaign = Campaign(dataset, config, oracle=oracle, progress=progress)
    try:
        result = campaign.run(resume=resume, overwrite=overwrite, retry_failed=retry_failed)
    except KeyboardInterrupt:
        say_interrupted(folder.path, has_begun=folder.journal.is_file())
        raise typer.Exit(INTERRUPTED) from None
    show_result(console, result.summary, result.report)
