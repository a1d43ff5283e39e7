"""A stretch of an arm's loop: cycles with one network and one Gaussian process.

The variance never reads a label, so a round of messages plans many cycles at once; what is done with
the outcomes is nevertheless exactly what a strictly sequential loop would do. When a material cannot
be labelled, the cycles planned after it are planned again without it; labels that were bought ahead
for them are kept and used when they are picked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import ray

from gpnet_ray.campaign.arm_record import ArmRecord, CurvePoint, Pick
from gpnet_ray.campaign.history import RunHistory
from gpnet_ray.campaign.journal import Journal
from gpnet_ray.campaign.label_desk import LabelDesk
from gpnet_ray.campaign.label_failures import check_failures
from gpnet_ray.campaign.planning import Planner
from gpnet_ray.campaign.replay import check_picks, check_replayed, journaled_from
from gpnet_ray.campaign.stretch_events import (
    StandingOfArm,
    cycle_event,
    measured_again_event,
    round_event,
)
from gpnet_ray.campaign.telemetry_meter import Meter
from gpnet_ray.config import SelectionConfig
from gpnet_ray.oracles.protocol import LabelOutcome
from gpnet_ray.progress import Task
from gpnet_ray.seeds import generator
from gpnet_ray.types import FloatArray, IntArray

if TYPE_CHECKING:
    from gpnet_ray.evaluation.metrics import ErrorSums
    from gpnet_ray.gp.hyperparameters import Hyperparameters
    from gpnet_ray.gp.messages import PlannedCycle

__all__ = ["StartingPoint", "Stretch"]

ORDERED_PICKS_PER_ROUND = 256
"""Picks whose order is known beforehand, planned at once: those of ``random``, and those in a journal."""

ROUND_SECONDS = 60.0
"""So long at most labels are waited for before those that came are learned from, journaled and shown."""


@dataclass(frozen=True)
class StartingPoint:
    """What a stretch starts from: the GP's hyperparameters and the labelled points X (n, d), y (n,).

    ``network`` counts the arm's networks; ``fingerprint`` is that of the one that made the latents.
    """

    hyperparameters: Hyperparameters
    ids: tuple[str, ...]
    X: FloatArray
    y: FloatArray
    network: int = 0
    fingerprint: str = ""


class Stretch:
    """Runs cycles of one strategy over a GP actor and pool-shard actors; used once."""

    def __init__(
        self,
        record: ArmRecord,
        selection: SelectionConfig,
        *,
        unit: str,
        seed: int,
        pool_ids: Sequence[str],
        gp: Any,
        shards: Sequence[Any],
        desk: LabelDesk,
        journal: Journal,
        history: RunHistory | None = None,
        watch: Callable[[Callable[[], ArmRecord]], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare a stretch.

        Args:
            record: What the arm has done before; it is not changed.
            selection: Cycles, batch size, distance cut-off.
            unit: Unit of the target, for the progress.
            seed: The run's seed (the ``random`` strategy's order is drawn from it).
            pool_ids: Ids of the whole pool, as it was before the arm's first pick.
            gp: Handle of the GP actor.
            shards: Handles of the pool-shard actors; they hold no material that has a label.
            desk: Where labels are bought.
            journal: Where every finished cycle is written.
            history: An earlier journal of the same run: the cycles in it are taken as they were, from
                the labels in it.
            watch: Told after every round how the arm's record can be had as it is then.
            clock: Seconds, for the length of a round.

        Raises:
            RunFolderError: the history picks what is not in the pool, or a material twice.
        """
        self._watch, self._clock = watch, clock
        self._record, self._strategy = record, record.strategy
        self._selection, self._unit = selection, unit
        self._gp, self._shards, self._desk, self._journal = gp, shards, desk, journal
        self._pool_size = len(pool_ids)
        history = history or RunHistory()
        self._journaled = history.cycles.get(self._strategy, {})
        self._measured_again = history.measured_again
        self._failed = frozenset(i for i, o in history.labels.items() if o.status != "ok")
        check_picks(self._strategy, self._journaled, pool_ids)
        order = sorted(pool_ids)
        generator(seed, "random strategy").shuffle(order)
        self._random_order = order[len(record.picks) :] if self._strategy == "random" else []
        self._meter = Meter()
        self._picks: list[Pick] = list(record.picks)
        self._curve: list[CurvePoint] = []
        self._test_sums: list[ErrorSums] = []
        self._pool_sums: list[ErrorSums] = []

    def run(
        self, start: StartingPoint, task: Task, *, until_labels: int | None = None
    ) -> ArmRecord:
        """Run cycles until all are done or enough labels are bought.

        Args:
            start: Labelled points and hyperparameters.
            task: Advanced by one a cycle.
            until_labels: End after the first cycle at which the arm has bought that many; ``None``:
                go on to the last cycle.

        Returns:
            The record, grown by this stretch.

        Raises:
            OracleError: too large a share of the picks could not be labelled.
            RunFolderError: the journal of an interrupted run holds picks of another Gaussian process.
        """
        self._start = start
        self._begin()
        before = ray.get(self._gp.test_predictions.remote())
        done = self._record.cycles
        if start.network:
            self._journal_measured_again(start.network)
            self._note(task)
        while cycles := self._cycles_left(done, until_labels):
            planned = self._plan(done, cycles)
            finished, outcomes = self._label(planned, task)
            self._journal_cycles(done, finished)
            self._commit(done, finished, outcomes)
            self._journal_round(done + len(finished), len(finished))
            failed = [p.outcome for p in self._picks if p.outcome.status != "ok"]
            what = f"picks of {self._strategy}"
            check_failures(failed, len(self._picks), self._selection, what=what)
            done += len(finished)
            self._watch(lambda: self._grown_record(before))
            self._note(task)
        return self._grown_record(before)

    def _note(self, task: Task) -> None:
        task.advance(0, note=f"test MAE {self._test_mae():.4f} {self._unit}")

    def _test_mae(self) -> float:
        return float(self._test_sums[-1].metrics()["mae"][-1])

    def _cycles_left(self, done: int, until_labels: int | None) -> int:
        """How many more cycles there may be before it has to be looked again how many labels there are."""
        left = self._selection.cycles - done
        if until_labels is None:
            return left
        bought = sum(pick.outcome.status == "ok" for pick in self._picks)
        return min(left, -(-max(0, until_labels - bought) // self._selection.batch_size))

    def _label(
        self, planned: Sequence[PlannedCycle], task: Task
    ) -> tuple[list[PlannedCycle], dict[str, LabelOutcome]]:
        """Buy labels in the order of the plan, a few ahead, until all are there or one fails.

        Returns:
            The cycles that stand as planned, the last perhaps with a failure, and their outcomes. Where
            labels take long, some of the cycles: the others are planned again and are the same.
        """
        begun = self._clock()
        finished: list[PlannedCycle] = []
        outcomes: dict[str, LabelOutcome] = {}
        stream = self._desk.label([i for cycle in planned for i in cycle.ids])
        for cycle in planned:
            bought = list(islice(stream, len(cycle.ids)))
            outcomes |= {outcome.material_id: outcome for outcome in bought}
            finished.append(cycle)
            task.advance()
            failed = any(outcome.status != "ok" for outcome in bought)
            if failed or self._clock() - begun >= ROUND_SECONDS:
                break
        return finished, outcomes

    def _begin(self) -> None:
        """Bring the actors to the start, and measure the errors there."""
        start, selection = self._start, self._selection
        self._planner = Planner(
            self._strategy,
            selection,
            start.hyperparameters,
            gp=self._gp,
            shards=self._shards,
            pool_size=self._pool_size,
            meter=self._meter,
        )
        snapshot = self._gp.reset.remote(
            start.hyperparameters,
            start.ids,
            start.X,
            start.y,
            reserve=(selection.cycles - self._record.cycles) * selection.batch_size,
        )
        pool_sums = ray.get([shard.reset.remote(snapshot) for shard in self._shards])
        self._test_sums.append(ray.get(self._gp.test_error_sums.remote()))
        self._add_pool_sums(pool_sums)
        self._withdraw([outcome.material_id for outcome in self._record.failed])
        self._curve.append(CurvePoint(self._record.cycles, len(start.ids), start.network))

    def _plan(self, done: int, cycles: int) -> tuple[PlannedCycle, ...]:
        """Plan at least one cycle, or take those that the journal holds."""
        batch, order = self._selection.batch_size, None
        journaled = journaled_from(
            self._journaled,
            done + 1,
            failed=self._failed,
            most_cycles=cycles,
            most_picks=ORDERED_PICKS_PER_ROUND,
        )
        if self._strategy == "random":
            n_cycles = len(journaled) or min(cycles, max(1, ORDERED_PICKS_PER_ROUND // batch))
            order = self._random_order[: n_cycles * batch]
        elif journaled:
            order = [i for cycle in journaled for i in cycle.ids]
        planned = self._planner.plan(len(journaled) or cycles, batch, order=order)
        if not journaled:
            return planned
        hyperparameters = self._start.hyperparameters
        check_replayed(self._strategy, done + 1, journaled, planned, hyperparameters)
        return journaled

    def _commit(
        self,
        done: int,
        finished: Sequence[PlannedCycle],
        outcomes: Mapping[str, LabelOutcome],
    ) -> None:
        """Take the outcomes of finished cycles into the GP, the shards and the metrics."""
        picks = [
            Pick(
                done + number,
                sigma,
                cycle.radius,
                outcomes[i],
                network=self._start.network,
                asked_radius=cycle.asked_radius,
            )
            for number, cycle in enumerate(finished, start=1)
            for i, sigma in zip(cycle.ids, cycle.sigmas, strict=True)
        ]
        del self._random_order[: len(picks)]
        labelled = [pick for pick in picks if pick.outcome.status == "ok"]
        cycle_of = np.array([pick.cycle - done - 1 for pick in labelled], dtype=np.int32)
        bought = np.cumsum(np.bincount(cycle_of, minlength=len(finished)))
        self._curve += [
            CurvePoint(done + number, self._curve[-1].n_labelled + n, self._start.network)
            for number, n in enumerate(bought.tolist(), start=1)
        ]
        self._withdraw([p.outcome.material_id for p in picks if p.outcome.status != "ok"])
        if labelled:
            means = self._take_labels(labelled, cycle_of, len(finished))
            labelled = [replace(p, mean=m) for p, m in zip(labelled, means, strict=True)]
        else:
            # Nothing was learned; the errors stay as they were.
            for known in (self._test_sums, self._pool_sums):
                if known:
                    known += [known[-1].last()] * len(finished)
        self._picks += _in_order(picks, labelled)

    def _withdraw(self, ids: Sequence[str]) -> None:
        """Never offer these again: they could not be labelled."""
        if ids:
            ray.get([shard.withdraw.remote(ids) for shard in self._shards])

    def _take_labels(
        self, labelled: Sequence[Pick], cycle_of: IntArray, n_cycles: int
    ) -> list[float]:
        """Bring the GP and the shards up to date; what was predicted for each pick beforehand."""
        y = np.array([pick.outcome.value for pick in labelled], dtype=np.float64)
        ids = [pick.outcome.material_id for pick in labelled]
        with self._meter.timed("update_seconds"):
            block, test_sums, predicted = self._gp.commit.options(num_returns=3).remote(
                ids, y, cycle_of, n_cycles
            )
            pool_sums = [shard.absorb.remote(block, cycle_of, n_cycles) for shard in self._shards]
            self._test_sums.append(ray.get(test_sums))
            self._add_pool_sums(ray.get(pool_sums))
        answers = [*[block] * len(self._shards), test_sums, predicted, *pool_sums]
        self._meter.exchanged(1 + len(self._shards), answers)
        means: list[float] = ray.get(predicted).tolist()
        return means

    def _add_pool_sums(self, sums: Sequence[ErrorSums | None]) -> None:
        known = [part for part in sums if part is not None]
        if known:
            total = known[0]
            for part in known[1:]:
                total = total + part
            self._pool_sums.append(total)

    def _journal_cycles(self, done: int, finished: Sequence[PlannedCycle]) -> None:
        fingerprint = self._start.fingerprint
        self._journal.append(
            *(
                cycle_event(self._strategy, number, cycle, fingerprint=fingerprint)
                for number, cycle in enumerate(finished, start=done + 1)
                if number not in self._journaled
            )
        )

    def _journal_round(self, number: int, n_cycles: int) -> None:
        cost, size = self._meter.take_round(), self._pool_size
        if number not in self._journaled:
            standing = self._standing()
            self._journal.append(
                round_event(self._strategy, number, n_cycles, standing, pool_size=size, cost=cost)
            )

    def _journal_measured_again(self, network: int) -> None:
        if (self._strategy, network) not in self._measured_again:
            self._journal.append(measured_again_event(self._strategy, network, self._standing()))

    def _standing(self) -> StandingOfArm:
        sigmas = ray.get([shard.largest_sigma.remote() for shard in self._shards])
        largest = max((s for s in sigmas if s is not None), default=None)
        return StandingOfArm(largest, self._test_mae())

    def _grown_record(self, before: tuple[tuple[str, ...], FloatArray, FloatArray]) -> ArmRecord:
        record = self._record
        after = ray.get(self._gp.test_predictions.remote())
        jitter, n_clipped = ray.get(self._gp.numerics.remote())
        n_clipped += sum(ray.get([shard.clipped.remote() for shard in self._shards]))
        return replace(
            record,
            picks=tuple(self._picks),
            curve=(*record.curve, *self._curve),
            test=(*record.test, *self._test_sums),
            pool=(*record.pool, *self._pool_sums),
            test_before=record.test_before or before,
            test_after=after,
            jitter=max(record.jitter, jitter),
            n_clipped=record.n_clipped + n_clipped,
        )


def _in_order(picks: Sequence[Pick], labelled: Sequence[Pick]) -> list[Pick]:
    """All picks in their order, the labelled ones as in ``labelled``."""
    with_mean = {pick.outcome.material_id: pick for pick in labelled}
    return [with_mean.get(pick.outcome.material_id, pick) for pick in picks]
