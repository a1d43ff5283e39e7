"""The figures of a run, one panel each, so that they stand side by side or one below the other.

Every function draws one :class:`matplotlib.figure.Figure` through the object-oriented interface; no
state of pyplot is touched. Draw and save inside :func:`gpnet_ray.report.style.figure_style`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gpnet_ray.evaluation.comparison import LabelSaving, LearningCurve
from gpnet_ray.report.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    PANEL_INCHES,
    SQUARE_INCHES,
    VERMILLION,
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
    "residual_sigma_figure",
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
        curves: one learning curve an arm.
        ylabel: what the error is, with its unit.
        title: on what it was measured.
        saving: a comparison to mark: the level of the worse arm's final error, from where the better
            arm reaches it to where the worse one ends.
    """
    figure, axes = new_panel(PANEL_INCHES)
    names = [curve.arm for curve in curves]
    for curve in curves:
        style = arm_style(curve.arm, names)
        marker = "o" if len(curve.error) <= MARKERS_UNTIL else ""
        axes.plot(
            curve.n_labelled,
            curve.error,
            color=style.colour,
            linestyle=style.line,
            label=plain(curve.arm),
            marker=marker,
            markersize=3.5,
        )
    if saving is not None and saving.saving is not None and saving.saving > 1:
        _mark_saving(axes, saving, start=int(curves[0].n_labelled[0]))
    axes.set_xlabel("Labelled materials")
    axes.set_ylabel(plain(ylabel))
    axes.set_title(plain(title))
    label_whole_numbers(axes)
    figure.legend(loc="outside lower center", ncols=len(curves))
    return figure


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


def residual_sigma_figure(
    residual: FloatArray,
    sigma: FloatArray,
    *,
    quantity: str,
    unit: str,
    title: str,
    limits: tuple[float, float],
) -> Figure:
    """Draw the residual of the test rows against σ, with the lines ±2σ.

    Args:
        residual: label minus predicted mean, float64 ``(m,)``, in ``unit``.
        sigma: predicted standard deviation, float64 ``(m,)``, in ``unit``.
        quantity: the target's name for people.
        unit: the unit of both.
        title: which arm at which stage.
        limits: largest σ and largest absolute residual shown, the same for panels to be compared.
    """
    figure, axes = new_panel(PANEL_INCHES)
    inside = np.abs(residual) <= 2 * sigma
    end, height = 1.05 * limits[0], 1.08 * limits[1]
    # Points outside differ in shape as well as in colour, for print in grey.
    for mine, colour, marker, name in (
        (inside, BLUE, "o", "within 2σ"),
        (~inside, VERMILLION, "^", "beyond 2σ"),
    ):
        axes.scatter(
            sigma[mine],
            residual[mine],
            s=11,
            color=colour,
            marker=marker,
            alpha=0.7,
            linewidths=0,
            label=f"{name} ({int(mine.sum()):,})",
        )
    for sign in (1, -1):
        axes.plot([0, end], [0, sign * 2 * end], color=BLACK, linewidth=0.9)
    axes.axhline(0, color=GREY, linewidth=0.6)
    axes.set(xlim=(0, end), ylim=(-height, height))
    axes.locator_params(axis="x", nbins=6)
    axes.set_xlabel(plain(f"Predicted σ ({unit})"))
    axes.set_ylabel(plain(f"{quantity}, residual ({unit})"))
    axes.set_title(plain(title))
    figure.legend(loc="outside lower center", ncols=2, handletextpad=0.2, markerscale=1.8)
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


def _mark_saving(axes: Axes, saving: LabelSaving, *, start: int) -> None:
    reached, end = start + saving.labels_needed, start + saving.labels_bought
    level = saving.final_error_worse
    axes.annotate(
        "",
        xy=(reached, level),
        xytext=(end, level),
        arrowprops={"arrowstyle": "-|>", "color": BLACK, "linewidth": 0.9, "linestyle": ":"},
    )
    axes.annotate(
        f"label saving {saving.saving:.1f}",
        xy=((reached + end) / 2, level),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        # Readable where curves run behind it.
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6},
    )
