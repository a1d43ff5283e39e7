"""What a dataset, a split and an oracle that are handed over in Python say of themselves, for the record of the run."""

from __future__ import annotations

from dataclasses import replace

from gpnet_ray.config import Config
from gpnet_ray.data.dataset import NO_LABELS, MaterialsDataset
from gpnet_ray.data.hypothetical_oxides import LABEL_NOTE as IONIC_AND_HYPOTHETICAL
from gpnet_ray.oracles.ionic import IonicOracle
from gpnet_ray.oracles.protocol import Oracle

__all__ = ["with_label_note"]


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
