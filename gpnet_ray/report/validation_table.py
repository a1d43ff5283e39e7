"""The result table that a validation prints in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gpnet_ray.report.table_columns import ROOMY, number_table

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["validation_table"]

WORDS = {
    "mae": "MAE",
    "rmse": "RMSE",
    "std_absolute_error": "std of the absolute error",
    "r2": "R²",
    "pearson_r": "Pearson's r",
    "network_mae": "MAE of the network's own output",
    "coverage_2sigma": "within 2σ (95.4 % if σ is right)",
    "miscalibration_area": "miscalibration area",
    "rms_calibration_error": "RMS calibration error",
    "mean_absolute_calibration_error": "mean absolute calibration error",
    "sharpness": "sharpness (RMS of σ)",
    "dispersion": "dispersion (σ's coefficient of variation)",
    "nll": "negative log likelihood",
    "crps": "CRPS",
    "spearman": "rank correlation of |error| and σ",
}


def validation_table(
    summary: Mapping[str, Any], target: Mapping[str, Any], *, width: int = ROOMY
) -> Table:
    """Lay out the metrics of one target for ``rich.console.Console.print`` (with ``crop=False``).

    Args:
        summary: The content of a validation's ``summary.json``.
        target: One of its ``targets``.
        width: Columns of the terminal.

    Returns:
        One line a metric: its mean and standard deviation over the folds and its value on all held-out
        rows together; or its value alone where there was one split.
    """
    several = len(target["folds"]) > 1
    rows = []
    for name, words in WORDS.items():
        mean, std, all_rows = (_number(target[of][name]) for of in ("mean", "std", "all_rows"))
        values = (f"{mean} ± {std}", all_rows) if several else (all_rows,)
        unit = target["units"][name]
        rows.append((words + (f" ({unit})" if unit == target["unit"] else ""), *values))
    of_folds = ("mean ± std\nover the folds", "all held-out\nrows")
    return number_table(
        f"{summary['name']}: {target['target']} ({target['unit']})",
        ("metric", *(of_folds if several else ("held-out\nrows",))),
        rows,
        below=_lines_below(summary, target),
        width=width,
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _lines_below(summary: Mapping[str, Any], target: Mapping[str, Any]) -> list[str]:
    folds = target["folds"]
    sizes = {name: sorted({fold[name] for fold in folds}) for name in ("n_train", "n_test")}
    learned, held = ("–".join(map(str, (s[0], s[-1])[: len(s)])) for s in sizes.values())
    how = f"{len(folds)} folds" if len(folds) > 1 else "One split"
    seconds = sum(fold["seconds"] for fold in folds)
    lines = [
        f"{how}: {learned} rows learned from, {held} held out{_seen(summary)}; {seconds:.0f} s of tasks.",
        f"Labels: {target['label_note']}",
    ]
    n_unimproved = sum(fold.get("best_epoch") == 0 for fold in folds)
    if n_unimproved:
        where = f"In {n_unimproved} of {len(folds)} folds no" if len(folds) > 1 else "No"
        lines.insert(
            1,
            f"{where} epoch was better than the network that training began from, which was kept.",
        )
    n_warnings = sum(len(fold["warnings"]) for fold in folds)
    if n_warnings:
        first = next(fold for fold in folds if fold["warnings"])
        lines.insert(1, f"{n_warnings} warnings of the folds, the first: {first['warnings'][0]}")
    if summary["n_rejected"]:
        lines.insert(1, f"{summary['n_rejected']} materials were rejected: rejected.csv.")
    return lines


def _seen(summary: Mapping[str, Any]) -> str:
    """What is known of whether the held-out rows are new, also to the network that training began from."""
    first = summary["first_network"]
    if first is None or (first["all_rows_known"] and not first["n_known"]):
        return " and never seen"
    if first["n_known"]:
        least = "" if first["all_rows_known"] else "at least "
        return (
            f"; {least}{first['n_known']} of {first['n_held_out']} held-out rows had trained the network that this began"
            " from"
        )
    return "; what the network that this began from was trained on is not known"
