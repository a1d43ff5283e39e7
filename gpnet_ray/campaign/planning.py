"""Planning the next picks over the actors: shards propose, the Gaussian process certifies."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import ray

from gpnet_ray.campaign.telemetry_meter import Meter
from gpnet_ray.config import SelectionConfig, Strategy
from gpnet_ray.gp.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    from gpnet_ray.gp.messages import PlannedCycle

__all__ = ["Planner"]

CANDIDATES_PER_ROUND = 1024
"""Candidates that all shards together offer in a round; a shard's share grows when no cycle is certain."""


class Planner:
    """Asks the shards for candidates, more of them until a cycle is certain."""

    def __init__(
        self,
        strategy: Strategy,
        selection: SelectionConfig,
        hyperparameters: Hyperparameters,
        *,
        gp: Any,
        shards: Sequence[Any],
        pool_size: int,
        meter: Meter | None = None,
    ) -> None:
        """Prepare for one strategy.

        Args:
            strategy: What picks.
            selection: Distance cut-off of the ``distance`` strategy, or its share of the shortest length scale.
            hyperparameters: Of the Gaussian process.
            gp: Handle of the GP actor.
            shards: Handles of the pool-shard actors.
            pool_size: How many candidates all shards together can have at most.
            meter: Counts what planning costs; nobody where left out.
        """
        self._meter = meter
        self._strategy, self._gp, self._shards = strategy, gp, shards
        self._pool_size = pool_size
        self._cutoff = selection.distance_cutoff or (
            selection.distance_cutoff_fraction * min(hyperparameters.lengths)
        )
        self._limit = -(-CANDIDATES_PER_ROUND // len(shards))

    def plan(
        self, cycles: int, batch_size: int, *, order: Sequence[str] | None = None
    ) -> tuple[PlannedCycle, ...]:
        """Plan at least one cycle and at most ``cycles``.

        ``order`` names the candidates in the order in which they are picked, where that is known
        beforehand: by ``random``, or from a journal.

        Raises:
            InputError: fewer candidates are left than one batch needs, or no shard has the memory to offer as many as it
                takes to be certain.
        """
        while True:
            planned = self._ask(cycles, batch_size, order)
            if planned:
                return planned
            if self._limit >= self._pool_size:
                raise RuntimeError(
                    f"no cycle of {self._strategy} could be planned from the whole pool of"
                    f" {self._pool_size}; this is a defect of gpnet_ray, please report it"
                )
            self._limit *= 4

    def _ask(
        self, cycles: int, batch_size: int, order: Sequence[str] | None
    ) -> tuple[PlannedCycle, ...]:
        """One round of messages; what is certain of its candidates, perhaps nothing."""
        with self._meter.timed("scoring_seconds") if self._meter else nullcontext():
            proposals = [
                shard.propose.remote(self._limit)
                if order is None
                else shard.propose_ids.remote(order)
                for shard in self._shards
            ]
            plan = self._gp.plan.remote(
                self._strategy, cycles, batch_size, self._cutoff, order, *proposals
            )
            planned: tuple[PlannedCycle, ...] = ray.get(plan)
        if self._meter:
            self._meter.exchanged(1 + len(self._shards), [*proposals, plan])
        return planned
