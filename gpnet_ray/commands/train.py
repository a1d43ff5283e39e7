"""``gpnet-ray train``: a surrogate, without a campaign."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from gpnet_ray.commands import options
from gpnet_ray.errors import InputError
from gpnet_ray.output_place import check_new_folder

if TYPE_CHECKING:
    from gpnet_ray.campaign.run_folder import RunFolder
    from gpnet_ray.data.dataset import RejectedMaterial
    from gpnet_ray.gnn.network_state import NetworkState
    from gpnet_ray.gnn.records import EpochRecord

__all__ = ["train"]


def train(
    out: Annotated[Path, typer.Option(help="Folder for the surrogate; has to be new.")],
    dataset: Annotated[
        Path | None,
        typer.Option(
            help="Parquet, CSV with a CIF column, folder with id_prop.csv, or matbench JSON."
        ),
    ] = None,
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
    epochs: options.Epochs = None,
    cutoff: options.Cutoff = None,
    layer: options.LatentLayer = None,
    kernel: options.Kernel = None,
    scaling: options.Scaling = None,
    seed: options.Seed = None,
    address: options.Address = None,
) -> None:
    """Train a network on all rows of a dataset and fit the Gaussian process to its latents."""
    given: dict[str, Any] = {
        "retraining.when": "never",  # That is for campaigns with an oracle.
        "data.dataset": dataset,
        "data.target": target,
        "data.unit": unit,
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
        "resources.address": address,
    }
    resolved = options.resolve(given, settings=setting, preset=preset, file=config)
    if resolved.data.dataset is None:
        raise InputError("there is nothing to train on; name a dataset with --dataset")
    check_new_folder(out)

    from gpnet_ray.campaign.preparation import load_dataset
    from gpnet_ray.campaign.pretraining import with_pretrained
    from gpnet_ray.campaign.rejected import rejected_summary
    from gpnet_ray.campaign.run_folder import RunFolder
    from gpnet_ray.campaign.train import train_surrogate
    from gpnet_ray.gnn.network_state import NETWORK_FILE
    from gpnet_ray.progress import make_progress

    progress = make_progress(Console())
    # What is kept in config.yaml is what is trained, and a network that does not fit is refused at once.
    resolved, _ = with_pretrained(resolved, progress)
    read, _ = load_dataset(resolved, progress)
    folder, was_there = RunFolder(out), out.exists()
    # Before the training, which may take hours, so that it has a place.
    folder.create(resolved, overwrite=False)
    try:
        trained = train_surrogate(read, resolved, progress=progress, keep=partial(_keep, folder))
        trained.surrogate.save(out)
    except BaseException:
        if (folder.network / NETWORK_FILE).is_file():
            # Half a surrogate could not be read at all.
            folder.gp.unlink(missing_ok=True)
            folder.labelled.unlink(missing_ok=True)
            progress.line(
                f"The network was trained and lies in {folder.network}; what comes after it has failed. As it is it"
                f" predicts without σ (gpnet-ray predict {quote(str(out))} …), and training begins from it with"
                f" --pretrained {quote(str(folder.network))}"
            )
        else:
            _take_away(folder, was_there=was_there)
        raise
    state = trained.surrogate.network
    progress.line(_how_good(state))
    if trained.rejected:
        progress.line(f"{len(trained.rejected)} rejected: {rejected_summary(trained.rejected)}")
    progress.line(f"{len(trained.surrogate.ids)} labelled materials. Surrogate: {out}")


def _keep(
    folder: RunFolder,
    network: NetworkState,
    history: Sequence[EpochRecord],
    rejected: Sequence[RejectedMaterial],
) -> None:
    """Write all of a training before anything else can fail; the network last, whole or not at all."""
    from gpnet_ray.campaign.tables import history_table

    folder.write_table(folder.training_history, history_table(history), unit=network.unit)
    folder.write_rejected(rejected)
    network.save(folder.network)


def _take_away(folder: RunFolder, *, was_there: bool) -> None:
    """Remove what a training that failed has made, and nothing else."""
    for file in (folder.config, folder.training_history, folder.rejected):
        for half in (file, file.with_suffix(".tmp"), file.with_name(f"{file.name}.tmp")):
            half.unlink(missing_ok=True)
    shutil.rmtree(folder.network, ignore_errors=True)
    if not was_there:
        # What somebody else has put there stays, and does not hide why the training failed.
        with suppress(OSError):
            folder.path.rmdir()


def _how_good(state: NetworkState) -> str:
    """The error of the network that was kept, and of which epoch it is."""
    kept = state.kept
    if kept is None:
        return "The validation MAE of the network is not known"
    which = f"weights of epoch {kept.epoch}"
    if kept.epoch == 0:
        which = "no epoch was better than the network that training began from, which was kept"
    return f"Validation MAE of the network: {kept.validation_mae:.4f} {state.unit} ({which})"
