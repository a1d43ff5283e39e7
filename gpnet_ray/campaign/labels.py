"""The labels that a run starts with: bought from the oracle, or known from the dataset."""

from __future__ import annotations

from contextlib import ExitStack

import ray

from gpnet_ray.actors.cluster import kill_actors, wait_until_ready
from gpnet_ray.actors.labeller import Labeller
from gpnet_ray.campaign.context import RunContext
from gpnet_ray.campaign.journal import Journal
from gpnet_ray.campaign.label_desk import LabelDesk, check_failures
from gpnet_ray.campaign.preparation import Problem
from gpnet_ray.campaign.tables import reference_table
from gpnet_ray.data.dataset import RejectedMaterial
from gpnet_ray.data.splits import Split
from gpnet_ray.oracles.protocol import LabelOutcome

__all__ = ["open_desk", "true_values"]


def open_desk(
    context: RunContext, problem: Problem, journal: Journal, stack: ExitStack
) -> LabelDesk:
    """Start the labeller actors and open the desk that hands materials to them."""
    resources = context.config.resources
    options = context.actor_options(gpu=False)
    actor = ray.remote(Labeller).options(**options)
    oracle = ray.put(context.oracle)
    labellers = [actor.remote(oracle) for _ in range(resources.labellers)]
    stack.callback(kill_actors, labellers)
    wait_until_ready(labellers, options, resources)
    structures = dict(zip(problem.dataset.ids, problem.dataset.structures, strict=True))
    return LabelDesk(labellers, structures, journal, context.history)


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
    with (
        context.timed("labels"),
        context.progress.task("Labelling", total=total, unit="labels") as task,
    ):

        def advance(_: LabelOutcome) -> None:
            task.advance()

        outcomes = desk.label([*split.train, *split.test], advance)
        outcomes |= desk.measure(measured, advance)
    reference = {i: o.value for i, o in outcomes.items() if o.value is not None}
    context.folder.write_table(
        context.folder.reference, reference_table(reference), unit=dataset.unit
    )
    failed = [o for o in outcomes.values() if o.status != "ok"]
    check_failures(failed, len(outcomes), context.config.selection, what="materials")
    where = f"oracle {context.oracle.name}"
    return reference, tuple(
        RejectedMaterial(o.material_id, f"label {o.status}", o.reason, where) for o in failed
    )


def _measures_pool(context: RunContext) -> bool:
    data = context.config.data
    wanted = data.label_pool_beforehand
    return data.dataset is None if wanted is None else wanted
