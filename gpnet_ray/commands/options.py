"""Options that several commands share, and how they become a configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer
import yaml

from gpnet_ray.config import LAYERS, Config
from gpnet_ray.config_layers import load_config, preset_names
from gpnet_ray.errors import InputError
from gpnet_ray.gp.settings import KERNELS, LATENT_SCALINGS

__all__ = [
    "Address",
    "ConfigFile",
    "Cutoff",
    "Dataset",
    "Epochs",
    "GlobalFeatures",
    "IdColumn",
    "Kernel",
    "LatentLayer",
    "Network",
    "OnBadStructure",
    "Preset",
    "Pretrained",
    "Scaling",
    "Seed",
    "Settings",
    "Storage",
    "StructureColumn",
    "Target",
    "Unit",
    "resolve",
]

Dataset: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="Parquet, CSV with a CIF column, folder with id_prop.csv, or matbench JSON."
        " Left out: embedded hypothetical oxides with an ionic model's energies.",
        show_default=False,
    ),
]
Network: TypeAlias = Annotated[
    Path,
    typer.Argument(
        help="Folder written by train or run, folder of a network, or .hdf5 written by megnet."
    ),
]
Target: TypeAlias = Annotated[str | None, typer.Option(help="Column to learn.")]
Unit: TypeAlias = Annotated[
    str | None, typer.Option(help="Its unit; eV/atom where the target is left out or so called.")
]
IdColumn: TypeAlias = Annotated[str | None, typer.Option(help="Column of the ids.")]
StructureColumn: TypeAlias = Annotated[str | None, typer.Option(help="Column of the crystals.")]
GlobalFeatures: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN",
        help="Column of a number that the network reads beside the crystal, named with its unit, e.g."
        " pressure_GPa; repeatable.",
    ),
]
OnBadStructure: TypeAlias = Annotated[str | None, typer.Option(help="skip (and report) or error.")]
Preset: TypeAlias = Annotated[
    str | None, typer.Option(help=f"Settings to start from: {', '.join(preset_names())}.")
]
ConfigFile: TypeAlias = Annotated[
    Path | None, typer.Option(help="YAML file of settings, laid over the preset.")
]
Settings: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Any setting, e.g. gp.kernel=matern32; repeatable."
    ),
]
Epochs: TypeAlias = Annotated[int | None, typer.Option(help="Epochs of the network's training.")]
Cutoff: TypeAlias = Annotated[float | None, typer.Option(help="Bond cut-off of the graphs (Å).")]
LatentLayer: TypeAlias = Annotated[
    str | None, typer.Option(help=f"Latent layer: {', '.join(LAYERS)}.")
]
Kernel: TypeAlias = Annotated[str | None, typer.Option(help=f"{', '.join(KERNELS)}.")]
Scaling: TypeAlias = Annotated[
    str | None, typer.Option(help=f"Latent scaling: {', '.join(LATENT_SCALINGS)}.")
]
Pretrained: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="Network to start training from: .hdf5 written by megnet, or a folder of ours."
        " It brings its own architecture."
    ),
]
Seed: TypeAlias = Annotated[int | None, typer.Option(help="Seed of every random choice.")]
Storage: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="URI",
        help="Second place for the run, which --resume brings it back from: a path (NFS), s3://bucket/path"
        " or gs://bucket/path.",
    ),
]
Address: TypeAlias = Annotated[
    str | None, typer.Option(help="Ray address, host:port or auto; left out: a local Ray.")
]


def resolve(
    given: Mapping[str, Any],
    *,
    settings: Sequence[str] | None,
    preset: str | None,
    file: Path | None,
) -> Config:
    """Lay options over ``--set`` over the file over the preset; options left out are ``None``.

    Raises:
        InputError: a setting that is not ``KEY=VALUE``, or what :func:`load_config` refuses.
    """
    overrides = _parse_settings(settings or [])
    overrides |= {key: value for key, value in given.items() if value is not None}
    return load_config(preset=preset, file=file, overrides=overrides)


def _parse_settings(settings: Sequence[str]) -> dict[str, Any]:
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
