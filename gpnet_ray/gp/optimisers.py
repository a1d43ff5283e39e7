"""Minimisers of a function that comes with its gradient, inside bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from scipy.optimize import minimize

from gpnet_ray.types import FloatArray

__all__ = ["Objective", "minimise_adam", "minimise_lbfgs"]

Objective: TypeAlias = Callable[[FloatArray], tuple[float, FloatArray]]
"""Value and gradient at a point."""

# Relative change of the value, and size of its gradient, at which the search ends.
_RELATIVE_CHANGE = 1e-10
_GRADIENT = 1e-6


def minimise_lbfgs(
    objective: Objective, initial: FloatArray, bounds: FloatArray, *, max_evaluations: int
) -> str:
    """L-BFGS-B (Byrd, Lu, Nocedal and Zhu, SIAM J. Sci. Comput. 16, 1190 (1995)), as in SciPy.

    Args:
        objective: What to minimise.
        initial: Where to start, shape (p,); taken into the bounds.
        bounds: Smallest and largest value of every parameter, shape (p, 2).
        max_evaluations: The search ends after the first step that exceeds it.

    Returns:
        Why the search ended before a minimum was found; empty if it was.
    """
    outcome = minimize(
        objective,
        np.clip(initial, bounds[:, 0], bounds[:, 1]),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={
            "maxfun": max_evaluations,
            "maxiter": max_evaluations,
            "ftol": _RELATIVE_CHANGE,
            "gtol": _GRADIENT,
        },
    )
    if outcome.status == 1:
        return (
            f"the search was cut short after {outcome.nfev} evaluations; raise gp.max_evaluations"
        )
    return "" if outcome.status == 0 else f"the search ended early: {outcome.message}"


def minimise_adam(
    objective: Objective,
    initial: FloatArray,
    bounds: FloatArray,
    *,
    max_evaluations: int,
    learning_rate: float,
) -> str:
    """A given number of steps of Adam (Kingma and Ba, ICLR 2015), taken back into the bounds.

    Args:
        objective: What to minimise.
        initial: Where to start, shape (p,); taken into the bounds.
        bounds: Smallest and largest value of every parameter, shape (p, 2).
        max_evaluations: Number of steps; all are made.
        learning_rate: About the size of a step.

    Returns:
        Nothing: a given number of steps never ends early.
    """
    point = np.clip(initial, bounds[:, 0], bounds[:, 1])
    first, second = np.zeros_like(point), np.zeros_like(point)
    for step in range(1, max_evaluations + 1):
        _, gradient = objective(point)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        direction = (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        point = np.clip(point - learning_rate * direction, bounds[:, 0], bounds[:, 1])
    return ""
