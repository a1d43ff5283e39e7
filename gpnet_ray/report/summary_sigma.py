"""What ``summary.json`` says of σ on the test rows, and of the kinds of material that an arm picked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from gpnet_ray.evaluation.enrichment import Enriched, enrichment
from gpnet_ray.evaluation.error_against_sigma import error_in_sigma_bins, worst_points
from gpnet_ray.evaluation.uncertainty import calibration_curve, prediction_metrics
from gpnet_ray.gp.recalibration import Recalibration
from gpnet_ray.report.finished_run import Columns
from gpnet_ray.report.materials import RunMaterials

__all__ = [
    "SIGNIFICANT",
    "arm_enrichment",
    "picked_more_often",
    "sigma_check",
    "stage_metrics",
]

KINDS_LISTED = 20
SIGNIFICANT = 0.05
"""Probability below which a surplus is beyond chance, divided by the number of kinds tested (Bonferroni)."""


def stage_metrics(
    predictions: Columns, stage: str, recalibration: Recalibration
) -> dict[str, float] | None:
    """Compute every metric of one arm's predictions at one stage; ``None`` where there are none."""
    rows = _at(predictions, stage)
    if not len(rows["target"]):
        return None
    metrics = prediction_metrics(rows["target"], rows["mean"], rows["sigma"], recalibration)
    return dataclasses.asdict(metrics)


def sigma_check(
    predictions: Columns, stage: str, recalibration: Recalibration
) -> dict[str, Any] | None:
    """Compare σ with the errors of one arm at one stage; ``None`` where there are no predictions."""
    rows = _at(predictions, stage)
    if not len(rows["target"]):
        return None
    columns = (rows["target"], rows["mean"], rows["sigma"])
    curve = calibration_curve(*columns, recalibration)
    worst = worst_points(rows["material_id"].tolist(), rows["formula"].tolist(), *columns)
    return {
        "promised_mae_per_sigma": recalibration.mean_absolute_error(),
        "deciles": [dataclasses.asdict(b) for b in error_in_sigma_bins(*columns)],
        "worst_points": [dataclasses.asdict(point) for point in worst],
        "calibration_curve": {
            "expected": curve.expected.tolist(),
            "observed": curve.observed.tolist(),
        },
    }


def arm_enrichment(materials: RunMaterials | None, picks: Columns) -> dict[str, Any] | None:
    """Compare an arm's picks with random ones; ``None`` without picks or where the pool is not known."""
    ids = picks["material_id"].tolist()
    if materials is None or not ids:
        return None
    found = enrichment(materials.pool(), ids)
    return {
        "n_pool": found.n_pool,
        "n_picked": found.n_picked,
        "elements": _listed(found.elements),
        "formulas": _listed(found.formulas),
        "stoichiometries": _listed(found.stoichiometries),
    }


def picked_more_often(listed: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the kinds that were picked more often than by chance, in the order in which they are listed.

    Args:
        listed: ``elements``, ``formulas`` or ``stoichiometries`` of what :func:`arm_enrichment` gives.
    """
    return [row for row in listed["rows"] if row["ratio"] > 1]


def _listed(kinds: Sequence[Enriched]) -> dict[str, Any]:
    """List the kinds furthest above chance, with how many were tested and how many are beyond chance."""
    return {
        "tested": len(kinds),
        "significant": sum(kind.p_value < SIGNIFICANT / len(kinds) for kind in kinds),
        "rows": [
            {**dataclasses.asdict(kind), "ratio": kind.ratio} for kind in kinds[:KINDS_LISTED]
        ],
    }


def _at(predictions: Columns, stage: str) -> Columns:
    mine = predictions["stage"] == stage
    return {name: column[mine] for name, column in predictions.items()}
