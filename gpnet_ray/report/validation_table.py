"""The result table that a validation prints in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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


def validation_table(summary: Mapping[str, Any], target: Mapping[str, Any]) -> Table:
    """Lay out the metrics of one target for ``rich.console.Console.print``.

    Args:
        summary: The content of a validation's ``summary.json``.
        target: One of its ``targets``.

    Returns:
        One line a metric: its mean and standard deviation over the folds and its value on all held-out
        rows together; or its value alone where there was one split.
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    several = len(target["folds"]) > 1
    table = Table(
        title=escape(f"{summary['name']}: {target['target']} ({target['unit']})"),
        title_style="bold",
        title_justify="left",
        caption=escape("\n".join(_lines_below(summary, target))),
        caption_style="",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("metric")
    table.add_column("mean ± std\nover the folds" if several else "held-out\nrows", justify="right")
    if several:
        table.add_column("all held-out\nrows", justify="right")
    for name, words in WORDS.items():
        mean, std, all_rows = (_number(target[of][name]) for of in ("mean", "std", "all_rows"))
        values = (f"{mean} ± {std}", all_rows) if several else (all_rows,)
        unit = target["units"][name]
        table.add_row(escape(words + (f" ({unit})" if unit == target["unit"] else "")), *values)
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _lines_below(summary: Mapping[str, Any], target: Mapping[str, Any]) -> list[str]:
    folds = target["folds"]
    sizes = {name: sorted({fold[name] for fold in folds}) for name in ("n_train", "n_test")}
    learned, held = ("–".join(map(str, (s[0], s[-1])[: len(s)])) for s in sizes.values())
    how = f"{len(folds)} folds" if len(folds) > 1 else "One split"
    seconds = sum(fold["seconds"] for fold in folds)
    lines = [
        f"{how}: {learned} rows learned from, {held} held out and never seen; {seconds:.0f} s of tasks.",
        f"Labels: {target['label_note']}",
    ]
    n_warnings = sum(len(fold["warnings"]) for fold in folds)
    if n_warnings:
        first = next(fold for fold in folds if fold["warnings"])
        lines.insert(1, f"{n_warnings} warnings of the fits, the first: {first['warnings'][0]}")
    if summary["n_rejected"]:
        lines.insert(1, f"{summary['n_rejected']} materials were rejected: rejected.csv.")
    return lines
