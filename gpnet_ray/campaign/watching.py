"""What people can look at while the loop goes on: the run's tables and TensorBoard's curves, every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from gpnet_ray.campaign.arm_record import ArmRecord, ArmResult
from gpnet_ray.campaign.context import RunContext
from gpnet_ray.campaign.preparation import Problem
from gpnet_ray.campaign.records import write_arms
from gpnet_ray.campaign.tensorboard import CycleCurves

__all__ = ["RunWatch"]

EVERY_SECONDS = 10.0
"""The tables are written whole each time: 0.1 s for 3,000 cycles."""


class RunWatch:
    """Writes the tables of the arms that have ended, and of the one under way as far as it has come."""

    def __init__(
        self,
        context: RunContext,
        problem: Problem,
        reference: Mapping[str, float],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to write.

        Args:
            context: Settings and folder.
            problem: The crystals, for their formulas.
            reference: The true values that are known before the loop.
            clock: Seconds.
        """
        self._context, self._problem, self._reference = context, problem, reference
        self._clock, self._last = clock, clock()
        self._ended: list[ArmResult] = []
        self._curves: dict[str, CycleCurves] = {}

    def grown(self, record: Callable[[], ArmRecord]) -> None:
        """Take notice that an arm has grown; ``record`` says how far and is asked only if that is written."""
        if self._clock() - self._last >= EVERY_SECONDS:
            self._write(record().result())
            self._last = self._clock()

    def ended(self, arm: ArmResult) -> None:
        """Write an arm that has had its last cycle."""
        self._write(arm)
        self._ended.append(arm)
        self._curves.pop(arm.strategy).close()

    def _write(self, arm: ArmResult) -> None:
        write_arms(self._context, [*self._ended, arm], self._problem, self._reference)
        if arm.strategy not in self._curves:
            folder = self._context.folder.tensorboard / arm.strategy
            self._curves[arm.strategy] = CycleCurves(folder)
        self._curves[arm.strategy].add(arm)
