"""The oracle that the configuration asks for."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from gpnet_ray.errors import InputError
from gpnet_ray.oracles.label_folders import LabelFolders
from gpnet_ray.oracles.protocol import Oracle
from gpnet_ray.oracles.settings import OracleConfig

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["DescribedOracle", "NeedsReferences", "features_not_read", "make_oracle"]


class DescribedOracle(Oracle, Protocol):
    """An oracle that says what its labels are."""

    @property
    def label_note(self) -> str:
        """What the labels are, in plain words."""


@runtime_checkable
class NeedsReferences(Protocol):
    """An oracle whose labels need the energy of each element's reference state."""

    def missing_references(self, structures: Sequence[Structure]) -> dict[str, int]:
        """Return the elements without one, with the number of crystals that hold them."""


def features_not_read(config: OracleConfig, global_features: Sequence[str]) -> tuple[str, ...]:
    """Those global features that the labels of an oracle cannot depend on: it is not told them.

    The models of ``ionic`` and ``ase`` compute a crystal as it stands; a program gets what its arguments name.
    """
    argv = config.command.argv if config.kind == "command" else ()
    return tuple(name for name in global_features if not any(f"{{{name}}}" in a for a in argv))


def make_oracle(
    config: OracleConfig, *, unit: str, files_dir: Path, global_features: Sequence[str] = ()
) -> DescribedOracle:
    """Make and check an oracle that computes labels (all kinds but ``table``).

    Args:
        config: The section ``oracle``.
        unit: Unit of the labels, for oracles that answer in any.
        files_dir: Where labels have their folders unless the configuration names another place.
        global_features: Numbers in the ``properties`` of every crystal, for oracles that read them.

    Raises:
        InputError: the oracle cannot be set up as asked; says what to change.
    """
    folders = LabelFolders((config.files_dir or files_dir).absolute(), config.keep_files)
    if config.kind == "ionic":
        from gpnet_ray.oracles.ionic import IonicOracle

        return IonicOracle()
    if config.kind == "ase":
        if importlib.util.find_spec("ase") is None:
            raise InputError('oracle.kind ase needs the package ase: pip install "gpnet-ray[ase]"')
        from gpnet_ray.oracles.ase_oracle import AseOracle

        settings = config.ase.model_dump(exclude={"calculator"})
        return AseOracle(str(config.ase.calculator), folders=folders, **settings)
    if config.kind == "command":
        from gpnet_ray.oracles.command import CommandOracle

        settings = config.command.model_dump(exclude={"argv"})
        features = tuple(global_features)
        return CommandOracle(
            config.command.argv, unit=unit, folders=folders, global_features=features, **settings
        )
    raise InputError(
        f"oracle.kind {config.kind} computes no labels of its own; choose ionic, ase or command"
    )
