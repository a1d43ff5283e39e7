"""Which figures a run has: draw them, save them as SVG and PNG, and caption them for the page."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpnet_ray.evaluation.comparison import LabelSaving, Measure
from gpnet_ray.report.figures import (
    learning_curve_figure,
    parity_figure,
    residual_sigma_figure,
    training_figure,
)
from gpnet_ray.report.finished_run import Columns, FinishedRun
from gpnet_ray.report.style import figure_style
from gpnet_ray.report.summary import arm_rows, learning_curve
from gpnet_ray.report.words import counted, error_text, percent_text, quantity_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SECTIONS", "Panel", "draw_panels"]

SECTIONS = {
    "learning": "Learning curves and network training",
    "parity": "Predictions on the test rows",
    "sigma": "Is σ right?",
}
"""Sections of the page in their order: key and heading."""


@dataclass(frozen=True)
class Panel:
    """One figure of the page.

    Attributes:
        name: its file name without the suffix.
        section: a key of ``SECTIONS``.
        caption: what it shows, plain text.
        svg: an ``<svg>`` element to stand inside an HTML page, with ids of its own.
    """

    name: str
    section: str
    caption: str
    svg: str


@dataclass(frozen=True)
class _Drawing:
    name: str
    section: str
    caption: str
    figure: Figure


def draw_panels(run: FinishedRun, summary: Mapping[str, Any], folder: Path) -> tuple[Panel, ...]:
    """Draw every figure that the run has numbers for; save each as SVG and PNG into ``folder``.

    The same run folder gives the same SVG, byte by byte, on every machine with the same matplotlib.

    Args:
        run: what the run left.
        summary: the summary of the same run, whose numbers are printed into the figures.
        folder: an existing folder.
    """
    panels = []
    with figure_style():
        for drawing in _drawings(run, summary):
            svg = _save(drawing.figure, folder / drawing.name)
            inline = _inline_svg(svg, prefix=drawing.name, label=drawing.caption)
            panels.append(Panel(drawing.name, drawing.section, drawing.caption, inline))
    return tuple(panels)


def _drawings(run: FinishedRun, summary: Mapping[str, Any]) -> Iterator[_Drawing]:
    yield from _learning_curves(run, summary)
    stages = list(_stages(run, summary))
    yield from _parity_plots(stages, summary)
    yield from _sigma_plots(stages, summary)
    if len(run.history["epoch"]):
        yield _training(run, summary)


def _learning_curves(run: FinishedRun, summary: Mapping[str, Any]) -> Iterator[_Drawing]:
    measures: tuple[tuple[Measure, str, str], ...] = (
        ("test", "Error on the test rows", "MAE on the fixed test rows after every cycle."),
        (
            "unlabelled",
            "Error on what is still unlabelled",
            "MAE on everything not labelled yet: other materials for every arm and cycle.",
        ),
    )
    for measure, title, caption in measures:
        curves = [c for arm in run.arms if (c := learning_curve(run, arm, measure)) is not None]
        if curves:
            figure = learning_curve_figure(
                curves,
                ylabel=f"{_quantity(summary)}, MAE ({summary['unit']})",
                title=title,
                saving=_largest_saving(summary, measure),
            )
            yield _Drawing(f"learning_curve_{measure}", "learning", caption, figure)


def _largest_saving(summary: Mapping[str, Any], measure: Measure) -> LabelSaving | None:
    mine = [LabelSaving(**s) for s in summary["label_saving"] if s["measure"] == measure]
    stated = [s for s in mine if s.saving is not None]
    return max(stated, key=lambda s: s.saving or 0.0) if stated else None


@dataclass(frozen=True)
class _Stage:
    """The test rows as one arm predicts them before or after the loop."""

    name: str
    title: str
    rows: Columns
    metrics: Mapping[str, Any]


def _stages(run: FinishedRun, summary: Mapping[str, Any]) -> Iterator[_Stage]:
    """Yield the common start once and the end of every arm."""
    for number, arm in enumerate(summary["arms"]):
        predictions = arm_rows(run.predictions, arm["strategy"])
        for stage in ("before", "after"):
            mine = predictions["stage"] == stage
            if not mine.any() or (stage == "before" and number):
                continue
            title = (
                "Before the loop"
                if stage == "before"
                else f"{arm['strategy']}, after {counted(arm['labels_bought'], 'label')}"
            )
            name = stage if stage == "before" else f"after_{_file_name(arm['strategy'])}"
            rows = {key: column[mine] for key, column in predictions.items()}
            yield _Stage(name, title, rows, arm["test"][stage])


def _parity_plots(stages: list[_Stage], summary: Mapping[str, Any]) -> Iterator[_Drawing]:
    if not stages:
        return
    shown = np.concatenate([s.rows[column] for s in stages for column in ("target", "mean")])
    low, high = float(shown.min()), float(shown.max())
    margin = 0.04 * (high - low) or 1.0
    for stage in stages:
        mae, rmse, r2 = (error_text(stage.metrics[name]) for name in ("mae", "rmse", "r2"))
        unit = summary["unit"]
        figure = parity_figure(
            stage.rows["target"],
            stage.rows["mean"],
            quantity=_quantity(summary),
            unit=unit,
            title=stage.title,
            note=f"MAE {mae} {unit}\nRMSE {rmse} {unit}\nR² {r2}",
            limits=(low - margin, high + margin),
        )
        rows = counted(len(stage.rows["mean"]), "test row")
        caption = f"{stage.title}: predicted against true value of {rows}."
        yield _Drawing(f"parity_{stage.name}", "parity", caption, figure)


def _sigma_plots(stages: list[_Stage], summary: Mapping[str, Any]) -> Iterator[_Drawing]:
    if not stages:
        return
    largest_sigma = max(float(s.rows["sigma"].max()) for s in stages)
    largest_residual = max(float(np.abs(s.rows["target"] - s.rows["mean"]).max()) for s in stages)
    for stage in stages:
        figure = residual_sigma_figure(
            stage.rows["target"] - stage.rows["mean"],
            stage.rows["sigma"],
            quantity=_quantity(summary),
            unit=summary["unit"],
            title=stage.title,
            limits=(largest_sigma or 1.0, largest_residual or 1.0),
        )
        coverage = percent_text(stage.metrics["coverage_2sigma"])
        caption = (
            f"{stage.title}: label minus prediction against the predicted σ of each test row; "
            f"{coverage} lie between the lines ±2σ."
        )
        yield _Drawing(f"residual_sigma_{stage.name}", "sigma", caption, figure)


def _training(run: FinishedRun, summary: Mapping[str, Any]) -> _Drawing:
    history, network = run.history, summary["network"]
    figure = training_figure(
        history["epoch"],
        history["train_mae"],
        history["validation_mae"],
        ylabel=f"{_quantity(summary)}, MAE ({summary['unit']})",
        best_epoch=network["best_epoch"],
    )
    kept = (
        f" The weights of epoch {network['best_epoch']:,} were kept (validation MAE "
        f"{error_text(network['best_validation_mae'])} {summary['unit']})."
        if network["best_epoch"] is not None
        else ""
    )
    caption = f"MAE on the rows trained on and on rows held out of them, over the epochs.{kept}"
    return _Drawing("training_curve", "learning", caption, figure)


def _quantity(summary: Mapping[str, Any]) -> str:
    return quantity_name(summary["target"], summary["unit"])


def _file_name(arm: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", arm)


def _save(figure: Figure, path: Path) -> str:
    """Write the SVG and the PNG; return the SVG."""
    # Without a date and a creator the files depend on the numbers alone.
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=no_metadata)
    svg = buffer.getvalue()
    path.with_suffix(".svg").write_text(svg, "utf-8")
    figure.savefig(path.with_suffix(".png"), format="png", metadata={"Software": None})
    return svg


def _inline_svg(svg: str, *, prefix: str, label: str) -> str:
    """Turn an SVG file into an element of an HTML page.

    Ids get a prefix, since several figures share a page; the XML header and the name spaces, which
    HTML knows by itself, go away.
    """
    from html import escape

    element = svg[svg.index("<svg") :]
    element = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", element)
    element = re.sub(r'\bid="', f'id="{prefix}-', element)
    element = re.sub(r'((?:xlink:)?href="|url\()#', rf"\1#{prefix}-", element)
    return element.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)
