"""The command line: each command parses, calls and prints; the science is elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.table import Table

from gpnet_ray import __version__
from gpnet_ray.config import (
    KERNELS,
    LATENT_SCALINGS,
    LAYERS,
    STRATEGIES,
    Config,
    load_config,
    preset_names,
)
from gpnet_ray.errors import GpnetError, InputError

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Active learning for materials on Ray: MEGNet latents, an exact Gaussian process, and the"
    " max-σ material labelled next.",
)

INTERRUPTED = 130
"""Exit code of a program that was stopped by Ctrl-C, as shells have it."""


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gpnet-ray {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Hold the options that stand before a command."""


@app.command()
def run(
    dataset: Annotated[
        Path | None,
        typer.Option(
            help="Parquet, CSV with a CIF column, folder with id_prop.csv, or matbench JSON."
            " Left out: embedded hypothetical oxides with an ionic model's energies.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[str | None, typer.Option(help="Column to learn.")] = None,
    unit: Annotated[str | None, typer.Option(help='Its unit, e.g. "eV/atom".')] = None,
    id_column: Annotated[str | None, typer.Option(help="Column of the ids.")] = None,
    structure_column: Annotated[str | None, typer.Option(help="Column of the crystals.")] = None,
    on_bad_structure: Annotated[
        str | None, typer.Option(help="skip (and report) or error.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help=f"Settings to start from: {', '.join(preset_names())}.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file of settings, laid over the preset.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Any setting, e.g. gp.kernel=matern32; repeatable."
        ),
    ] = None,
    train: Annotated[int | None, typer.Option(help="Materials labelled at the start.")] = None,
    test: Annotated[int | None, typer.Option(help="Materials that only measure the error.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of the network's training.")] = None,
    cutoff: Annotated[float | None, typer.Option(help="Bond cut-off of the graphs (Å).")] = None,
    layer: Annotated[str | None, typer.Option(help=f"Latent layer: {', '.join(LAYERS)}.")] = None,
    kernel: Annotated[str | None, typer.Option(help=f"{', '.join(KERNELS)}.")] = None,
    scaling: Annotated[
        str | None, typer.Option(help=f"Latent scaling: {', '.join(LATENT_SCALINGS)}.")
    ] = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(STRATEGIES)}; repeatable, each is one arm."),
    ] = None,
    cycles: Annotated[int | None, typer.Option(help="Cycles of every arm.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Labels bought a cycle.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every random choice.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run's folder.")] = None,
    runs_dir: Annotated[Path | None, typer.Option(help="Where run folders lie.")] = None,
    address: Annotated[
        str | None, typer.Option(help="Ray address, host:port or auto; left out: a local Ray.")
    ] = None,
    shards: Annotated[int | None, typer.Option(help="Actors that score the pool.")] = None,
    labellers: Annotated[int | None, typer.Option(help="Actors that ask the oracle.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted run.")
    ] = False,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="With --resume: ask again for labels that failed."),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run.")] = False,
) -> None:
    """Run a whole campaign: train, featurise, fit the GP, run every strategy's cycles, report."""
    given: dict[str, Any] = {
        "data.dataset": dataset,
        "data.target": target,
        "data.unit": unit,
        "data.id_column": id_column,
        "data.structure_column": structure_column,
        "data.on_bad_structure": on_bad_structure,
        "split.n_train": train,
        "split.n_test": test,
        "training.epochs": epochs,
        "network.cutoff_angstrom": cutoff,
        "network.layer": layer,
        "gp.kernel": kernel,
        "gp.latent_scaling": scaling,
        "selection.strategies": strategy,
        "selection.cycles": cycles,
        "selection.batch_size": batch_size,
        "seed": seed,
        "name": name,
        "runs_dir": runs_dir,
        "resources.address": address,
        "resources.shards": shards,
        "resources.labellers": labellers,
    }
    overrides = _parse_settings(setting or [])
    overrides |= {key: value for key, value in given.items() if value is not None}
    resolved = load_config(preset=preset, file=config, overrides=overrides)
    _run(resolved, resume=resume, overwrite=overwrite, retry_failed=retry_failed)


def _run(config: Config, *, resume: bool, overwrite: bool, retry_failed: bool) -> None:
    from gpnet_ray.campaign.campaign import Campaign
    from gpnet_ray.campaign.preparation import load_dataset
    from gpnet_ray.campaign.run_folder import RunFolder
    from gpnet_ray.data import hypothetical_oxides
    from gpnet_ray.progress import make_progress
    from gpnet_ray.report.table import summary_table

    console = Console()
    progress = make_progress(console)
    source = hypothetical_oxides.SOURCE if config.data.dataset is None else config.data.dataset
    # Asked before the dataset is read, so that the answer comes at once.
    RunFolder(config.run_dir(str(source))).check_free(resume=resume, overwrite=overwrite)
    dataset, oracle = load_dataset(config, progress)
    progress.line(f"{len(dataset)} materials from {dataset.source}; labels: {dataset.label_note}")
    campaign = Campaign(dataset, config, oracle=oracle, progress=progress)
    try:
        result = campaign.run(resume=resume, overwrite=overwrite, retry_failed=retry_failed)
    except KeyboardInterrupt:
        folder = config.run_dir(dataset.source)
        print(
            f"Interrupted. Labels and cycles so far are in {folder}; the same command with --resume"
            " (and without --overwrite) goes on.",
            file=sys.stderr,
        )
        raise typer.Exit(INTERRUPTED) from None
    _show_result(console, summary_table(result.summary), result.report)


@app.command()
def report(
    run_dir: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
) -> None:
    """Draw the report of a run again from its tables."""
    from gpnet_ray.report.page import write_report
    from gpnet_ray.report.summary import build_summary
    from gpnet_ray.report.table import summary_table

    page = write_report(run_dir)
    _show_result(Console(), summary_table(build_summary(run_dir)), page)


def _show_result(console: Console, table: Table, report: Path) -> None:
    console.print(table)
    console.print(f"Report: {report}", soft_wrap=True, highlight=False)


def _parse_settings(settings: list[str]) -> dict[str, Any]:
    """Read ``key=value`` settings; values are YAML, as in a configuration file."""
    parsed = {}
    for setting in settings:
        key, separator, value = setting.partition("=")
        if not (separator and key):
            raise InputError(f"--set {setting!r} is not KEY=VALUE, for example gp.kernel=matern32")
        try:
            parsed[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InputError(f"--set {setting!r}: the value is not YAML: {error}") from None
    return parsed


def main() -> None:
    """Run the command line; errors that the program foresaw are one message and an exit code."""
    try:
        app()
    except GpnetError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
