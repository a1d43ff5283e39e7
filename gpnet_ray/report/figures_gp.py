"""How the Gaussian process found its hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpnet_ray.report.style import (
    BLACK,
    BLUE,
    GREEN,
    PANEL_INCHES,
    VERMILLION,
    label_whole_numbers,
    plain,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["hyperparameter_trace_figure"]


def hyperparameter_trace_figure(trace: Sequence[Mapping[str, Any]], *, unit: str) -> Figure:
    """Draw the negative log likelihood and the hyperparameters at each evaluation of the search.

    Args:
        trace: steps as ``gp.json`` has them, in order, at least one.
        unit: the target's unit.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(PANEL_INCHES[0], 4.3))
    above, below = figure.subplots(2, sharex=True, height_ratios=(1, 1.3))
    evaluation = np.array([step["evaluation"] for step in trace], dtype=np.int64)
    likelihood = np.array([step["negative_log_likelihood"] for step in trace], dtype=np.float64)
    above.plot(evaluation, likelihood, color=BLACK, marker="o", markersize=2.5, linewidth=1.1)
    above.set_ylabel("−log likelihood")
    above.set_title("Search for the hyperparameters")
    _draw_parameters(below, evaluation, trace, unit)
    below.set_xlabel("Evaluation of the likelihood")
    label_whole_numbers(below)
    figure.legend(loc="outside lower center", ncols=1)
    figure.align_ylabels()
    return figure


def _draw_parameters(
    axes: Axes, evaluation: Any, trace: Sequence[Mapping[str, Any]], unit: str
) -> None:
    parameters = (
        ("length_scale", "length scale (scaled latent space)", VERMILLION, (0, (5, 1.6))),
        ("amplitude", f"amplitude ({unit})", BLUE, "-"),
        ("noise_std", f"noise ({unit})", GREEN, (0, (1.4, 1.2))),
    )
    for key, name, colour, line in parameters:
        # One number a step, or one a latent dimension.
        values = np.array([np.atleast_1d(step[key]) for step in trace], dtype=np.float64)
        several = values.shape[1] > 1
        drawn = axes.plot(
            evaluation, values, color=colour, linestyle=line, linewidth=0.6 if several else 1.4
        )
        drawn[0].set_label(plain(f"{name}, one a dimension" if several else name))
    axes.set_yscale("log")
    axes.set_ylabel("Value")
