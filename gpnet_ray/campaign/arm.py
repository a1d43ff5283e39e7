"""One arm: a strategy's loop from the same start as every other arm, with what happens between its stretches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gpnet_ray.actors.cluster import LOST
from gpnet_ray.campaign.arm_record import ArmRecord, ArmResult
from gpnet_ray.campaign.context import RunContext
from gpnet_ray.campaign.history import RunHistory
from gpnet_ray.campaign.journal import Journal, read_journal
from gpnet_ray.campaign.label_desk import LabelDesk
from gpnet_ray.campaign.networks import Networks, Representation
from gpnet_ray.campaign.scorers import Scorers
from gpnet_ray.campaign.stretch import Stretch
from gpnet_ray.config import Strategy
from gpnet_ray.progress import Task

__all__ = ["Arm"]


class Counted:
    """Advances a task, and can take back what it has advanced."""

    def __init__(self, task: Task) -> None:
        self._task, self._steps = task, 0.0

    def advance(self, steps: float = 1, *, note: str = "") -> None:
        """Count steps as done."""
        self._steps += steps
        self._task.advance(steps, note=note)

    def take_back(self) -> None:
        """Count them as not done."""
        self._task.advance(-self._steps)
        self._steps = 0.0


class Arm:
    """Runs the stretches of one strategy's loop, and trains the network again between them."""

    def __init__(
        self,
        strategy: Strategy,
        context: RunContext,
        *,
        unit: str,
        pool_ids: Sequence[str],
        networks: Networks,
        scorers: Scorers,
        desk: LabelDesk,
        journal: Journal,
        watch: Callable[[Callable[[], ArmRecord]], None] = lambda _: None,
    ) -> None:
        """Prepare an arm.

        Args:
            strategy: How the next materials are chosen.
            context: Settings, and what an interrupted run's journal held.
            unit: Unit of the target, for the progress.
            pool_ids: Ids of the whole pool.
            networks: Where networks are trained.
            scorers: The actors that score.
            desk: Where labels are bought.
            journal: Where every finished cycle is written.
            watch: Told after every round how the record can be had as it is then.
        """
        self._watch = watch
        self._strategy, self._context, self._unit = strategy, context, unit
        self._pool_ids, self._networks, self._scorers = pool_ids, networks, scorers
        self._desk, self._journal = desk, journal

    def run(self, first: Representation) -> ArmResult:
        """Run all cycles, from the network that all strategies start from.

        Raises:
            OracleError: too large a share of the picks could not be labelled.
            RunFolderError: the journal of an interrupted run holds other picks than this program makes.
            ray.exceptions.RayError: an actor that scores was lost more often than it may be.
        """
        context, representation = self._context, first
        record = ArmRecord(self._strategy)
        cycles = context.config.selection.cycles
        task = context.progress.task(f"Cycles, {self._strategy}", total=cycles, unit="cycles")
        with context.timed(f"loop {self._strategy}"), task as progress:
            while True:
                record = self._stretch(representation, record, progress)
                if not self._trains_again(record):
                    return record.result()
                # The network may train for hours, and nobody would look at what labellers have done.
                self._desk.collect("before the network is trained again")
                self._scorers.release()
                representation, retraining = self._networks.next(record, representation)
                record = record.with_retraining(retraining)

    def _stretch(self, representation: Representation, record: ArmRecord, task: Task) -> ArmRecord:
        """The cycles up to the next training; begun again as often as an actor that scores is lost."""
        history, context = self._context.history, self._context
        counted = Counted(task)
        while True:
            try:
                start = self._scorers.of(representation)
                stretch = Stretch(
                    record,
                    context.config.selection,
                    unit=self._unit,
                    seed=context.config.seed,
                    pool_ids=self._pool_ids,
                    gp=self._scorers.gp,
                    shards=self._scorers.shards,
                    desk=self._desk,
                    journal=self._journal,
                    history=history,
                    watch=self._watch,
                )
                return stretch.run(start, counted, until_labels=self._next_training(record))
            except LOST as error:  # noqa: PERF203 - what is tried takes minutes
                context.progress.line(
                    f"An actor that scores was lost ({type(error).__name__}); it starts again, and"
                    " its cycles are run again from the journal"
                )
                counted.take_back()
                self._scorers.wait_until_back()
                history = RunHistory.of(read_journal(context.folder.journal))

    def _next_training(self, record: ArmRecord) -> int | None:
        """At how many labels bought the network is trained again; ``None``: not before the last cycle."""
        settings = self._context.config.retraining
        if settings.when != "every":
            return None
        # Not by the number of trainings: a batch may pass several such marks at once.
        return (len(record.labelled) // settings.every_labels + 1) * settings.every_labels

    def _trains_again(self, record: ArmRecord) -> bool:
        """Whether there are labels that the network should be trained on, now that a stretch has ended."""
        trained_on = record.curve[0].n_labelled
        if record.retrainings:
            trained_on = record.retrainings[-1].n_labelled
        has_new = record.curve[-1].n_labelled > trained_on
        return has_new and self._context.config.retraining.when != "never"
