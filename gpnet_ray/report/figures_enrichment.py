"""Which elements and formulas an arm picked more often than random picks would have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpnet_ray.evaluation.enrichment import Enriched
from gpnet_ray.report.style import BLUE, GREY, LIGHT_GREY, TALL_INCHES, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["EnrichedGroup", "enrichment_figure"]

MARKER: dict[str, Any] = {"marker": "o", "color": BLUE, "markersize": 4.5, "linestyle": ""}


@dataclass(frozen=True)
class EnrichedGroup:
    """One part of the figure.

    Attributes:
        heading: what the rows are.
        rows: at least one, drawn from above.
        significant: p-value below which a row is beyond chance.
    """

    heading: str
    rows: Sequence[Enriched]
    significant: float


def enrichment_figure(groups: Sequence[EnrichedGroup], *, title: str) -> Figure:
    """Draw how many times more often than by chance materials of some kinds were picked.

    Args:
        groups: one above the other.
        title: of which arm.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=TALL_INCHES)
    panels = figure.subplots(
        len(groups), squeeze=False, height_ratios=[len(group.rows) + 1.5 for group in groups]
    )[:, 0]
    for axes, group in zip(panels, groups, strict=True):
        _draw_group(axes, group)
    panels[-1].set_xlabel("Picked, times what random picks would hold")
    figure.suptitle(plain(title), x=0.01, ha="left", fontsize=9.5)
    figure.legend(*_handles(), loc="outside lower center", ncols=2)
    return figure


def _draw_group(axes: Axes, group: EnrichedGroup) -> None:
    rows = group.rows
    widest = max(max(row.ratio, row.high / row.expected) for row in rows)
    for place, row in enumerate(rows):
        low, high = row.low / row.expected, row.high / row.expected
        axes.barh(place, high - low, left=low, height=0.62, color=LIGHT_GREY)
        fill = BLUE if row.p_value < group.significant else "white"
        axes.plot(row.ratio, place, **MARKER, markerfacecolor=fill)
        axes.text(
            1.02,
            place,
            f"{row.n_picked:,} ({row.expected:,.1f})",
            transform=axes.get_yaxis_transform(),
            va="center",
            fontsize=8,
        )
    axes.axvline(1, color=GREY, linewidth=0.9)
    axes.set_yticks(range(len(rows)), [plain(row.name) for row in rows], fontsize=8)
    axes.set(xlim=(0, 1.06 * widest), ylim=(len(rows) - 0.4, -0.6))
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_title(plain(group.heading), fontsize=9)
    axes.text(
        1.02,
        1.0,
        "picked\n(expected)",
        transform=axes.transAxes,
        va="bottom",
        fontsize=7,
        color=GREY,
    )


def _handles() -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    beyond = Line2D([], [], **MARKER, markerfacecolor=BLUE)
    within = Line2D([], [], **MARKER, markerfacecolor="white")
    names = ["picked, beyond chance", "picked, not beyond it", "95 % of random picks"]
    return [beyond, within, Patch(color=LIGHT_GREY)], names
