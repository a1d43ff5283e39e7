"""The one-cycle learning rate: up in a line, down along a cosine."""

from __future__ import annotations

import math

from gpnet_ray.config import TrainingConfig

__all__ = ["one_cycle_learning_rate"]


def one_cycle_learning_rate(step: int, *, n_steps: int, training: TrainingConfig) -> float:
    """Give the learning rate of a step, counted from 0 to ``n_steps - 1``.

    It rises linearly to ``peak_learning_rate`` during the first ``warmup_fraction`` of the steps and
    falls along half a cosine to ``final_learning_rate_ratio`` of the peak at the last step
    (after Smith & Topin, arXiv:1708.07120).
    """
    peak = training.peak_learning_rate
    n_warmup = max(1, round(training.warmup_fraction * n_steps))
    if step < n_warmup:
        return peak * (step + 1) / n_warmup
    progress = (step + 1 - n_warmup) / max(1, n_steps - n_warmup)
    final = training.final_learning_rate_ratio
    return peak * (final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * progress)))
