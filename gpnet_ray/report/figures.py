"""The figures of a run, one panel each, so that they stand side by side or one below the other.

Every function draws one :class:`matplotlib.figure.Figure` through the object-oriented interface; no
state of pyplot is touched. Draw and save inside :func:`gpnet_ray.report.style.figure_style`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gpnet_ray.evaluation.comparison import LabelSaving, LearningCurve
from gpnet_ray.evaluation.curve_band import CurveBand, curve_band
from gpnet_ray.report.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    PANEL_INCHES,
    SQUARE_INCHES,
    ArmStyle,
    arm_style,
    count_colours,
    label_plain_log_ticks,
    label_whole_numbers,
    new_panel,
    plain,
)
from gpnet_ray.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "learning_curve_figure",
    "parity_figure",
    "training_figure",
]

POINTS_UNTIL = 400
"""With more test rows than that, points hide each other and the parity plot counts them instead."""

MARKERS_UNTIL = 25
"""With more evaluations than that, markers on a learning curve are a thick line."""


def learning_curve_figure(
    curves: Sequence[LearningCurve],
    *,
    ylabel: str,
    title: str,
    saving: LabelSaving | None = None,
) -> Figure:
    """Draw the error of the arms against the number of labelled materials.

    Args:
        curves: one learning curve an arm, or several of the same arm, one a seed: then their mean is drawn
            with a band of one standard deviation to both sides.
        ylabel: what the error is, with its unit.
        title: on what it was measured.
        saving: a comparison to mark: the level of the worse arm's final error, from where the worse arm ends
            to where the better one reaches it, and down to what that one measured there.
    """
    figure, axes = new_panel(PANEL_INCHES)
    names = list(dict.fromkeys(curve.arm for curve in curves))
    bands = {name: curve_band([c for c in curves if c.arm == name]) for name in names}
    for name, band in bands.items():
        _draw_arm(axes, band, arm_style(name, names))
    if saving is not None and saving.saving is not None and saving.saving > 1:
        _mark_saving(axes, saving, bands[saving.better].mean_curve)
    axes.set_xlabel("Labelled materials")
    axes.set_ylabel(plain(ylabel))
    n_seeds = max(band.n_curves for band in bands.values())
    seeds = f", mean ± std of {n_seeds} seeds" if n_seeds > 1 else ""
    axes.set_title(plain(f"{title}{seeds}"))
    label_whole_numbers(axes)
    figure.legend(loc="outside lower center", ncols=min(len(axes.lines), 3))
    return figure


def _draw_arm(axes: Axes, band: CurveBand, style: ArmStyle) -> None:
    axes.plot(
        band.n_labelled,
        band.mean,
        color=style.colour,
        linestyle=style.line,
        label=plain(band.arm),
        marker="o" if len(band.mean) <= MARKERS_UNTIL else "",
        markersize=3.5,
    )
    if band.n_curves > 1:
        axes.fill_between(
            band.n_labelled,
            band.mean - band.std,
            band.mean + band.std,
            color=style.colour,
            alpha=0.18,
            linewidth=0,
        )


def parity_figure(
    target: FloatArray,
    mean: FloatArray,
    *,
    quantity: str,
    unit: str,
    title: str,
    note: str,
    limits: tuple[float, float],
) -> Figure:
    """Draw predicted against true target of the test rows, as points or, if many, as counts.

    Args:
        target: true targets, float64 ``(m,)``, in ``unit``.
        mean: predicted means, float64 ``(m,)``, in ``unit``.
        quantity: the target's name for people.
        unit: the target's unit.
        title: which arm at which stage.
        note: numbers to print into the panel.
        limits: of both axes, the same for panels that are to be compared.
    """
    figure, axes = new_panel(SQUARE_INCHES)
    if len(target) > POINTS_UNTIL:
        counts = axes.hexbin(
            target,
            mean,
            gridsize=45,
            extent=(*limits, *limits),
            bins="log",
            mincnt=1,
            cmap=count_colours(),
            linewidths=0.1,
        )
        bar = figure.colorbar(counts, ax=axes, label="Test rows a cell", shrink=0.85, pad=0.02)
        label_plain_log_ticks(bar.ax.yaxis)
    else:
        axes.scatter(target, mean, s=14, color=BLUE, alpha=0.55, linewidths=0)
    axes.plot(limits, limits, color=BLACK, linewidth=0.9)
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    axes.set_xlabel(plain(f"{quantity}, label ({unit})"))
    axes.set_ylabel(plain(f"{quantity}, predicted ({unit})"))
    axes.set_title(plain(title))
    axes.text(0.04, 0.96, plain(note), transform=axes.transAxes, va="top", linespacing=1.35)
    return figure


def training_figure(
    epoch: npt.NDArray[np.int64],
    train_mae: FloatArray,
    validation_mae: FloatArray,
    *,
    ylabel: str,
    best_epoch: int | None,
) -> Figure:
    """Draw the error of the network over the epochs of its training, on a logarithmic scale.

    Args:
        epoch: epoch numbers, integer ``(e,)``.
        train_mae: MAE on the rows trained on, float64 ``(e,)``.
        validation_mae: MAE on the rows held out, float64 ``(e,)``.
        ylabel: what the error is, with its unit.
        best_epoch: the epoch whose weights were kept.
    """
    figure, axes = new_panel(PANEL_INCHES)
    marker = "o" if len(epoch) <= MARKERS_UNTIL else ""
    for error, colour, line, name in (
        (train_mae, GREEN, (0, (5, 1.6)), "train"),
        (validation_mae, BLUE, "-", "validation"),
    ):
        axes.plot(
            epoch,
            error,
            color=colour,
            linestyle=line,
            label=name,
            marker=marker,
            markersize=3.5,
            linewidth=1.3,
        )
    if best_epoch is not None:
        axes.axvline(best_epoch, color=GREY, linewidth=0.9, linestyle=":", label="weights kept")
    axes.set_yscale("log")
    axes.set_xlabel("Epoch")
    axes.set_ylabel(plain(ylabel))
    axes.set_title("MEGNet training")
    label_whole_numbers(axes)
    label_plain_log_ticks(axes.yaxis)
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _mark_saving(axes: Axes, saving: LabelSaving, better: LearningCurve) -> None:
    start, level = int(better.n_labelled[0]), saving.final_error_worse
    reached, end = start + saving.labels_needed, start + saving.labels_bought
    line: dict[str, Any] = {"color": BLACK, "linewidth": 0.9, "linestyle": ":"}
    axes.annotate(
        "",
        xy=(reached, level),
        xytext=(end, level),
        arrowprops={"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, **line},
    )
    # The measurement that counts may lie below the level: down to it, so that the arrow meets the curve.
    first = better.error[better.error <= level][0]
    # Its words stand in the legend, where no curve runs behind them.
    axes.plot([reached, reached], [level, first], **line, label=f"label saving {saving.saving:.1f}")
