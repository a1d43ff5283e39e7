"""What a fit, or a shard of a large pool, needs, known before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass

from gpnet_ray.errors import InputError

__all__ = [
    "FEWEST_ACTIVE",
    "MOST_ACTIVE",
    "REFINED_AT_ONCE",
    "MemoryNeed",
    "fit_bytes",
    "memory_need",
]

FEWEST_ACTIVE = 1024
"""Candidates that a shard must be able to keep exact: what it offers in a round of planning."""
MOST_ACTIVE = 8192
"""Candidates that it keeps exact as long as no more are asked for: what more would save is not worth its memory."""

REFINED_AT_ONCE = 1024
"""Candidates whose variances are computed in full at once."""

_MEBIBYTE = 1 << 20
# Matrices of all pairs of labels that a fit holds at its peak: 12.7 of 3,000 and 12.5 of 5,000, on a CPU.
_FIT_MATRICES = 12
# Bound (float32) and whether it was ever looked at (bool) of a point; a mask of one pass over a file is small.
_BYTES_A_POINT = 5
# The factor's buffer, a copy of what is filled, and the halves that a solve works on.
_FACTORS = 3
# Columns that are kept, and the copy that a product is made with.
_ACTIVE_COPIES = 2
# Covariances of a tile, its solved columns, and two temporaries.
_TILE_COPIES = 4
# The temporaries of a tile of first bounds: a few times 2²⁰ entries.
_FIRST_BOUNDS_BYTES = 6 * 8 * _MEBIBYTE


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes of a shard beside what its process has before any point (Python, Ray and TensorFlow: some 0.8 GB).

    Attributes:
        points: Of what it keeps of every point. The latents themselves are mapped from disk: the system lends
            memory for them and takes it back.
        factor: Of the posterior's factor, with room for all labels to come.
        active: Of the candidates that are kept exact.
        working: Of what is computed at once.
        most_active: How many candidates can be kept exact.
        budget: What it may use.
    """

    points: int
    factor: int
    active: int
    working: int
    most_active: int
    budget: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.points + self.factor + self.active + self.working

    def __str__(self) -> str:
        mebibytes = [f"{size / _MEBIBYTE:.0f}" for size in (self.total, self.budget)]
        return f"{mebibytes[0]} of {mebibytes[1]} MiB ({self.most_active} candidates kept exact)"


def fit_bytes(n_labels: int) -> int:
    """What fitting hyperparameters to so many labels takes at least, beside what its process has before."""
    return _FIT_MATRICES * 8 * n_labels**2


def memory_need(
    n_points: int, n_labels: int, *, budget: int, most_active: int = MOST_ACTIVE
) -> MemoryNeed:
    """Divide a budget: all points and the factor first, then as many exact candidates as there is room for.

    Args:
        n_points: Of the shard.
        n_labels: Largest number of labels that the posterior will have.
        budget: In bytes.
        most_active: How many exact candidates are worth having.

    Raises:
        InputError: it cannot be done with so little.
    """
    points, factor = _BYTES_A_POINT * n_points, _FACTORS * 8 * n_labels**2
    working = _TILE_COPIES * 8 * n_labels * REFINED_AT_ONCE + _FIRST_BOUNDS_BYTES
    each = _ACTIVE_COPIES * 8 * max(1, n_labels)
    most_active = min(most_active, (budget - points - factor - working) // each)
    if most_active < FEWEST_ACTIVE:
        least = points + factor + working + FEWEST_ACTIVE * each
        raise InputError(
            f"a shard of {n_points} candidates needs {-(-least // _MEBIBYTE)} MiB for up to {n_labels} labels and may"
            f" use {budget // _MEBIBYTE} MiB; raise resources.shard_memory_mebibytes or"
            " divide the pool among more shards"
        )
    return MemoryNeed(points, factor, most_active * each, working, most_active, budget)
