"""The result table that a run prints in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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


def summary_table(summary: Mapping[str, Any]) -> Table:
    """Lay out the results of a run for ``rich.console.Console.print``.

    Args:
        summary: what :func:`gpnet_ray.report.summary.build_summary` returns, or ``summary.json``.

    Returns:
        One line for the common start and one for the end of each arm. Below it: the network's own
        error, the label saving, the radius of arms that keep a distance, failed labels, rejected materials.
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    unit = summary["unit"]
    table = Table(
        title=escape(f"{summary['name']}: {summary['target']} ({unit})"),
        title_style="bold",
        title_justify="left",
        caption=escape("\n".join(_lines_below(summary))),
        caption_style="",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),  # 80 columns hold every number whole
    )
    table.add_column("arm")
    for heading in (
        *("labels\nbought", "test\nMAE", "test\nRMSE", "test\nR²"),
        *("within\n2σ", "miscal.\narea", "MAE on the\nunlabelled"),
    ):
        table.add_column(heading, justify="right")
    for row in result_rows(summary):
        table.add_row(
            escape(row.arm),
            f"{row.labels:,}",
            error_text(row.mae),
            error_text(row.rmse),
            error_text(row.r2),
            percent_text(row.coverage_2sigma),
            error_text(row.miscalibration_area),
            error_text(row.unlabelled_mae),
        )
    return table


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
