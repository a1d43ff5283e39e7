"""Settings of the oracles: the section ``oracle`` of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, model_validator

from gpnet_ray.config_section import Count, NotNegative, Positive, Section
from gpnet_ray.data.structure_files import StructureFormat

__all__ = [
    "AseConfig",
    "CommandConfig",
    "KeepFiles",
    "OracleConfig",
    "OracleKind",
    "Relaxation",
    "TableConfig",
]

OracleKind: TypeAlias = Literal["table", "ionic", "ase", "command"]
KeepFiles: TypeAlias = Literal["on-failure", "always", "never"]
Relaxation: TypeAlias = Literal["none", "positions", "cell"]

Finite = Annotated[float, Field(allow_inf_nan=False)]


class TableConfig(Section):
    """Labels from the dataset itself; they can be made to take time and to fail, as real ones do."""

    mean_seconds: NotNegative = 0.0
    """Mean of the simulated duration of a label (s)."""
    std_seconds: NotNegative = 0.0
    """Standard deviation of the simulated durations (s), which are log-normal."""
    failure_rate: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of materials whose label fails."""

    @model_validator(mode="after")
    def _durations_have_a_mean(self) -> TableConfig:
        if self.std_seconds and not self.mean_seconds:
            raise ValueError(
                f"std_seconds is {self.std_seconds:g} and mean_seconds is 0; give the mean too"
            )
        return self


class AseConfig(Section):
    """A calculator of the Atomic Simulation Environment."""

    calculator: str | None = None
    """Import path ``module:Class``, such as ``ase.calculators.emt:EMT``."""
    keywords: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the calculator. A value ``{object: module:Class, keywords: {...}}`` stands for an
    object that is made from them, such as ``ase.calculators.espresso:EspressoProfile``."""
    references: dict[str, Finite] = Field(default_factory=dict)
    """Energy of each element's reference state (eV/atom), from the same calculator and settings."""
    relax: Relaxation = "none"
    """``positions``: the atoms move; ``cell``: the cell too."""
    optimizer: str = "BFGS"
    """Name in ``ase.optimize``."""
    force_tolerance_ev_per_angstrom: Positive = 0.05
    max_steps: Count = 200
    """A relaxation that needs more is unconverged."""
    reuse_calculator: bool = False
    """One calculator for all labels of a labeller, for those that take long to load (learned
    potentials); otherwise each label has a fresh one."""

    @model_validator(mode="after")
    def _calculator_is_a_path(self) -> AseConfig:
        if self.calculator is not None and self.calculator.count(":") != 1:
            raise ValueError(
                f"calculator {self.calculator!r} is no import path module:Class, such as"
                " ase.calculators.emt:EMT"
            )
        return self


class CommandConfig(Section):
    """A program of the user's own, run once a label."""

    argv: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Program and arguments; no shell reads them. ``{structure}`` stands for the structure file,
    ``{id}`` for the material's id, ``{start_dir}`` for the folder in which the campaign was started,
    ``{NAME}`` for the crystal's number of a global feature."""
    structure_format: StructureFormat = "poscar"
    answer_file: Annotated[str, Field(pattern=r"^[^/\\]+$")] | None = None
    """File in the label's folder that the program writes its answer to; ``null``: the last line of
    its standard output."""
    time_limit_seconds: Positive = 86_400.0
    """When it is over, the program and all that it started are killed and the label has failed."""

    @model_validator(mode="after")
    def _structure_is_handed_over(self) -> CommandConfig:
        if self.argv and not any("{structure}" in argument for argument in self.argv):
            raise ValueError(
                f"none of the arguments {list(self.argv)} holds {{structure}}, where the name of the"
                " structure file is put in; add it"
            )
        return self


class OracleConfig(Section):
    """Where labels come from."""

    kind: OracleKind | None = None
    """``null``: the dataset's own targets; for the embedded oxides the ionic model."""
    note: str | None = None
    """What the labels are, in plain words, for the report; ``null``: the oracle's own words."""
    files_dir: Path | None = None
    """Where each label has a folder of its own for its files; ``null``: in the run's folder."""
    keep_files: KeepFiles = "on-failure"
    table: TableConfig = TableConfig()
    ase: AseConfig = AseConfig()
    command: CommandConfig = CommandConfig()

    @model_validator(mode="after")
    def _kind_has_what_it_needs(self) -> OracleConfig:
        if self.kind == "ase" and self.ase.calculator is None:
            raise ValueError("kind ase needs ase.calculator, such as ase.calculators.emt:EMT")
        if self.kind == "command" and not self.command.argv:
            raise ValueError('kind command needs command.argv, such as ["label.py", "{structure}"]')
        return self
