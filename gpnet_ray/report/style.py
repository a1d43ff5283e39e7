"""One style for all figures: readable on screen, in print and by colour-blind readers."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

__all__ = [
    "BLACK",
    "BLUE",
    "GREEN",
    "GREY",
    "LIGHT_GREY",
    "PANEL_INCHES",
    "SQUARE_INCHES",
    "TALL_INCHES",
    "VERMILLION",
    "ArmStyle",
    "arm_style",
    "balance_colours",
    "count_colours",
    "figure_style",
    "label_plain_log_ticks",
    "label_whole_numbers",
    "new_panel",
    "plain",
    "release_figures",
    "value_colours",
]

# Okabe & Ito, "Color Universal Design" (2008): told apart by colour-blind readers. Their yellow and
# light orange are left out of lines, since they vanish on white paper.
BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY, BLACK, GREY, LIGHT_GREY = "#56B4E9", "#000000", "#595959", "#d4d4d4"

# The width of a journal's column, so that a panel goes into a paper as it is; 9 pt stays readable
# when a phone shows the panel as wide as its screen.
PANEL_INCHES = (4.4, 3.4)
SQUARE_INCHES = (4.4, 3.9)
TALL_INCHES = (4.4, 5.4)
STYLE = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same figure on every machine
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.columnspacing": 1.4,
    "lines.linewidth": 1.6,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 200.0,
    "svg.fonttype": "path",
    "svg.hashsalt": "gpnet-ray",  # without a salt the ids inside the SVG are random
}


@dataclass(frozen=True)
class ArmStyle:
    """How an arm is drawn in every figure: colour and line, so that it is known in grey too."""

    colour: str
    line: Any


_ARM_STYLES = {
    "max-sigma": ArmStyle(BLUE, "-"),
    "random": ArmStyle(VERMILLION, (0, (5, 1.6))),
    "top-k": ArmStyle(GREEN, (0, (6, 1.4, 1.2, 1.4))),
    "distance": ArmStyle(PURPLE, (0, (1.4, 1.2))),
}
_OTHER_STYLES = (ArmStyle(BLACK, "-"), ArmStyle(SKY, "-"), ArmStyle(GREY, (0, (5, 1.6))))


def arm_style(arm: str, arms: Sequence[str]) -> ArmStyle:
    """Return the style of an arm: the same in every run for the strategies of this package."""
    if arm in _ARM_STYLES:
        return _ARM_STYLES[arm]
    others = [name for name in arms if name not in _ARM_STYLES]
    return _OTHER_STYLES[others.index(arm) % len(_OTHER_STYLES)]


@contextmanager
def figure_style() -> Iterator[None]:
    """Apply the style while figures are drawn and saved; the user's settings come back afterwards."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a user's matplotlibrc (dark, usetex) must not change the report
        matplotlib.rcParams.update(STYLE)
        yield


def release_figures() -> None:
    """Give back the memory of figures that nobody uses any more.

    A figure and its axes refer to each other. Python looks for such cycles among old objects only now and then: in a
    driver that runs one campaign after another, the figures of half a dozen would pile up before (10 MiB each).
    """
    gc.collect()


def new_panel(inches: tuple[float, float]) -> tuple[Figure, Axes]:
    """Return an empty figure of one panel, ``(width, height)`` in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=inches)
    return figure, figure.add_subplot()


def label_whole_numbers(axes: Axes) -> None:
    """Label the horizontal axis, which counts something, with whole numbers."""
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def label_plain_log_ticks(axis: Axis) -> None:
    """Label 0.1 and 0.2 instead of 10⁻¹ and nothing: errors rarely span two decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def count_colours() -> Colormap:
    """Return the colours of counts: darker is more, and a single count still stands out on paper."""
    import matplotlib
    import numpy as np
    from matplotlib.colors import ListedColormap

    return ListedColormap(matplotlib.colormaps["Blues"](np.linspace(0.32, 1.0, 256)))


def value_colours() -> Colormap:
    """Return the colours of a value on a map: even steps for colour-blind readers and in grey."""
    import matplotlib

    return matplotlib.colormaps["viridis"]


def balance_colours() -> Colormap:
    """Return the colours of a value with a sign: blue below zero, pale at it, vermillion above it."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("balance", (BLUE, "#cfcfcf", VERMILLION))


def plain(text: str) -> str:
    """Keep matplotlib from reading a dollar sign of the user's as mathematics."""
    return text.replace("$", r"\$")
