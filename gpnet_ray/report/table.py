"""The result table that a run prints in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gpnet_ray.report.table_columns import ROOMY, number_table
from gpnet_ray.report.words import (
    error_text,
    failed_labels_text,
    label_saving_sentence,
    network_sentence,
    percent_text,
    radius_sentence,
    rejected_sentence,
    result_rows,
    retraining_sentence,
)

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["summary_table"]

HEADINGS = ("arm", "labels\nbought", "test\nMAE", "test\nRMSE", "test\nR²", "within\n2σ")
LAST_HEADINGS = ("miscal.\narea", "MAE on the\nunlabelled")
NARROW_HEADINGS = ("mis-\ncal.\narea", "MAE\nunla-\nbelled")
"""Broken so that none is wider than the numbers below it."""


def summary_table(summary: Mapping[str, Any], *, width: int = ROOMY) -> Table:
    """Lay out the results of a run for ``rich.console.Console.print`` (with ``crop=False``).

    Args:
        summary: what :func:`gpnet_ray.report.summary.build_summary` returns, or ``summary.json``.
        width: columns of the terminal; 60 hold every number of ordinary size whole.

    Returns:
        One line for the common start and one for the end of each arm. Below it: the network's own
        error, the label saving, the radius of arms that keep a distance, failed labels, rejected materials.
    """
    rows = [
        (
            row.arm,
            f"{row.labels:,}",
            *(error_text(value) for value in (row.mae, row.rmse, row.r2)),
            percent_text(row.coverage_2sigma),
            error_text(row.miscalibration_area),
            error_text(row.unlabelled_mae),
        )
        for row in result_rows(summary)
    ]
    return number_table(
        f"{summary['name']}: {summary['target']} ({summary['unit']})",
        (*HEADINGS, *(LAST_HEADINGS if width >= ROOMY else NARROW_HEADINGS)),
        rows,
        below=_lines_below(summary),
        width=width,
    )


def _lines_below(summary: Mapping[str, Any]) -> list[str]:
    unit = summary["unit"]
    network = network_sentence(summary)
    lines = [] if network is None else [network]
    lines += [label_saving_sentence(saving, unit) for saving in summary["label_saving"]]
    lines += [
        retraining_sentence(arm["strategy"], retraining, unit)
        for arm in summary["arms"]
        for retraining in arm["retrainings"]
    ]
    lines += [radius_sentence(arm["radius"]) for arm in summary["arms"] if arm["radius"]]
    if summary["failed_labels"]:
        lines.append(f"{failed_labels_text(summary['failed_labels'])}; the report lists them.")
    rejected = rejected_sentence(summary["rejected"])
    lines += [] if rejected is None else [rejected]
    lines.append(f"Labels: {summary['label_note']}")
    return lines
