"""The one validated configuration tree: what a run does, before it does anything.

Every setting has its unit in its name or its description. :mod:`gpnet_ray.config_layers` reads it from presets,
files and options.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator

from gpnet_ray.actors.settings import ResourcesConfig
from gpnet_ray.config_section import Count, Fraction, NotNegative, Positive, Section
from gpnet_ray.errors import InputError
from gpnet_ray.gp.settings import GpConfig
from gpnet_ray.oracles.settings import OracleConfig
from gpnet_ray.storage.settings import StorageConfig

__all__ = [
    "LAYERS",
    "STRATEGIES",
    "Config",
    "DataConfig",
    "LabelsConfig",
    "NetworkConfig",
    "RetrainingConfig",
    "SelectionConfig",
    "SplitConfig",
    "TrainingConfig",
]

Layer: TypeAlias = Literal["readout_0", "readout_1", "concatenate", "set2set_atom", "set2set_bond"]
Strategy: TypeAlias = Literal["max-sigma", "random", "top-k", "distance"]

COLUMNS_OF_OURS: Final = frozenset(
    {
        *("material_id", "structure", "formula", "sigma", "predicted", "request"),
        *("unit", "file", "value", "status", "reason"),
        *("id", "start_dir"),
    }
)
"""Of the tables in which a column of the dataset may stand beside ours, and what stands for something else among the
arguments of the oracle ``command``."""

LAYERS: tuple[Layer, ...] = (
    "readout_0",
    "readout_1",
    "concatenate",
    "set2set_atom",
    "set2set_bond",
)
STRATEGIES: tuple[Strategy, ...] = ("max-sigma", "random", "top-k", "distance")


class DataConfig(Section):
    """Where crystals and targets come from; without ``dataset``, the embedded hypothetical oxides."""

    dataset: Path | None = None
    target: str = "formation_energy_per_atom"
    unit: str = "eV/atom"
    id_column: str = "material_id"
    structure_column: str = "structure"
    on_bad_structure: Literal["skip", "error"] = "skip"
    hypothetical_count: Count = 2000
    """How many embedded hypothetical oxides to generate when no dataset is given."""
    label_pool_beforehand: bool | None = None
    """Whether an oracle computes the pool's labels before the loop, to measure the error on what is
    not yet labelled; ``null``: only those of the ionic model, which cost nothing."""


class SplitConfig(Section):
    """How many materials start labelled and how many only measure the error; the rest is the pool."""

    n_train: Annotated[int, Field(ge=10)] = 500
    n_test: Annotated[int, Field(ge=2)] = 400


class NetworkConfig(Section):
    """Architecture of the MEGNet (Chen et al., Chem. Mater. 31, 3564 (2019), doi:10.1021/acs.chemmater.9b01294)."""

    cutoff_angstrom: Positive = 4.0
    n_gaussians: Annotated[int, Field(ge=2)] = 100
    gaussian_width_angstrom: Positive = 0.5
    n_blocks: Count = 3
    n1: Count = 64
    n2: Count = 32
    n3: Count = 16
    set2set_passes: Count = 3
    embedding_dim: Count = 16
    global_features: tuple[str, ...] = ()
    """Names, with their units, of numbers that describe a whole crystal, such as ``pressure_GPa``: columns of the
    dataset, which the network reads beside atoms and bonds. Without any it reads megnet's two zeros."""
    layer: Layer = "readout_0"
    """Whose activations are the latent vectors: the dense layers behind the pooling, ``readout_0`` (``n2``
    numbers) and ``readout_1`` (``n3``), what they read, ``concatenate`` (4 ``n3`` + ``n2``), or the pooled
    atoms and bonds in it, ``set2set_atom`` and ``set2set_bond`` (2 ``n3`` each)."""

    @field_validator("global_features")
    @classmethod
    def _features_are_distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value) or not all(value):
            raise ValueError(f"global features {list(value)}: give each a name of its own")
        taken = [name for name in value if name.lower() in COLUMNS_OF_OURS]
        if taken:
            raise ValueError(
                f"global feature {taken[0]!r}: the name stands for something else in the tables of this program or"
                " among an oracle's arguments; rename the column of the dataset"
            )
        return value

    def content(self, *, exclude: set[str] | None = None) -> dict[str, Any]:
        """The settings as JSON, to be kept and hashed: global features only where there are any.

        So networks and runs from before there were global features keep their hashes.
        """
        left_out = set() if self.global_features else {"global_features"}
        return self.model_dump(mode="json", exclude=left_out | (exclude or set()))


class TrainingConfig(Section):
    """One-cycle training of the network."""

    epochs: Count = 80
    loss: Literal["mse", "mae"] = "mse"
    """Mean squared or mean absolute error of the scaled target."""
    batch_size: Count = 32
    peak_learning_rate: Positive = 2e-3
    warmup_fraction: Fraction = 0.2
    final_learning_rate_ratio: Positive = 1e-3
    gradient_clip_norm: Positive = 5.0
    validation_fraction: Fraction = 0.1
    """Share of the train rows that is held out; the weights that are best on it are kept."""
    patience_epochs: Count | None = None
    """Training stops after so many epochs without a smaller validation MAE; ``null``: never early."""
    pretrained: Path | None = None
    """Network to start from: an ``.hdf5`` file that megnet wrote, or a folder of ours. It brings its own
    architecture."""
    freeze_atom_embeddings: bool = False
    """Whether the atom embeddings of the network that training starts from stay as they are."""
    checkpoint_every_epochs: Count = 10
    """How often the state of the training is written to disk, for ``--resume``."""


class SelectionConfig(Section):
    """The active-learning loop."""

    strategies: tuple[Strategy, ...] = ("max-sigma", "random")
    cycles: Count = 300
    batch_size: Count = 1
    distance_cutoff: Positive | None = None
    """Smallest distance in the scaled latent space between two picks of a batch (``distance``)."""
    distance_cutoff_fraction: Positive = 0.1
    """The cut-off as a share of the kernel's length scale, where ``distance_cutoff`` is ``null``.

    A fitted length scale may be far larger than the pool (docs/selection.md): then no batch keeps this distance.
    """

    max_failed_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """A strategy stops with an error when more of its picks than this share could not be labelled."""

    @model_validator(mode="after")
    def _strategies_are_distinct(self) -> SelectionConfig:
        if not self.strategies:
            raise ValueError(f"name at least one strategy. Valid: {', '.join(STRATEGIES)}")
        if len(set(self.strategies)) != len(self.strategies):
            raise ValueError(f"strategies {list(self.strategies)} name one twice; name each once")
        return self


class RetrainingConfig(Section):
    """Training the network again on all labels that an arm has, its latents and GP made anew after it."""

    when: Literal["never", "end", "every"] = "end"
    """``end``: after the last cycle, as the paper does; ``every``: each time that an arm has bought
    ``every_labels`` more, and after the last cycle where labels have come since."""
    every_labels: Count = 500
    start: Literal["scratch", "warm"] = "scratch"
    """From weights drawn anew, or from those of the arm's last network."""
    epochs: Count | None = None
    """``null``: as many as ``training.epochs``."""
    peak_learning_rate: Positive | None = None
    """``null``: that of ``training``."""


class LabelsConfig(Section):
    """How the oracle is asked, and what happens when it raises, dies, hangs or finds no label.

    None of this is part of what a run is of: a resumed run may be given other values.
    """

    tries: Count = 3
    """How often a material is tried whose oracle raised or died, before it is set aside as failed."""
    retry_statuses: tuple[Literal["failed", "unconverged"], ...] = ()
    """What the oracle itself answers (or a time limit makes of it) and is tried again all the same."""
    backoff_seconds: NotNegative = 1.0
    """Pause before the second try; it doubles before every further one."""
    longest_backoff_seconds: NotNegative = 60.0
    time_limit_seconds: Positive | None = None
    """How long a label may take; then its labeller is killed and the label has failed; ``null``: as long
    as it takes."""
    ahead_per_labeller: Count = 2
    """How many labels of later cycles may be bought while an earlier one is pending: when the earlier
    one fails, the loop picks others and may never need them."""


_ORACLE_UPKEEP: Final[dict[str, Any]] = {
    "note": True,
    "files_dir": True,
    "keep_files": True,
    "table": {"mean_seconds", "std_seconds"},
    "command": {"time_limit_seconds"},
}
"""Settings of the oracle that change no label, so that a resumed run may be given others."""


class Config(Section):
    """Everything that a run depends on."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] | None = None
    """Name of the run's folder; ``null``: the dataset's file name."""
    runs_dir: Path = Path("runs")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    data: DataConfig = DataConfig()
    split: SplitConfig = SplitConfig()
    network: NetworkConfig = NetworkConfig()
    training: TrainingConfig = TrainingConfig()
    gp: GpConfig = GpConfig()
    selection: SelectionConfig = SelectionConfig()
    retraining: RetrainingConfig = RetrainingConfig()
    oracle: OracleConfig = OracleConfig()
    labels: LabelsConfig = LabelsConfig()
    resources: ResourcesConfig = ResourcesConfig()
    storage: StorageConfig = StorageConfig()

    @model_validator(mode="after")
    def _embeddings_have_a_source(self) -> Config:
        again = self.retraining
        if self.training.freeze_atom_embeddings and (again.when, again.start) in (
            ("end", "scratch"),
            ("every", "scratch"),
        ):
            raise ValueError(
                "training.freeze_atom_embeddings keeps what training starts from, and retraining.start"
                " 'scratch' starts from nothing; set retraining.start to warm, retraining.when to never, or"
                " let the embeddings move"
            )
        return self

    def run_dir(self, source: str) -> Path:
        """The run's own folder, named after the source of its data where it has no name.

        >>> Config().run_dir("data/oxides.json.gz").as_posix()
        'runs/oxides'
        """
        stem = Path(source).resolve().name.split(".")[0]
        own_name = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")
        if not (self.name or own_name):
            raise InputError(f"no run can be named after {source!r}; give it a name with --name")
        return self.runs_dir / (self.name or own_name)

    def science(self) -> dict[str, Any]:
        """All settings that can change a number, by dotted key: no folders, no resources."""
        content = self.model_dump(
            mode="json",
            exclude={
                "name": True,
                "runs_dir": True,
                "network": True,
                "labels": True,
                "resources": True,
                "storage": True,
                "data": {"dataset"},
                "oracle": _ORACLE_UPKEEP,
                "training": {"checkpoint_every_epochs", "pretrained"},
            },
        )
        content["network"] = self.network.content()
        sections = {key: value for key, value in content.items() if isinstance(value, dict)}
        flat = {key: value for key, value in content.items() if key not in sections}
        for section, fields in sections.items():
            flat |= {f"{section}.{key}": value for key, value in fields.items()}
        return flat
