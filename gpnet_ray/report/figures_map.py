"""Maps of the latent space: coloured by a value, or with an arm's picks in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gpnet_ray.report.style import BLACK, LIGHT_GREY, SQUARE_INCHES, new_panel, plain, value_colours
from gpnet_ray.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["latent_picks_figure", "latent_value_figure"]

NUMBERED = 5
"""So many first picks carry their number."""


def latent_value_figure(
    x: FloatArray,
    y: FloatArray,
    value: FloatArray,
    *,
    label: str,
    title: str,
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Draw a map whose points are coloured by a value; points without one are grey.

    Args:
        x: horizontal places, float64 ``(m,)``.
        y: vertical places, float64 ``(m,)``.
        value: what colours the points, float64 ``(m,)``; NaN where it is unknown.
        label: what the value is, with its unit.
        title: of the panel.
        limits: ends of the colours, the same for panels to be compared; ``None``: all but the outermost
            percent of the values.
    """
    figure, axes = _empty_map(x, y, title)
    known = np.isfinite(value)
    _draw_others(axes, x[~known], y[~known])
    low, high = limits if limits is not None else np.quantile(value[known], (0.01, 0.99))
    shown = axes.scatter(
        x[known],
        y[known],
        c=value[known],
        cmap=value_colours(),
        vmin=low,
        vmax=high,
        s=_size(int(known.sum())),
        linewidths=0,
        rasterized=True,
    )
    extend = _extend(value[known], float(low), float(high))
    figure.colorbar(shown, ax=axes, label=plain(label), shrink=0.85, pad=0.02, extend=extend)
    return figure


def latent_picks_figure(x: FloatArray, y: FloatArray, order: FloatArray, *, title: str) -> Figure:
    """Draw a map with the picks of one arm coloured by their order, the first few numbered.

    Args:
        x: horizontal places, float64 ``(m,)``.
        y: vertical places, float64 ``(m,)``.
        order: number of the pick, from 1, float64 ``(m,)``; NaN for what was not picked.
        title: of the panel.
    """
    figure, axes = _empty_map(x, y, title)
    picked = np.flatnonzero(np.isfinite(order))
    others = np.flatnonzero(~np.isfinite(order))
    _draw_others(axes, x[others], y[others])
    # Later picks lie above earlier ones.
    picked = picked[np.argsort(order[picked])]
    shown = axes.scatter(
        x[picked],
        y[picked],
        c=order[picked],
        cmap=value_colours().reversed(),
        s=_size(len(picked)),
        linewidths=0,
        rasterized=True,
    )
    figure.colorbar(shown, ax=axes, label="Order of the pick", shrink=0.85, pad=0.02)
    first = picked[:NUMBERED]
    axes.scatter(x[first], y[first], s=26, facecolors="none", edgecolors=BLACK, linewidths=0.8)
    for row in first:
        axes.annotate(
            f"{order[row]:.0f}",
            xy=(x[row], y[row]),
            xytext=(5, 5),
            textcoords="offset points",
            fontsize=7,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.4},
        )
    return figure


def _empty_map(x: FloatArray, y: FloatArray, title: str) -> tuple[Figure, Axes]:
    figure, axes = new_panel(SQUARE_INCHES)
    axes.set_title(plain(title))
    # Places on the map have no unit and no meaning of their own.
    axes.set(xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_visible(False)
    axes.set_xlim(_with_margin(x))
    axes.set_ylim(_with_margin(y))
    return figure, axes


def _with_margin(places: FloatArray) -> tuple[float, float]:
    low, high = float(places.min()), float(places.max())
    margin = 0.03 * (high - low) or 1.0
    return low - margin, high + margin


def _draw_others(axes: Axes, x: FloatArray, y: FloatArray) -> None:
    axes.scatter(x, y, s=_size(len(x)), color=LIGHT_GREY, linewidths=0, rasterized=True)


def _size(n: int) -> float:
    """Area of a point: many points are smaller, so that they do not hide each other."""
    return float(np.clip(9000 / max(n, 1), 3.5, 14))


def _extend(value: FloatArray, low: float, high: float) -> str:
    below, above = bool((value < low).any()), bool((value > high).any())
    return {(True, True): "both", (True, False): "min", (False, True): "max"}.get(
        (below, above), "neither"
    )
