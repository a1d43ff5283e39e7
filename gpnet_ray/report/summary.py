"""All the numbers of a run in one dictionary, for programs: the content of ``summary.json``."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpnet_ray.evaluation.comparison import LearningCurve, Measure, compare_arms
from gpnet_ray.evaluation.uncertainty import metric_units
from gpnet_ray.gp.recalibration import Recalibration
from gpnet_ray.report.finished_run import ERROR_MEASURES, Columns, FinishedRun, read_finished_run
from gpnet_ray.report.materials import RunMaterials, read_materials
from gpnet_ray.report.summary_sigma import arm_enrichment, sigma_check, stage_metrics
from gpnet_ray.types import BoolArray

__all__ = [
    "arm_rows",
    "build_summary",
    "learning_curve",
    "picking_curves",
    "summarise",
    "to_strict_json",
]

FORMAT_VERSION = 1
PICKS_SHOWN = 10
RETRAINING = (
    *("cycle", "network", "n_labelled", "start", "epochs", "seconds"),
    *("old_validation_mae", "new_validation_mae", "kept", "network_test_mae"),
)


def build_summary(run_dir: Path) -> dict[str, Any]:
    """Read a run folder and work out what ``summary.json`` holds.

    Errors are in the target's unit (``units`` names the unit of every quantity), coverage is a
    fraction, a number that is unknown or undefined is ``None``; nothing in it is NaN or infinite.
    ``before`` and ``after`` are the first and the last row of each arm in ``metrics.parquet``; what that
    does not have of the test rows (calibration, sharpness, …) is worked out from ``predictions.parquet``.

    Raises:
        RunFolderError: the folder or one of its files is missing or unusable.
    """
    return summarise(read_finished_run(run_dir))


def summarise(run: FinishedRun) -> dict[str, Any]:
    """Work out the content of ``summary.json`` from a run folder that was read already."""
    info = run.info
    materials = read_materials(run.path)
    arms = [_arm(run, arm, materials) for arm in run.arms]
    trained_after = any(not _picking(run, arm).all() for arm in run.arms)
    savings = [
        {**dataclasses.asdict(saving), "before_last_training": trained_after}
        for measure in ("test", "unlabelled")
        for saving in compare_arms(picking_curves(run, measure), measure=measure)
    ]
    cleaned: dict[str, Any] = _without_nonfinite(
        {
            "format": FORMAT_VERSION,
            "name": run.config.get("name") or run.path.name,
            "target": info["target"],
            "unit": info["unit"],
            "units": _units(str(info["unit"])),
            "source": info["source"],
            "label_note": info["label_note"],
            "progress": None if run.progress is None else dataclasses.asdict(run.progress),
            "materials": {
                key: info[key]
                for key in ("n_materials", "n_train", "n_pool", "n_test", "n_rejected")
            },
            "rejected": _rejected(run.rejected),
            "network": _network(run),
            "gp": _gp(run.gp),
            "arms": arms,
            "label_saving": savings,
            "failed_labels": _failed_labels(run.picks),
            "settings": run.config,
            "timings_s": info.get("timings_s", {}),
            "versions": info.get("versions", {}),
            "machine": info.get("machine", {}),
            "started": info.get("started"),
            "command": info.get("command"),
        }
    )
    return cleaned


def to_strict_json(summary: Mapping[str, Any]) -> str:
    """Write a summary as JSON that every parser reads: no NaN, UTF-8, a final newline."""
    return json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def arm_rows(columns: Columns, arm: str) -> Columns:
    """Return the rows of one arm."""
    mine = columns["strategy"] == arm
    return {name: column[mine] for name, column in columns.items()}


def learning_curve(
    run: FinishedRun, arm: str, measure: Measure, *, of_picking_networks: bool = False
) -> LearningCurve | None:
    """Return the MAE of an arm over its labels, without the cycles in which it is unknown.

    ``None`` where it is never known. ``of_picking_networks`` leaves out a network that was trained after the last
    pick: what it lowers, it lowers at once for all labels, so that it says nothing of who picked better.
    """
    rows = arm_rows(run.metrics, arm)
    error = rows[f"{measure}_mae"]
    known = np.isfinite(error)
    if of_picking_networks:
        known &= _picking(run, arm)
    if not known.any():
        return None
    return LearningCurve(arm=arm, n_labelled=rows["n_labelled"][known], error=error[known])


def picking_curves(run: FinishedRun, measure: Measure) -> list[LearningCurve]:
    """Return what label savings are worked out from: the curve of each arm, of the networks that have picked."""
    curves = (learning_curve(run, arm, measure, of_picking_networks=True) for arm in run.arms)
    return [curve for curve in curves if curve is not None]


def _picking(run: FinishedRun, arm: str) -> BoolArray:
    """Which evaluations of an arm are of a network that has picked: all but a second one of its last cycle."""
    cycles = arm_rows(run.metrics, arm)["cycle"]
    picking = np.ones(len(cycles), dtype=np.bool_)
    trained = arm_rows(run.retrainings, arm)["cycle"]
    if len(cycles) and len(trained) and trained[-1] == cycles[-1]:
        picking[np.flatnonzero(cycles == cycles[-1])[1:]] = False
    return picking


def _units(unit: str) -> dict[str, str]:
    of_target = dict.fromkeys(("sigma", "label", "mean", "residual"), unit)
    return {
        **of_target,
        **metric_units(unit),
        "label_saving": "1 (labels per label)",
        "promised_mae_per_sigma": "1 (MAE over σ)",
        "radius": "scaled latent space",
        "timings_s": "s",
    }


def _arm(run: FinishedRun, arm: str, materials: RunMaterials | None) -> dict[str, Any]:
    rows, picks = arm_rows(run.metrics, arm), arm_rows(run.picks, arm)
    predictions = arm_rows(run.predictions, arm)
    recalibrations = {stage: run.recalibration(arm, stage) for stage in ("before", "after")}
    return {
        "strategy": arm,
        "cycles": int(rows["cycle"][-1] - rows["cycle"][0]),
        "n_labelled_before": int(rows["n_labelled"][0]),
        "n_labelled_after": int(rows["n_labelled"][-1]),
        "labels_bought": int(rows["n_labelled"][-1] - rows["n_labelled"][0]),
        "picks": _size(picks),
        "labels_failed": int((picks["status"] != "ok").sum()),
        "oracle_seconds": float(np.nansum(picks["seconds"])),
        "test": _test(rows, predictions, recalibrations),
        "sigma_check": {
            stage: sigma_check(predictions, stage, how) for stage, how in recalibrations.items()
        },
        "recalibration": {
            stage: {"how": how.how, "scale": how.scale, "n_held_out": how.n}
            for stage, how in recalibrations.items()
        },
        "unlabelled": {
            **_before_after(rows, "unlabelled"),
            "n_before": _count(rows["n_unlabelled"][0]),
            "n_after": _count(rows["n_unlabelled"][-1]),
        },
        "retrainings": _retrainings(run, arm),
        "radius": _radius(arm, picks),
        "enrichment": arm_enrichment(materials, picks),
        "first_picks": _pick_records(picks, slice(None, PICKS_SHOWN)),
        "last_picks": _pick_records(
            picks, slice(max(PICKS_SHOWN, _size(picks) - PICKS_SHOWN), None)
        ),
    }


def _retrainings(run: FinishedRun, arm: str) -> list[dict[str, Any]]:
    """What each training of the network again brought, with the warnings of its Gaussian process."""
    gps = run.later_gps.get(arm, {})
    return [
        {**row, "gp_warnings": list(gps.get(row["network"], {}).get("warnings") or ())}
        for row in _records(arm_rows(run.retrainings, arm), RETRAINING)
    ]


def _count(value: float) -> int | None:
    return int(value) if math.isfinite(value) else None


def _before_after(rows: Columns, on: str) -> dict[str, dict[str, float]]:
    return {
        stage: {measure: float(rows[f"{on}_{measure}"][row]) for measure in ERROR_MEASURES}
        for stage, row in (("before", 0), ("after", -1))
    }


def _test(
    rows: Columns, predictions: Columns, recalibrations: Mapping[str, Recalibration]
) -> dict[str, dict[str, float | None]]:
    """All metrics of the test rows; those of every cycle as they were summed then."""
    unknown = dict.fromkeys(metric_units(""))
    return {
        stage: {
            **unknown,
            **(stage_metrics(predictions, stage, recalibrations[stage]) or {}),
            **summed,
        }
        for stage, summed in _before_after(rows, "test").items()
    }


def _radius(arm: str, picks: Columns) -> dict[str, Any] | None:
    """What became of the distance between picks: ``None`` where the arm keeps no distance."""
    used = picks["radius"]
    known = np.isfinite(used)
    if not known.any():
        return None
    asked = picks.get("asked_radius", np.full(len(used), np.nan))
    # Only floating-point noise may make a kept radius differ from the one asked for.
    shrunken = known & (used < asked * (1 - 1e-9))
    wanted = asked[np.isfinite(asked)]
    return {
        "strategy": arm,
        "asked": float(wanted.min()) if len(wanted) else None,
        "largest_asked": float(wanted.max()) if len(wanted) else None,
        "smallest_used": float(used[known].min()),
        "cycles_with_smaller_radius": sorted(set(picks["cycle"][shrunken].tolist())),
        "cycles": len(set(picks["cycle"][known].tolist())),
    }


def _pick_records(picks: Columns, which: slice) -> list[dict[str, Any]]:
    names = ("cycle", "material_id", "formula", "sigma", "status", "label")
    shown = {name: picks[name][which].tolist() for name in names}
    if "mean" in picks:
        shown["mean"] = picks["mean"][which].tolist()
        shown["residual"] = (picks["label"][which] - picks["mean"][which]).tolist()
    return [dict(zip(shown, values, strict=True)) for values in zip(*shown.values(), strict=True)]


def _records(columns: Columns, names: Sequence[str]) -> list[dict[str, Any]]:
    rows = zip(*(columns[name].tolist() for name in names), strict=True)
    return [dict(zip(names, values, strict=True)) for values in rows]


def _failed_labels(picks: Columns) -> list[dict[str, Any]]:
    names = ("strategy", "cycle", "material_id", "formula", "status", "reason", "tries", "seconds")
    failed = picks["status"] != "ok"
    return _records({name: picks[name][failed] for name in names}, names)


def _rejected(rejected: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Count the categories, the most frequent first; the first material of each is the example."""
    counts = Counter(row["category"] for row in rejected)
    example = {row["category"]: row for row in reversed(rejected)}
    by_category = {
        category: {
            "count": count,
            "example_id": example[category]["material_id"],
            "example_reason": example[category]["reason"],
            "example_where": example[category]["where"],
        }
        for category, count in counts.most_common()
    }
    return {"count": len(rejected), "by_category": by_category}


def _network(run: FinishedRun) -> dict[str, Any]:
    history = run.history
    network: dict[str, Any] = {
        "test_mae": run.info.get("network_test_mae"),
        "epochs": _size(history),
        "seconds": float(np.nansum(history["seconds"])),
        "best_epoch": None,
        "best_validation_mae": None,
        "train_mae_at_best_epoch": None,
    }
    kept = run.info.get("network_kept")
    if np.isfinite(history["validation_mae"]).any():
        best = int(np.nanargmin(history["validation_mae"]))
        network["best_epoch"] = int(history["epoch"][best])
        network["best_validation_mae"] = float(history["validation_mae"][best])
        network["train_mae_at_best_epoch"] = float(history["train_mae"][best])
        if kept and kept["epoch"] == 0:
            # No epoch was better than the network that the training began from.
            network |= {"best_epoch": 0, "best_validation_mae": kept["validation_mae"]}
            network["train_mae_at_best_epoch"] = None
    return network


def _gp(gp: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "hyperparameters": gp.get("hyperparameters", {}),
        "evaluations": len(gp.get("trace") or ()),
        "seconds": gp.get("seconds"),
        "warnings": list(gp.get("warnings") or ()),
    }


def _size(columns: Columns) -> int:
    return len(next(iter(columns.values())))


def _without_nonfinite(value: Any) -> Any:
    """Replace NaN and infinities by ``None`` and what JSON does not know (dates) by its text."""
    if isinstance(value, Mapping):
        return {str(key): _without_nonfinite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nonfinite(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
