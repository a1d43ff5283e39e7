"""Which materials to label next, exactly, from a few candidates and a bound on all the others.

With fixed hyperparameters a variance never reads a label and only falls as labels are added. So the
picks of many cycles can be planned at once, and made among the top candidates of every shard: as
long as each chosen variance exceeds the largest variance of any point outside, the pick is the one
that a loop over the whole pool would have made. Cycles for which this cannot be said are not returned.

Candidates whose variances differ by no more than 1e-12 of the prior variance count as tied, and the
smallest id comes first: rounding, which depends on how the pool is cut into shards, is about 1e-13.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gpnet_ray.config import STRATEGIES
from gpnet_ray.errors import InputError, nearest_name_hint
from gpnet_ray.gp.messages import PlannedCycle, Proposal
from gpnet_ray.types import FloatArray

if TYPE_CHECKING:
    from gpnet_ray.gp.candidates import CandidateSet
    from gpnet_ray.gp.posterior import Posterior

__all__ = ["PlannedCycle", "Proposal", "plan_cycles"]

# The shrunken radius is known to 2⁻²⁰ of the cut-off.
_RADIUS_HALVINGS = 20


def plan_cycles(
    posterior: Posterior,
    proposals: Sequence[Proposal],
    *,
    strategy: str,
    cycles: int,
    batch_size: int = 1,
    distance_cutoff: float | None = None,
    order: Sequence[str] | None = None,
) -> tuple[PlannedCycle, ...]:
    """Plan the picks of the next cycles; the posterior is left as it is.

    Strategies:

    - ``max-sigma``: the point of largest variance, given all points picked before it, in its own
      batch too.
    - ``top-k``: the ``batch_size`` points of largest variance given the picks of earlier cycles.
    - ``distance``: as ``top-k``, in descending order, but every pair of a batch at least
      ``distance_cutoff`` apart; where no such batch exists in the whole pool, the radius shrinks.
    - ``random``: the points in the given order, whatever their variance.

    With an ``order`` every strategy takes the points in it, whatever their variance: the picks of a
    journal are taken again as they were, and what changes is only the σ that is said of them.

    Args:
        posterior: The posterior of all labels so far.
        proposals: The candidates, one proposal a shard.
        strategy: One of ``gpnet_ray.config.STRATEGIES``.
        cycles: Largest number of cycles to plan.
        batch_size: Picks a cycle.
        distance_cutoff: Euclidean distance in the scaled latent space (``distance`` only).
        order: Ids in the order in which they are picked, where that is known beforehand; ``None``:
            the strategy decides, and ``random`` takes them as proposed.

    Returns:
        As many cycles as are certain, none where the candidates are too few to be certain: then ask
        the shards for more. ``sigmas`` are those at the time of each pick (``max-sigma``,
        ``random``) or at the start of its cycle (``top-k``, ``distance``). The radius of a ``distance``
        batch is ``None`` where an order was given.

    Raises:
        InputError: unknown strategy; ``cycles`` or ``batch_size`` below 1; a cut-off that is missing
            or not positive; a pool that is empty or holds fewer points than one batch; no cycle is certain
            and no shard has the memory to offer more candidates.
    """
    if strategy not in STRATEGIES:
        raise InputError(
            f"unknown strategy {strategy!r}: {nearest_name_hint(strategy, STRATEGIES)}"
        )
    if cycles < 1 or batch_size < 1:
        raise InputError(f"{cycles} cycles of {batch_size} picks: both have to be at least 1")
    if strategy == "random" and order is None:
        order = [i for proposal in proposals for i in proposal.ids]
    _check_pool(proposals, batch_size, order)
    plan_one = _planner(strategy, distance_cutoff, is_ordered=order is not None)
    # TensorFlow is imported only where something is computed: a driver reads plans without it.
    from gpnet_ray.gp.candidates import CandidateSet

    candidates = CandidateSet(posterior, proposals, order=order)
    plan: list[PlannedCycle] = []
    while len(plan) < cycles and np.count_nonzero(candidates.free) >= batch_size:
        cycle = plan_one(candidates, batch_size, len(plan) + 1 == cycles)
        if cycle is None:
            break
        plan.append(cycle)
    if not plan:
        _check_memory(proposals)
    return tuple(plan)


_PlanOne = Callable[["CandidateSet", int, bool], PlannedCycle | None]
"""Plans a batch of a size; told whether it is the last, after which nobody asks how variances fell."""


def _planner(strategy: str, distance_cutoff: float | None, *, is_ordered: bool) -> _PlanOne:
    if is_ordered:
        return _ordered_batch if strategy in ("top-k", "distance") else _ordered_cycle
    if strategy == "distance":
        if distance_cutoff is None or not (np.isfinite(distance_cutoff) and distance_cutoff > 0):
            raise InputError(
                f"strategy 'distance' needs a positive distance_cutoff (scaled latent space), got {distance_cutoff}"
            )
        return lambda candidates, size, is_last: _distance_cycle(
            candidates, size, distance_cutoff, is_last
        )
    return {"max-sigma": _max_sigma_cycle, "top-k": _top_k_cycle}[strategy]


def _check_pool(
    proposals: Sequence[Proposal], batch_size: int, order: Sequence[str] | None
) -> None:
    found = sum(len(proposal) for proposal in proposals) if order is None else len(order)
    more = order is None and any(proposal.bound_of_rest > -np.inf for proposal in proposals)
    if found < batch_size and not more:
        left = "the pool is empty" if found == 0 else f"only {found} points are left in the pool"
        raise InputError(
            f"{left}, a batch needs {batch_size}; plan fewer cycles or smaller batches"
        )


def _check_memory(proposals: Sequence[Proposal]) -> None:
    """Say so where no shard can offer more: those that have more candidates cannot keep more of them exact."""
    partial = [proposal for proposal in proposals if proposal.bound_of_rest > -np.inf]
    if partial and all(proposal.is_cut_short for proposal in partial):
        most = max(len(proposal) for proposal in partial)
        raise InputError(
            f"the {most} candidates of largest σ that a shard has the memory to keep exact are not enough to be certain of"
            " the next picks: the batch is larger, or more of them are equally uncertain; raise"
            " resources.shard_memory_mebibytes, take more shards (resources.shards) or smaller batches"
        )


def _max_sigma_cycle(
    candidates: CandidateSet, batch_size: int, _is_last: bool
) -> PlannedCycle | None:
    picks, sigmas = [], []
    for _ in range(batch_size):
        best = _first_of_largest(candidates)
        if not _is_certain(candidates, [best]):
            return None
        picks.append(best)
        sigmas.append(candidates.sigma(best))
        candidates.take(best)
    return PlannedCycle(ids=tuple(candidates.ids[p] for p in picks), sigmas=tuple(sigmas))


def _top_k_cycle(candidates: CandidateSet, batch_size: int, is_last: bool) -> PlannedCycle | None:
    picks = _descending(candidates)[:batch_size]
    if not _is_certain(candidates, picks):
        return None
    return _taken_together(candidates, picks, is_last=is_last)


def _ordered_cycle(
    candidates: CandidateSet, batch_size: int, _is_last: bool
) -> PlannedCycle | None:
    picks = candidates.next_in_order(batch_size)
    if len(picks) < batch_size:
        return None
    sigmas = []
    for pick in picks:
        sigmas.append(candidates.sigma(pick))
        candidates.take(pick)
    return PlannedCycle(ids=tuple(candidates.ids[p] for p in picks), sigmas=tuple(sigmas))


def _ordered_batch(candidates: CandidateSet, batch_size: int, is_last: bool) -> PlannedCycle | None:
    picks = candidates.next_in_order(batch_size)
    if len(picks) < batch_size:
        return None
    return _taken_together(candidates, picks, is_last=is_last)


def _distance_cycle(
    candidates: CandidateSet, batch_size: int, cutoff: float, is_last: bool
) -> PlannedCycle | None:
    descending = _descending(candidates)
    picks, radius = _spread_out(candidates.X, descending, batch_size, cutoff), cutoff
    if len(picks) < batch_size and candidates.bound > -np.inf:
        return None
    # Points outside the set come later in the order than every pick that is certain, so that
    # neither they nor the points passed over can change the walk.
    if len(picks) < batch_size:
        picks, radius = _with_largest_radius(candidates.X, descending, batch_size, cutoff)
    if not _is_certain(candidates, picks):
        return None
    planned = _taken_together(candidates, picks, is_last=is_last)
    return replace(planned, radius=radius, asked_radius=cutoff)


def _spread_out(
    X: FloatArray, descending: Sequence[int], batch_size: int, radius: float
) -> list[int]:
    """Walk down the order and take what is at least ``radius`` away from everything taken."""
    walk = np.asarray(descending)
    latents, open_ = X[walk], np.ones(len(walk), dtype=np.bool_)
    picks: list[int] = []
    while len(picks) < batch_size and open_.any():
        first = int(np.argmax(open_))
        picks.append(int(walk[first]))
        open_ &= np.sqrt(np.sum((latents - latents[first]) ** 2, axis=1)) >= radius
        open_[first] = False
    return picks


def _with_largest_radius(
    X: FloatArray, descending: Sequence[int], batch_size: int, cutoff: float
) -> tuple[list[int], float]:
    """Bisect for the largest radius below ``cutoff`` at which a batch can be filled; 0 always does."""
    filling, failing = 0.0, cutoff
    picks = list(descending[:batch_size])
    for _ in range(_RADIUS_HALVINGS):
        radius = 0.5 * (filling + failing)
        found = _spread_out(X, descending, batch_size, radius)
        if len(found) == batch_size:
            picks, filling = found, radius
        else:
            failing = radius
    return picks, filling


def _taken_together(
    candidates: CandidateSet,
    picks: Sequence[int],
    *,
    is_last: bool,
) -> PlannedCycle:
    sigmas = tuple(candidates.sigma(pick) for pick in picks)
    for pick in () if is_last else picks:
        candidates.take(pick)
    return PlannedCycle(tuple(candidates.ids[p] for p in picks), sigmas)


def _first_of_largest(candidates: CandidateSet) -> int:
    variance = np.where(candidates.free, candidates.variance, -np.inf)
    tied = np.flatnonzero(variance >= variance.max() - candidates.tie)
    return int(tied[np.argmin(candidates.rank[tied])])


def _descending(candidates: CandidateSet) -> list[int]:
    """Free candidates by descending variance; those tied with the first of a run go by id."""
    free = np.flatnonzero(candidates.free)
    order = free[np.lexsort((candidates.rank[free], -candidates.variance[free]))]
    variance = candidates.variance[order]
    start = 0
    for near in np.flatnonzero(variance[:-1] - variance[1:] <= candidates.tie).tolist():
        if near < start:
            continue
        stop = int(np.searchsorted(-variance, -(variance[near] - candidates.tie), side="right"))
        order[near:stop] = order[near:stop][np.argsort(candidates.rank[order[near:stop]])]
        start = stop
    return [int(p) for p in order]


def _is_certain(candidates: CandidateSet, picks: Sequence[int] | npt.NDArray[np.int64]) -> bool:
    """Whether no point outside the set can have tied with, or beaten, one of these picks."""
    # One tie's width below the largest may have been picked, one more covers a tie with the bound.
    return bool(candidates.variance[list(picks)].min() > candidates.bound + 2 * candidates.tie)
