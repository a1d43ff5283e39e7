"""The labelled crystals of a validation, as the configuration names them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from gpnet_ray.campaign.preparation import load_dataset
from gpnet_ray.config import Config
from gpnet_ray.data.dataset import MaterialsDataset, RejectedMaterial
from gpnet_ray.data.readers import read_targets
from gpnet_ray.errors import InputError
from gpnet_ray.oracles.ionic import IonicOracle
from gpnet_ray.oracles.protocol import Oracle
from gpnet_ray.progress import Progress

__all__ = ["load_labelled"]


def load_labelled(
    config: Config, units: Mapping[str, str], progress: Progress
) -> tuple[MaterialsDataset, ...]:
    """Read the configured dataset, or label the embedded oxides by the ionic model.

    Args:
        config: Its ``data`` and ``oracle`` are used.
        units: The unit of every target by its column; empty: what the configuration names.
        progress: Where progress is shown.

    Returns:
        A dataset for each target, all of the same materials.

    Raises:
        DataError: the dataset cannot be used; see :func:`gpnet_ray.data.readers.read_targets`.
        InputError: an oracle that takes long would have to be asked first; the target has no unit; columns are named, but no
            dataset.
    """
    data = config.data
    if config.oracle.kind not in (None, "table", "ionic"):
        raise InputError(
            f"oracle.kind {config.oracle.kind} would have to compute every label before there is anything"
            " to validate on; name a dataset that holds them with --dataset"
        )
    if data.dataset is None or config.oracle.kind == "ionic":
        if units:
            raise InputError(
                f"targets {', '.join(units)} are named and the ionic model computes only its own; name"
                " the file that holds them with --dataset, or leave out --target"
            )
        dataset, oracle = load_dataset(config, progress)
        return (dataset if oracle is None else _labelled(dataset, oracle),)
    return read_targets(
        data.dataset,
        units=units or {data.target: config.label_unit()},
        id_column=data.id_column,
        structure_column=data.structure_column,
        global_features=config.network.global_features,
        on_bad_structure=data.on_bad_structure,
        progress=progress,
    )


def _labelled(dataset: MaterialsDataset, oracle: Oracle) -> MaterialsDataset:
    """The dataset with the labels of the ionic model; what it cannot describe is rejected."""
    outcomes = oracle.label(dataset.ids, dataset.structures)
    value_of = {o.material_id: o.value for o in outcomes if o.value is not None}
    rejected = tuple(
        RejectedMaterial(o.material_id, f"label {o.status}", o.reason, f"oracle {IonicOracle.name}")
        for o in outcomes
        if o.value is None
    )
    if not value_of:
        raise InputError(
            f"the ionic model can describe none of the crystals of {dataset.source} ({rejected[0].reason});"
            " leave out oracle.kind, or name other crystals"
        )
    kept = dataset.select(i for i in dataset.ids if i in value_of)
    targets = np.array([value_of[i] for i in kept.ids])
    return replace(kept, targets=targets, rejected=kept.rejected + rejected)
