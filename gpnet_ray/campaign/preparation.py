"""From a dataset to a problem: what fits together, crystals with usable graphs, the split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from gpnet_ray.campaign.run_folder import LABEL_FILES
from gpnet_ray.config import Config, DataConfig
from gpnet_ray.data.dataset import MaterialsDataset, RejectedMaterial
from gpnet_ray.data.hypothetical_oxides import SOURCE as HYPOTHETICAL
from gpnet_ray.data.splits import Split, make_split
from gpnet_ray.errors import InputError
from gpnet_ray.gnn.global_state import StateScaling, check_has_features
from gpnet_ray.gnn.graphs import CrystalGraphs, build_graphs
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.gnn.training_set import hold_out
from gpnet_ray.oracles.factory import (
    DescribedOracle,
    NeedsReferences,
    features_not_read,
    make_oracle,
)
from gpnet_ray.oracles.ionic import IonicOracle
from gpnet_ray.oracles.protocol import Oracle
from gpnet_ray.progress import NullProgress, Progress
from gpnet_ray.seeds import derive_seed
from gpnet_ray.types import FloatArray

__all__ = [
    "Problem",
    "check_features_vary",
    "check_network",
    "check_oracle",
    "check_pool_is_large_enough",
    "check_target_is_no_feature",
    "load_dataset",
    "screen",
    "split_problem",
    "table_oracle",
    "training_seed",
    "values_of",
]


@dataclass(frozen=True)
class Problem:
    """What a campaign works on: crystals with usable graphs, and who is left out and why."""

    dataset: MaterialsDataset
    graphs: CrystalGraphs
    rejected: tuple[RejectedMaterial, ...]

    def without(self, rejected: tuple[RejectedMaterial, ...]) -> Problem:
        """The same problem less some materials."""
        gone = {r.material_id for r in rejected}
        kept = [i for i in self.dataset.ids if i not in gone]
        return Problem(
            self.dataset.select(kept), self.graphs.select(kept), self.rejected + rejected
        )


def load_dataset(
    config: Config, progress: Progress | None = None
) -> tuple[MaterialsDataset, Oracle | None]:
    """Read the configured dataset, or generate the embedded oxides, with the oracle for their labels.

    Args:
        config: Its sections ``data`` and ``oracle``.
        progress: Where progress is shown; nowhere where left out.

    Returns:
        The dataset, and the oracle that computes its labels; ``None`` where its own targets are the
        labels.

    Raises:
        DataError: the dataset cannot be used; see :func:`gpnet_ray.data.readers.read_dataset`.
        InputError: columns or global features are named, but no dataset; the oracle cannot be set up as
            configured, or has no reference energy of an element.
    """
    progress = progress or NullProgress()
    data = config.data
    kind = config.oracle.kind or ("ionic" if data.dataset is None else "table")
    if kind == "table":
        return _read(config, progress, with_targets=True), None
    oracle = _configured_oracle(config)
    if data.dataset is None:
        _check_no_columns_named(data, kind)
        check_has_features("the embedded oxides", config.network.global_features)
        from gpnet_ray.data.hypothetical_oxides import hypothetical_dataset

        dataset = hypothetical_dataset(data.hypothetical_count, seed=config.seed, progress=progress)
    else:
        dataset = _read(config, progress, with_targets=False)
    dataset = _described(dataset, oracle, config)
    _check_references(oracle, dataset)
    unread = features_not_read(config.oracle, config.network.global_features)
    if unread:
        progress.line(
            f"Warning: {dataset.label_note}: the labels do not depend on the global features {', '.join(unread)},"
            " which the oracle is not told"
        )
    return dataset, oracle


def _described(
    dataset: MaterialsDataset, oracle: DescribedOracle, config: Config
) -> MaterialsDataset:
    """The dataset with the name, unit and plain words of what the oracle computes."""
    data, ionic = config.data, oracle.name == IonicOracle.name
    note = oracle.label_note
    if data.dataset is None:
        note = dataset.label_note if ionic else f"{note}; the crystals are hypothetical"
    target = data.target if "target" in data.model_fields_set or not ionic else IonicOracle.target
    return replace(dataset, target=target, unit=data.unit, label_note=config.oracle.note or note)


def _configured_oracle(config: Config) -> DescribedOracle:
    """Make and check the oracle that the configuration names; without a kind, the ionic model.

    Raises:
        InputError: it cannot be set up as configured.
    """
    settings = config.oracle
    settings = settings if settings.kind else settings.model_copy(update={"kind": "ionic"})
    source = str(config.data.dataset or HYPOTHETICAL)
    files_dir = config.run_dir(source) / LABEL_FILES
    features = config.network.global_features
    return make_oracle(
        settings, unit=config.data.unit, files_dir=files_dir, global_features=features
    )


def _read(config: Config, progress: Progress, *, with_targets: bool) -> MaterialsDataset:
    from gpnet_ray.data.readers import read_dataset

    data = config.data
    if data.dataset is None:
        raise InputError(
            "oracle.kind table looks labels up in a dataset, and none is given; name the file with"
            " --dataset, or choose the oracle ionic, ase or command"
        )
    return read_dataset(
        data.dataset,
        target=data.target,
        unit=data.unit,
        with_targets=with_targets,
        id_column=data.id_column,
        structure_column=data.structure_column,
        global_features=config.network.global_features,
        on_bad_structure=data.on_bad_structure,
        progress=progress,
    )


def _check_no_columns_named(data: DataConfig, kind: str) -> None:
    columns = {"id_column", "structure_column"} | ({"target", "unit"} if kind == "ionic" else set())
    named = sorted(data.model_fields_set & columns)
    if named:
        raise InputError(
            f"{', '.join(named)} given without a dataset, and the embedded oxides have"
            " their own; name the file with --dataset, or leave it out"
        )


def _check_references(oracle: Oracle, dataset: MaterialsDataset) -> None:
    """Refuse crystals of elements whose reference energy is not known, before anything is computed."""
    if not isinstance(oracle, NeedsReferences):
        return
    missing = oracle.missing_references(dataset.structures)
    if missing:
        listing = ", ".join(f"{symbol} ({n} crystals)" for symbol, n in missing.items())
        raise InputError(
            f"oracle.ase.references has no energy of {listing}; add them (eV/atom, from the same"
            f" calculator), or leave these crystals out of {dataset.source}"
        )


def check_oracle(dataset: MaterialsDataset, oracle: Oracle | None, config: Config) -> None:
    """Refuse two sources of labels, labels in another unit, and an oracle that is named but not given.

    Raises:
        InputError: says which.
    """
    if oracle is None:
        if config.oracle.kind not in (None, "table"):
            raise InputError(
                f"oracle.kind is {config.oracle.kind} and no oracle is given; take dataset and oracle from"
                " load_dataset(config), or leave oracle.kind out"
            )
        return
    if dataset.targets is not None:
        raise InputError(
            f"{dataset.source} brings its own targets and the oracle {oracle.name} would compute"
            " others; leave out the oracle, or give a dataset without targets"
        )
    if oracle.unit != dataset.unit:
        raise InputError(
            f"the oracle {oracle.name} answers in {oracle.unit} and {dataset.source} is in"
            f" {dataset.unit}; give both the same unit"
        )


def check_network(network: NetworkState, dataset: MaterialsDataset, config: Config) -> None:
    """Refuse a network that was trained for something else.

    Raises:
        InputError: says what differs.
    """
    pairs = {
        "target": (network.target, dataset.target),
        "unit": (network.unit, dataset.unit),
        "network settings": (network.config, config.network),
    }
    for what, (trained, asked) in pairs.items():
        if trained != asked:
            raise InputError(
                f"the given network was trained with {what} {trained} and this campaign has {asked};"
                " give the configuration that it was trained with, or another network"
            )


def table_oracle(dataset: MaterialsDataset, config: Config) -> Oracle:
    """The oracle that looks hidden labels up in the dataset itself (the paper's way)."""
    from gpnet_ray.oracles.table import TableOracle

    if dataset.targets is None:
        raise InputError(
            f"{dataset.source} has no targets; give Campaign an oracle that computes them"
        )
    values = dict(zip(dataset.ids, dataset.targets.tolist(), strict=True))
    seed = derive_seed(config.seed, "simulated labels")
    return TableOracle(values, unit=dataset.unit, simulated=config.oracle.table, seed=seed)


def screen(dataset: MaterialsDataset, config: Config, progress: Progress) -> Problem:
    """Build the graphs and leave out materials that have none.

    Raises:
        DataError: a structure is bad and the configuration says to stop at such.
        InputError: the target is one of the global features.
    """
    check_target_is_no_feature(dataset, config)
    graphs, rejected = build_graphs(
        dataset.ids,
        dataset.structures,
        cutoff_angstrom=config.network.cutoff_angstrom,
        global_features=config.network.global_features,
        on_bad_structure=config.data.on_bad_structure,
        progress=progress,
    )
    problem = Problem(dataset, graphs, dataset.rejected)
    return problem.without(rejected) if rejected else problem


def check_target_is_no_feature(dataset: MaterialsDataset, config: Config) -> None:
    """Refuse a network that would be told what it is to learn.

    Raises:
        InputError: the target is one of the global features.
    """
    if dataset.target in config.network.global_features:
        raise InputError(
            f"network.global_features holds {dataset.target!r}, which is the target; the network would be"
            " told what it is to learn. Leave it out"
        )


def training_seed(config: Config) -> int:
    """The same for every training of a campaign, so that who is held out stays held out."""
    return derive_seed(config.seed, "network")


def check_features_vary(problem: Problem, split: Split, config: Config) -> None:
    """Refuse, before a label is bought, global features that the first training could learn nothing from.

    Raises:
        InputError: a feature is the same for all crystals that the network would be trained on.
    """
    fraction = config.training.validation_fraction
    seed, crystals = training_seed(config), problem.graphs.crystal_of()
    ids, _ = hold_out(split.train, fraction=fraction, seed=seed, crystals=crystals)
    StateScaling.fit(problem.graphs.select(ids).state, config.network.global_features)


def check_pool_is_large_enough(
    problem: Problem, config: Config, split: Split | None = None
) -> None:
    """Refuse a loop that asks for more materials than the pool has.

    Args:
        problem: The materials.
        config: Says how many train and test rows will be drawn, and how many picks made.
        split: The user's own split, where there is one.

    Raises:
        InputError: says how many are asked for and how many there are.
    """
    n_materials, selection = len(problem.dataset), config.selection
    n_train = len(split.train) if split else config.split.n_train
    n_test = len(split.test) if split else config.split.n_test
    n_pool = n_materials - n_train - n_test
    if n_pool < 1:
        raise InputError(
            f"{n_train} train and {n_test} test rows leave nothing of {n_materials} materials for the"
            " pool; lower --train or --test"
        )
    asked = selection.cycles * selection.batch_size
    if asked > n_pool:
        raise InputError(
            f"{selection.cycles} cycles of batch size {selection.batch_size} ask for {asked} materials"
            f" and the pool has {n_pool} ({n_materials} materials less {n_train} train and {n_test}"
            " test); lower --cycles or --batch-size"
        )


def split_problem(problem: Problem, config: Config) -> Split:
    """Split by ids, seeded; rows of one crystal are all test rows or none is."""
    return make_split(
        problem.dataset.ids,
        n_train=config.split.n_train,
        n_test=config.split.n_test,
        seed=config.seed,
        crystals=problem.graphs.crystal_of(),
    )


def values_of(reference: Mapping[str, float], ids: tuple[str, ...]) -> FloatArray:
    """Targets of the given ids, in their order."""
    return np.array([reference[i] for i in ids], dtype=np.float64)
