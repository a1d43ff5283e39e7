"""The labels that a run starts with: bought from the oracle, or known from the dataset."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import chain
from typing import Any

import ray

from gpnet_ray.actors.cluster import remote_class
from gpnet_ray.actors.labeller import Labeller
from gpnet_ray.actors.labeller_crew import LabellerCrew
from gpnet_ray.actors.placement import no_place
from gpnet_ray.campaign.arguments import sending
from gpnet_ray.campaign.context import RunContext
from gpnet_ray.campaign.journal import Journal
from gpnet_ray.campaign.label_desk import LabelDesk
from gpnet_ray.campaign.label_failures import check_failures
from gpnet_ray.campaign.preparation import Problem
from gpnet_ray.campaign.tables import reference_table
from gpnet_ray.data.dataset import RejectedMaterial
from gpnet_ray.data.splits import Split
from gpnet_ray.oracles.ionic import IonicOracle
from gpnet_ray.oracles.protocol import LabelOutcome

__all__ = ["open_desk", "true_values"]


def open_desk(
    context: RunContext, problem: Problem, journal: Journal, stack: ExitStack
) -> LabelDesk:
    """Start the labeller actors and open the desk that hands materials to them.

    One that has its place is enough to begin with; the others join as nodes come or other jobs end.

    Raises:
        ClusterError: no labeller has a place within the deadline.
        InputError: the oracle cannot be sent to one.
    """
    resources, settings = context.config.resources, context.config.labels
    place = context.place
    with sending(context.oracle):
        oracle = ray.put(context.oracle)

    def hire() -> Any:
        return remote_class(Labeller).options(**place.options("labeller")).remote(oracle)

    crew = LabellerCrew(
        [],
        hire,
        size=resources.labellers,
        time_limit_seconds=settings.time_limit_seconds,
        start_deadline_seconds=resources.start_deadline_seconds,
        notify=context.progress.line,
    )
    stack.callback(crew.close)
    if not crew.wait_for_one():
        who = f"none of {resources.labellers} labellers has"
        raise no_place(who, str(place.asked), resources)
    structures = dict(zip(problem.dataset.ids, problem.dataset.structures, strict=True))
    desk = LabelDesk(
        crew,
        structures,
        journal,
        context.history,
        settings=settings,
        notify=context.progress.line,
    )
    return stack.enter_context(desk)


def true_values(
    context: RunContext, problem: Problem, split: Split, desk: LabelDesk
) -> tuple[dict[str, float], tuple[RejectedMaterial, ...]]:
    """Return the true values that are known before the loop, and who could not be labelled.

    A dataset with targets knows all of them. Else the train and test rows are bought from the
    oracle, and the pool's are measured beforehand where the configuration says so.

    Raises:
        OracleError: too large a share of them could not be labelled.
    """
    dataset = problem.dataset
    if dataset.targets is not None:
        return dict(zip(dataset.ids, dataset.targets.tolist(), strict=True)), ()
    measured = split.pool if _measures_pool(context) else ()
    total = len(split.train) + len(split.test) + len(measured)
    outcomes: list[LabelOutcome] = []
    failed: list[LabelOutcome] = []
    with (
        context.timed("labels"),
        context.progress.task("Labelling", total=total, unit="labels") as task,
    ):
        bought = desk.label([*split.train, *split.test], all_needed=True)
        for outcome in chain(bought, desk.measure(measured)):
            task.advance()
            outcomes.append(outcome)
            if outcome.status != "ok":
                failed.append(outcome)
                # An oracle that labels nothing at all is not asked about everything.
                if len(failed) == len(outcomes):
                    check_failures(failed, len(failed), context.config.selection, what="materials")
    reference = {o.material_id: o.value for o in outcomes if o.value is not None}
    context.folder.write_table(
        context.folder.reference, reference_table(reference), unit=dataset.unit
    )
    check_failures(failed, len(outcomes), context.config.selection, what="materials")
    where = f"oracle {context.oracle.name}"
    return reference, tuple(
        RejectedMaterial(o.material_id, f"label {o.status}", o.reason, where) for o in failed
    )


def _measures_pool(context: RunContext) -> bool:
    wanted = context.config.data.label_pool_beforehand
    # Any other oracle may take hours for each label.
    return context.oracle.name == IonicOracle.name if wanted is None else wanted
