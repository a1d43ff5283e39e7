"""What a dataset, a split and an oracle that are handed over in Python say of themselves, for the record of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gpnet_ray.config import Config, DataConfig
from gpnet_ray.data.dataset import NO_LABELS, MaterialsDataset
from gpnet_ray.data.hypothetical_oxides import LABEL_NOTE as IONIC_AND_HYPOTHETICAL
from gpnet_ray.data.splits import Split
from gpnet_ray.errors import InputError
from gpnet_ray.oracles.ionic import IonicOracle
from gpnet_ray.oracles.protocol import Oracle

__all__ = ["of_earlier_versions", "settings_of", "with_label_note"]


def with_label_note(
    dataset: MaterialsDataset, oracle: Oracle | None, config: Config
) -> MaterialsDataset:
    """The dataset with plain words of what an oracle computes, where it has none of its own.

    ``oracle.note`` of the settings comes first. What the dataset says stays otherwise, such as what
    :func:`gpnet_ray.campaign.preparation.load_dataset` wrote there.
    """
    if oracle is None:
        return dataset
    note = str(getattr(oracle, "label_note", f"what the oracle {oracle.name} answers"))
    if dataset.label_note == IONIC_AND_HYPOTHETICAL and oracle.name != IonicOracle.name:
        note = f"{note}; the crystals are hypothetical"
    elif dataset.label_note != NO_LABELS:
        note = dataset.label_note
    return replace(dataset, label_note=config.oracle.note or note)


def settings_of(config: Config, dataset: MaterialsDataset, split: Split | None = None) -> Config:
    """The settings with target and unit of the dataset, and with the numbers of rows of the user's split.

    They stand in ``config.yaml``, in the journal and in the report.

    Raises:
        InputError: one of these settings was given, and says something else.
    """
    given: dict[str, dict[str, Any]] = {"data": {"target": dataset.target, "unit": dataset.unit}}
    if dataset.target == IonicOracle.target and config.data.target == DataConfig().target:
        # Of the embedded oxides, whose target the settings of a command have never named.
        del given["data"]["target"]
    if split is not None:
        given["split"] = {"n_train": len(split.train), "n_test": len(split.test)}
    sections: dict[str, Any] = {}
    for section, values in given.items():
        asked = getattr(config, section)
        for key in sorted(values.keys() & asked.model_fields_set):
            if getattr(asked, key) != values[key]:
                whose = "split" if section == "split" else f"dataset ({dataset.source})"
                raise InputError(
                    f"{section}.{key} is {getattr(asked, key)} in the settings and {values[key]} in the given"
                    f" {whose}; leave it out of the settings, or give {section}.{key}: {values[key]}"
                )
        sections[section] = asked.model_copy(update=values)
    return config.model_copy(update=sections)


def of_earlier_versions(configured: Config, settings: Config) -> Mapping[str, Any]:
    """What earlier versions journaled, by key, of settings that :func:`settings_of` has changed."""
    then, now = configured.science(), settings.science()
    return {key: then[key] for key in then if then[key] != now[key]}
