"""Figures that show whether σ can be trusted: residuals, intervals, calibration, histogram, deciles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gpnet_ray.evaluation.error_against_sigma import SigmaBin, WorstPoint
from gpnet_ray.evaluation.uncertainty import CalibrationCurve
from gpnet_ray.report.style import (
    BLACK,
    BLUE,
    GREY,
    PANEL_INCHES,
    SQUARE_INCHES,
    VERMILLION,
    ArmStyle,
    balance_colours,
    new_panel,
    plain,
)
from gpnet_ray.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "NamedCurve",
    "calibration_figure",
    "intervals_figure",
    "residual_sigma_figure",
    "sigma_bins_figure",
    "sigma_histogram_figure",
]

POINTS_AS_VECTORS = 1500
"""More points than that are drawn as a picture inside the SVG, which would be megabytes otherwise."""


@dataclass(frozen=True)
class NamedCurve:
    """One stage in a figure of several: what it is called and how it is drawn."""

    name: str
    style: ArmStyle
    values: Any


def residual_sigma_figure(
    residual: FloatArray,
    sigma: FloatArray,
    *,
    worst: Sequence[WorstPoint],
    quantity: str,
    unit: str,
    title: str,
    limits: tuple[float, float],
) -> Figure:
    """Draw the residual of the test rows against σ, coloured by |residual| − 2σ.

    Args:
        residual: label minus predicted mean, float64 ``(m,)``, in ``unit``.
        sigma: predicted standard deviation, float64 ``(m,)``, in ``unit``.
        worst: points to label by their formula, the worst first.
        quantity: the target's name for people.
        unit: the unit of both.
        title: which arm at which stage.
        limits: largest σ and largest absolute residual shown, the same for panels to be compared.
    """
    from matplotlib.colors import TwoSlopeNorm

    figure, axes = new_panel(PANEL_INCHES)
    beyond = np.abs(residual) - 2 * sigma
    end, height = 1.05 * limits[0], 1.1 * limits[1]
    # The same colours in all panels to be compared; pale is the line 2σ.
    norm = TwoSlopeNorm(0.0, -limits[0], limits[0])
    drawn: list[Any] = []
    # Points outside differ in shape as well as in colour, for print in grey.
    for mine, marker, name in ((beyond <= 0, "o", "within 2σ"), (beyond > 0, "^", "beyond 2σ")):
        points = axes.scatter(
            sigma[mine],
            residual[mine],
            c=beyond[mine],
            cmap=balance_colours(),
            norm=norm,
            s=13,
            marker=marker,
            linewidths=0.2,
            edgecolors=GREY,
            label=f"{name} ({int(mine.sum()):,})",
            rasterized=len(sigma) > POINTS_AS_VECTORS,
        )
        drawn.append(points)
    for sign in (1, -1):
        axes.plot([0, end], [0, sign * 2 * end], color=BLACK, linewidth=0.9)
    axes.axhline(0, color=GREY, linewidth=0.6)
    axes.set(xlim=(0, end), ylim=(-height, height))
    _label_worst(axes, worst, PANEL_INCHES)
    axes.locator_params(axis="x", nbins=6)
    axes.set_xlabel(plain(f"Predicted σ ({unit})"))
    axes.set_ylabel(plain(f"{quantity}, residual ({unit})"))
    axes.set_title(plain(title))
    figure.colorbar(
        drawn[0],
        ax=axes,
        label=plain(f"|residual| − 2σ ({unit})"),
        shrink=0.85,
        pad=0.02,
        extend="both",
    )
    handles = _grey_markers()
    names = [str(points.get_label()) for points in drawn]
    figure.legend(handles, names, loc="outside lower center", ncols=2, handletextpad=0.2)
    return figure


def _grey_markers() -> list[Any]:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], marker=marker, linestyle="", color=colour, markersize=5)
        for marker, colour in (("o", BLUE), ("^", VERMILLION))
    ]


def _label_worst(axes: Axes, worst: Sequence[WorstPoint], inches: tuple[float, float]) -> None:
    """Write formulas beside the worst points, each where it covers neither a point nor another formula."""
    width, height = (0.68 * 72 * length for length in inches)  # of the axes, about
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    places = [
        ((p.sigma - left) / (right - left) * width, (p.residual - low) / (high - low) * height)
        for p in worst
    ]
    taken = [_Box(x - 3, y - 3, x + 3, y + 3) for x, y in places]
    for (x, y), point in zip(places, worst, strict=True):
        length = 4.6 * len(point.formula)  # points of a name in 7 pt
        choices = [
            (shift, dy, ha)
            for dy in (0, 9, -9, 18, -18)
            for shift, ha in ((6, "left"), (-6, "right"))
        ]
        for shift, dy, ha in choices:
            start = x + shift - (length if ha == "right" else 0)
            box = _Box(start, y + dy - 4, start + length, y + dy + 4)
            if box.left >= 0 and box.right <= width and not any(box.meets(t) for t in taken):
                taken.append(box)
                axes.annotate(
                    plain(point.formula),
                    xy=(point.sigma, point.residual),
                    xytext=(shift, dy),
                    textcoords="offset points",
                    ha=ha,
                    va="center",
                    fontsize=7,
                )
                break


@dataclass(frozen=True)
class _Box:
    left: float
    low: float
    right: float
    high: float

    def meets(self, other: _Box) -> bool:
        apart = self.right < other.left or other.right < self.left
        return not (apart or self.high < other.low or other.high < self.low)


def intervals_figure(
    target: FloatArray,
    mean: FloatArray,
    sigma: FloatArray,
    *,
    quantity: str,
    unit: str,
    title: str,
    limits: tuple[float, float],
) -> Figure:
    """Draw labels and predictions with 2σ bars, in the order of the labels.

    Args:
        target: true targets, float64 ``(m,)``, in ``unit``; some 100 are readable.
        mean: predicted means, float64 ``(m,)``, in ``unit``.
        sigma: predicted standard deviations, float64 ``(m,)``, in ``unit``.
        quantity: the target's name for people.
        unit: the target's unit.
        title: which arm at which stage.
        limits: of the vertical axis, the same for panels to be compared.
    """
    figure, axes = new_panel(PANEL_INCHES)
    order = np.argsort(target, kind="stable")
    place = np.arange(len(order)) + 1
    outside = (np.abs(target - mean) > 2 * sigma)[order]
    for mine, colour, marker, name in (
        (~outside, BLUE, "o", "label within 2σ"),
        (outside, VERMILLION, "^", "label beyond 2σ"),
    ):
        axes.errorbar(
            place[mine],
            mean[order][mine],
            yerr=2 * sigma[order][mine],
            color=colour,
            fmt=marker,
            markersize=2.6,
            elinewidth=0.9,
            label=f"{name} ({int(mine.sum())})",
        )
    axes.plot(
        place, target[order], color=BLACK, linewidth=0, marker="_", markersize=4.5, label="label"
    )
    axes.set(ylim=limits, xlim=(0, len(order) + 1))
    axes.set_xlabel("Test rows, in the order of their labels")
    axes.set_ylabel(plain(f"{quantity} ({unit})"))
    axes.set_title(plain(title))
    figure.legend(loc="outside lower center", ncols=3, handletextpad=0.3)
    return figure


def calibration_figure(curves: Sequence[NamedCurve], *, title: str) -> Figure:
    """Draw observed against expected coverage at all levels.

    Args:
        curves: one stage each, its ``values`` a :class:`CalibrationCurve`.
        title: on what it was measured.
    """
    figure, axes = new_panel(SQUARE_INCHES)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.9)
    for curve in curves:
        values: CalibrationCurve = curve.values
        axes.plot(
            values.expected,
            values.observed,
            color=curve.style.colour,
            linestyle=curve.style.line,
            label=plain(curve.name),
        )
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.set_xlabel("Expected share inside the interval")
    axes.set_ylabel("Observed share")
    axes.set_title(plain(title))
    for text, place, corner in (
        ("σ too large", (0.04, 0.96), ("left", "top")),
        ("σ too small", (0.96, 0.04), ("right", "bottom")),
    ):
        axes.text(*place, text, color=GREY, ha=corner[0], va=corner[1])
    figure.legend(loc="outside lower center", ncols=1)
    return figure


def sigma_histogram_figure(stages: Sequence[NamedCurve], *, unit: str, title: str) -> Figure:
    """Draw how many test rows have which σ, one outline a stage.

    Args:
        stages: one each, its ``values`` the σ of the test rows, float64 ``(m,)``, in ``unit``.
        unit: the unit of σ.
        title: on what it was measured.
    """
    figure, axes = new_panel(SQUARE_INCHES)
    everything = np.concatenate([stage.values for stage in stages])
    # The few largest σ would squeeze the rest into a corner; they are counted in the last bin.
    top = float(np.quantile(everything, 0.995))
    edges = np.linspace(float(everything.min()), max(top, float(everything.min()) * 1.01), 41)
    for stage in stages:
        axes.hist(
            np.minimum(stage.values, edges[-1]),
            bins=edges.tolist(),
            histtype="step",
            color=stage.style.colour,
            linestyle=stage.style.line,
            linewidth=1.4,
        )
    axes.set_xlabel(plain(f"Predicted σ ({unit})"))
    axes.set_ylabel("Test rows a bin")
    axes.set_title(plain(title))
    figure.legend(*_line_handles(stages), loc="outside lower center", ncols=1)
    return figure


def sigma_bins_figure(
    stages: Sequence[NamedCurve],
    *,
    promised: Sequence[float | None],
    quantity: str,
    unit: str,
    title: str,
) -> Figure:
    """Draw the error of the test rows in bins of σ against the σ of the bin, and the error that σ promises.

    Args:
        stages: one each, its ``values`` a sequence of :class:`SigmaBin`.
        promised: of each stage the MAE over σ where σ is right; ``None`` where there is none.
        quantity: the target's name for people.
        unit: the unit of σ and error.
        title: on what it was measured.
    """
    figure, axes = new_panel(SQUARE_INCHES)
    end = 0.0
    for stage in stages:
        bins: Sequence[SigmaBin] = stage.values
        sigma, mae = [b.rms_sigma for b in bins], [b.mae for b in bins]
        axes.plot(
            sigma,
            mae,
            color=stage.style.colour,
            linestyle=stage.style.line,
            marker="o",
            markersize=3.5,
            linewidth=1.2,
            label=plain(stage.name),
        )
        end = max(end, *sigma)
    _draw_promises(axes, stages, promised, end)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(plain(f"Root mean square σ of a decile ({unit})"))
    axes.set_ylabel(plain(f"{quantity}, MAE ({unit})"))
    axes.set_title(plain(title))
    figure.legend(loc="outside lower center", ncols=1)
    return figure


def _draw_promises(
    axes: Axes, stages: Sequence[NamedCurve], promised: Sequence[float | None], end: float
) -> None:
    """Draw where σ is right until ``end``: one grey line for all stages, or one each where they differ."""
    slopes = [(stage.style, p) for stage, p in zip(stages, promised, strict=True) if p is not None]
    if not slopes:
        return
    if len(set(promised)) == 1:
        _, slope = slopes[0]
        axes.plot([0, end], [0, slope * end], color=GREY, linewidth=0.9, label="σ is right")
        return
    for style, slope in slopes:
        axes.plot(
            [0, end], [0, slope * end], color=style.colour, linestyle=style.line, linewidth=0.7
        )
    axes.plot([], [], color=GREY, linewidth=0.7, label="thin, without points: σ is right")


def _line_handles(stages: Sequence[NamedCurve]) -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=s.style.colour, linestyle=s.style.line, linewidth=1.4) for s in stages
    ]
    return handles, [plain(stage.name) for stage in stages]
