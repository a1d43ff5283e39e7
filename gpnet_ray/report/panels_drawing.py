"""What the panels of a run share: a figure with its name and caption, and the stages of the test rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpnet_ray.report.finished_run import Columns, FinishedRun
from gpnet_ray.report.style import BLACK, ArmStyle, arm_style
from gpnet_ray.report.summary import arm_rows
from gpnet_ray.report.words import counted, quantity_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Drawing", "Stage", "file_name", "quantity", "stages"]


@dataclass(frozen=True)
class Drawing:
    """A figure that was drawn and not saved yet.

    Attributes:
        name: its file name without the suffix.
        section: a key of :data:`gpnet_ray.report.panels.SECTIONS`.
        caption: what it shows, plain text.
        figure: the figure.
    """

    name: str
    section: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Stage:
    """The test rows as one arm predicts them before or after the loop.

    Attributes:
        name: for file names.
        title: for people.
        style: how it is drawn beside other stages.
        rows: its rows of ``predictions.parquet``.
        metrics: its metrics in the summary.
        check: what the summary has of its σ.
    """

    name: str
    title: str
    style: ArmStyle
    rows: Columns
    metrics: Mapping[str, Any]
    check: Mapping[str, Any]


def stages(run: FinishedRun, summary: Mapping[str, Any]) -> Iterator[Stage]:
    """Yield the common start once and the end of every arm, as far as there are predictions."""
    names = [arm["strategy"] for arm in summary["arms"]]
    for number, arm in enumerate(summary["arms"]):
        predictions = arm_rows(run.predictions, arm["strategy"])
        for stage in ("before", "after"):
            mine = predictions["stage"] == stage
            if not mine.any() or (stage == "before" and number):
                continue
            after = f"{arm['strategy']}, after {counted(arm['labels_bought'], 'label')}"
            yield Stage(
                name=stage if stage == "before" else f"after_{file_name(arm['strategy'])}",
                title="Before the loop" if stage == "before" else after,
                style=ArmStyle(BLACK, (0, (1.2, 1.0)))
                if stage == "before"
                else arm_style(arm["strategy"], names),
                rows={key: column[mine] for key, column in predictions.items()},
                metrics=arm["test"][stage],
                check=arm["sigma_check"][stage],
            )


def quantity(summary: Mapping[str, Any]) -> str:
    """Return the target's name for people."""
    return quantity_name(summary["target"], summary["unit"])


def file_name(arm: str) -> str:
    """Return a part of a file name for an arm.

    >>> file_name("max-sigma")
    'max_sigma'
    """
    return re.sub(r"[^A-Za-z0-9]+", "_", arm)
