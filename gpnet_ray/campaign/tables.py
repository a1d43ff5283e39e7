"""Arrow tables of a run: what the Parquet files of the run folder hold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from gpnet_ray.campaign.arm_record import ArmResult
from gpnet_ray.campaign.stages import Latents
from gpnet_ray.data.splits import Split
from gpnet_ray.latent_columns import latent_column, latent_matrix
from gpnet_ray.types import FloatArray

if TYPE_CHECKING:
    from gpnet_ray.gnn.records import EpochRecord

__all__ = [
    "history_table",
    "latents_from_table",
    "latents_table",
    "materials_table",
    "metrics_table",
    "network_of_latents",
    "picks_table",
    "predictions_table",
    "reference_table",
    "retrainings_table",
]

METRICS = ("mae", "rmse", "r2", "coverage_2sigma")
NETWORK = b"network"
"""Under this key the metadata of latents have the fingerprint of the network that made them."""


def history_table(history: Iterable[EpochRecord]) -> pa.Table:
    """One row an epoch; MAE in the target's unit, seconds of wall time."""
    schema = pa.schema(
        [
            ("epoch", pa.int64()),
            ("learning_rate", pa.float64()),
            ("train_mae", pa.float64()),
            ("validation_mae", pa.float64()),
            ("seconds", pa.float64()),
        ]
    )
    return pa.Table.from_pylist([asdict(record) for record in history], schema=schema)


def reference_table(values: Mapping[str, float]) -> pa.Table:
    """The true target of every material, where it is known beforehand."""
    return pa.table({"material_id": list(values), "target": list(values.values())})


def materials_table(
    split: Split, formula_of: Mapping[str, str], targets: Mapping[str, float]
) -> pa.Table:
    """One row a material: formula, part of the split, and the true target where it is known beforehand."""
    parts = (("train", split.train), ("pool", split.pool), ("test", split.test))
    rows = [(i, formula_of[i], part, targets.get(i)) for part, ids in parts for i in ids]
    ids, formulas, part, target = zip(*rows, strict=True)
    return pa.table(
        {
            "material_id": pa.array(ids, pa.string()),
            "formula": pa.array(formulas, pa.string()),
            "part": pa.array(part, pa.string()),
            "target": pa.array(target, pa.float64()),
        }
    )


def latents_table(latents: Latents, *, network: str | None = None) -> pa.Table:
    """One row a material: latent vector (float32) and the network's own prediction.

    ``network``: the fingerprint of the network that made them, which goes into the metadata.
    """
    return pa.table(
        {
            "material_id": list(latents.ids),
            "latent": latent_column(latents.latents),
            "network_prediction": latents.predictions,
        },
        metadata=None if network is None else {NETWORK: network.encode()},
    )


def latents_from_table(table: pa.Table) -> Latents:
    """The reverse of :func:`latents_table`."""
    return Latents(
        ids=tuple(table.column("material_id").to_pylist()),
        latents=latent_matrix(table.column("latent")),
        predictions=table.column("network_prediction").to_numpy().astype(np.float64),
    )


def network_of_latents(table: pa.Table) -> str | None:
    """Fingerprint of the network that made latents; ``None`` in files from before it was kept."""
    fingerprint = (table.schema.metadata or {}).get(NETWORK)
    return None if fingerprint is None else fingerprint.decode()


def metrics_table(arms: Iterable[ArmResult]) -> pa.Table:
    """One row an arm and cycle; cycle 0 is before the loop. Unknown values are null.

    A cycle after which the network was trained again has a row with each of the two.
    """
    schema = pa.schema(
        [
            ("strategy", pa.string()),
            ("cycle", pa.int64()),
            ("network", pa.int64()),
            ("n_labelled", pa.int64()),
            ("n_unlabelled", pa.int64()),
            *((f"test_{name}", pa.float64()) for name in METRICS),
            *((f"unlabelled_{name}", pa.float64()) for name in METRICS),
        ]
    )
    rows = []
    for arm in arms:
        for point, place in enumerate(arm.curve):
            row: dict[str, Any] = {
                "strategy": arm.strategy,
                **asdict(place),
                "n_unlabelled": None if arm.n_unlabelled is None else arm.n_unlabelled[point],
            }
            for measure, values in (("test", arm.test), ("unlabelled", arm.unlabelled)):
                for name in METRICS:
                    number = None if values is None else float(values[name][point])
                    row[f"{measure}_{name}"] = (
                        None if number is None or math.isnan(number) else number
                    )
            rows.append(row)
    return pa.Table.from_pylist(rows, schema=schema)


def picks_table(arms: Iterable[ArmResult], formula_of: Mapping[str, str]) -> pa.Table:
    """One row a pick, in the order of picking; a failed pick has no label and its reason."""
    schema = pa.schema(
        [
            ("strategy", pa.string()),
            ("cycle", pa.int64()),
            ("material_id", pa.string()),
            ("formula", pa.string()),
            ("network", pa.int64()),
            ("sigma", pa.float64()),
            ("mean", pa.float64()),
            ("radius", pa.float64()),
            ("asked_radius", pa.float64()),
            ("status", pa.string()),
            ("label", pa.float64()),
            ("reason", pa.string()),
            ("tries", pa.int64()),
            ("seconds", pa.float64()),
        ]
    )
    rows = [
        {
            "strategy": arm.strategy,
            "cycle": pick.cycle,
            "material_id": pick.outcome.material_id,
            "formula": formula_of[pick.outcome.material_id],
            "network": pick.network,
            "sigma": float(pick.sigma),
            "mean": pick.mean,
            "radius": pick.radius,
            "asked_radius": pick.asked_radius,
            "status": pick.outcome.status,
            "label": pick.outcome.value,
            "reason": pick.outcome.reason,
            "tries": pick.outcome.tries,
            "seconds": pick.outcome.seconds,
        }
        for arm in arms
        for pick in arm.picks
    ]
    return pa.Table.from_pylist(rows, schema=schema)


def retrainings_table(arms: Iterable[ArmResult]) -> pa.Table:
    """One row a training of the network again; MAE in the target's unit, seconds of wall time."""
    schema = pa.schema(
        [
            ("strategy", pa.string()),
            ("cycle", pa.int64()),
            ("network", pa.int64()),
            ("n_labelled", pa.int64()),
            ("start", pa.string()),
            ("epochs", pa.int64()),
            ("seconds", pa.float64()),
            ("old_validation_mae", pa.float64()),
            ("new_validation_mae", pa.float64()),
            ("kept", pa.string()),
            ("network_test_mae", pa.float64()),
        ]
    )
    rows = [{"strategy": arm.strategy, **asdict(r)} for arm in arms for r in arm.retrainings]
    return pa.Table.from_pylist(rows, schema=schema)


def predictions_table(
    arms: Sequence[ArmResult], targets: Mapping[str, float], formula_of: Mapping[str, str]
) -> pa.Table:
    """Mean and σ of every test row before and after each arm's loop."""
    parts = [
        _stage_predictions(arm.strategy, stage, prediction, targets, formula_of)
        for arm in arms
        for stage, prediction in (("before", arm.test_before), ("after", arm.test_after))
    ]
    return pa.concat_tables(parts)


def _stage_predictions(
    strategy: str,
    stage: str,
    prediction: tuple[tuple[str, ...], FloatArray, FloatArray],
    targets: Mapping[str, float],
    formula_of: Mapping[str, str],
) -> pa.Table:
    ids, mean, sigma = prediction
    return pa.table(
        {
            "strategy": [strategy] * len(ids),
            "stage": [stage] * len(ids),
            "material_id": list(ids),
            "formula": [formula_of[i] for i in ids],
            "target": [targets[i] for i in ids],
            "mean": mean,
            "sigma": sigma,
        }
    )
