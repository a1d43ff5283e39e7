"""``gpnet-ray validate``: how good network and Gaussian process are on rows that they have not seen."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from gpnet_ray.commands import options
from gpnet_ray.commands.interrupted import INTERRUPTED
from gpnet_ray.errors import InputError

__all__ = ["validate"]


def validate(
    dataset: options.Dataset = None,
    target: Annotated[
        list[str] | None, typer.Option(help="Column to learn; repeatable, each is validated.")
    ] = None,
    unit: Annotated[
        list[str] | None, typer.Option(help='Its unit, e.g. "eV/atom"; one for every target.')
    ] = None,
    id_column: options.IdColumn = None,
    structure_column: options.StructureColumn = None,
    global_feature: options.GlobalFeatures = None,
    on_bad_structure: options.OnBadStructure = None,
    pretrained: options.Pretrained = None,
    preset: options.Preset = None,
    config: options.ConfigFile = None,
    setting: options.Settings = None,
    folds: Annotated[
        int | None,
        typer.Option(help="Folds of the cross-validation; 5 where --test is left out."),
    ] = None,
    test: Annotated[
        int | None, typer.Option(help="One split instead of folds: rows that are held out.")
    ] = None,
    train: Annotated[
        int | None, typer.Option(help="With --test: rows learned from; left out: all others.")
    ] = None,
    epochs: options.Epochs = None,
    cutoff: options.Cutoff = None,
    layer: options.LatentLayer = None,
    kernel: options.Kernel = None,
    scaling: options.Scaling = None,
    seed: options.Seed = None,
    name: Annotated[str | None, typer.Option(help="Name of the validation's folder.")] = None,
    runs_dir: Annotated[Path | None, typer.Option(help="Where run folders lie.")] = None,
    address: options.Address = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted validation.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier validation.")
    ] = False,
) -> None:
    """Cross-validate network and Gaussian process, fold by fold in parallel, without a campaign."""
    units = _units(target or [], unit or [])
    given: dict[str, Any] = {
        "retraining.when": "never",  # That is for campaigns with an oracle.
        "data.dataset": dataset,
        "data.target": next(iter(target or []), None),
        "data.unit": next(iter(unit or []), None),
        "data.id_column": id_column,
        "data.structure_column": structure_column,
        "network.global_features": global_feature,
        "data.on_bad_structure": on_bad_structure,
        "training.pretrained": pretrained,
        "training.epochs": epochs,
        "network.cutoff_angstrom": cutoff,
        "network.layer": layer,
        "gp.kernel": kernel,
        "gp.latent_scaling": scaling,
        "seed": seed,
        "name": name,
        "runs_dir": runs_dir,
        "resources.address": address,
    }
    resolved = options.resolve(given, settings=setting, preset=preset, file=config)

    from gpnet_ray.campaign import validation
    from gpnet_ray.campaign.validation_data import load_labelled
    from gpnet_ray.campaign.validation_folds import HeldOut
    from gpnet_ray.data import hypothetical_oxides
    from gpnet_ray.progress import make_progress
    from gpnet_ray.report.validation_table import validation_table

    console = Console()
    progress = make_progress(console)
    source = str(resolved.data.dataset or hypothetical_oxides.SOURCE)
    folder = validation.validation_folder(resolved, source)
    # Both asked before the dataset is read, so that the answer comes at once.
    HeldOut.chosen(folds, n_test=test, n_train=train)
    folder.check_free(resume=resume, overwrite=overwrite)
    read = load_labelled(resolved, units, progress)
    for one in read:
        progress.line(f"{len(one)} materials, {one.target}; labels: {one.label_note}")
    try:
        result = validation.validate(
            read,
            resolved,
            folds=folds,
            n_train=train,
            n_test=test,
            resume=resume,
            overwrite=overwrite,
            progress=progress,
        )
    except KeyboardInterrupt:
        print(
            f"Interrupted. Finished folds are in {folder.path}; the same command with --resume (and"
            " without --overwrite) goes on.",
            file=sys.stderr,
        )
        raise typer.Exit(INTERRUPTED) from None
    for one in result.summary["targets"]:
        console.print(validation_table(result.summary, one, width=console.width), crop=False)
    console.print(f"Predictions and summary: {result.run_dir}", soft_wrap=True, highlight=False)


def _units(targets: Sequence[str], units: Sequence[str]) -> dict[str, str]:
    """Unit by target; empty where they are left to the configuration."""
    if len(set(targets)) != len(targets):
        raise InputError(f"--target {', '.join(targets)} names one twice; name each once")
    if len(targets) < 2 and len(units) < 2:
        # One target, or none: the configuration knows what is not named here.
        return {}
    if len(units) != len(targets):
        raise InputError(
            f"{len(targets)} --target and {len(units)} --unit; give the unit of every target, in the same"
            " order"
        )
    return dict(zip(targets, units, strict=True))
