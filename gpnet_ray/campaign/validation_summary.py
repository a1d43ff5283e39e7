"""What the folds of a validation say together: every metric, its mean and its standard deviation."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpnet_ray.campaign.validation_folder import FoldRecord
from gpnet_ray.data.dataset import MaterialsDataset
from gpnet_ray.evaluation.uncertainty import metric_units, prediction_metrics
from gpnet_ray.gp.recalibration import Recalibration

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["NETWORK_MAE", "target_summary"]

NETWORK_MAE = "network_mae"
"""The error of the network's own output, beside the metrics of the Gaussian process."""

OF_ALL_LEVELS = (
    "miscalibration_area",
    "rms_calibration_error",
    "mean_absolute_calibration_error",
)


def target_summary(
    dataset: MaterialsDataset, records: Sequence[FoldRecord], tables: Sequence[pa.Table]
) -> dict[str, Any]:
    """Sum up the folds of one target; numbers that are not defined are ``None``.

    ``mean`` and ``std`` (k − 1 degrees of freedom; ``None`` for one split) are over the folds, each of which
    counts once; ``all_rows`` takes all held-out rows together. There calibration over all levels is not
    defined for several folds, each of which has its own recalibration.

    Args:
        dataset: Says what the labels are.
        records: How the k folds went.
        tables: What they predict, in the same order.
    """
    recalibrations = [Recalibration.from_json(record.recalibration) for record in records]
    of_fold = [_metrics(*pair) for pair in zip(tables, recalibrations, strict=True)]
    names = list(of_fold[0])
    values = {name: np.array([fold[name] for fold in of_fold]) for name in names}
    all_rows = of_fold[0]
    if len(records) > 1:
        all_rows = _metrics(_concatenated(tables), None) | dict.fromkeys(OF_ALL_LEVELS, math.nan)
    return {
        "target": dataset.target,
        "unit": dataset.unit,
        "units": {**metric_units(dataset.unit), NETWORK_MAE: dataset.unit},
        "label_note": dataset.label_note,
        "mean": _plain({name: values[name].mean() for name in names}),
        "std": _plain({name: _std(values[name]) for name in names}),
        "all_rows": _plain(all_rows),
        "folds": [
            {**_described(record), "metrics": _plain(metrics)}
            for record, metrics in zip(records, of_fold, strict=True)
        ],
    }


def _metrics(table: pa.Table, recalibration: Recalibration | None) -> dict[str, float]:
    columns = {
        name: table.column(name).to_numpy()
        for name in ("label", "mean", "sigma", "network_prediction")
    }
    metrics = prediction_metrics(columns["label"], columns["mean"], columns["sigma"], recalibration)
    network = np.abs(columns["label"] - columns["network_prediction"]).mean()
    return {**dataclasses.asdict(metrics), NETWORK_MAE: float(network)}


def _concatenated(tables: Sequence[pa.Table]) -> pa.Table:
    import pyarrow as pa

    return pa.concat_tables(tables)


def _std(values: np.ndarray[Any, Any]) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else math.nan


def _described(record: FoldRecord) -> dict[str, Any]:
    described = dataclasses.asdict(record)
    left_out = ("target", "file", "sha256")
    return {key: value for key, value in described.items() if key not in left_out}


def _plain(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: float(v) if math.isfinite(v) else None for name, v in values.items()}
