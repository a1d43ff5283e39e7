"""The tables and the record that a run leaves in its folder for the report and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from gpnet_ray.campaign.arm_record import ArmResult
from gpnet_ray.campaign.context import RunContext
from gpnet_ray.campaign.machine import machine, versions
from gpnet_ray.campaign.networks import Representation
from gpnet_ray.campaign.preparation import Problem, values_of
from gpnet_ray.campaign.surrogate import labelled_table
from gpnet_ray.campaign.tables import (
    materials_table,
    metrics_table,
    picks_table,
    predictions_table,
    retrainings_table,
)
from gpnet_ray.data.splits import Split

__all__ = ["write_about", "write_arms", "write_materials", "write_run"]


def write_about(context: RunContext, problem: Problem, split: Split) -> None:
    """Write what is run on what, and what was left out of it, before there is any result."""
    context.folder.write_rejected(problem.rejected)
    content = {**_about(context, problem, split), "finished": False}
    context.folder.write_json(context.folder.run, content)


def write_materials(
    context: RunContext, problem: Problem, split: Split, reference: Mapping[str, float]
) -> None:
    """Write who takes part: what maps and comparisons with the pool are made of."""
    table = materials_table(split, problem.dataset.formulas(), reference)
    context.folder.write_table(context.folder.materials, table, unit=problem.dataset.unit)


def write_arms(
    context: RunContext,
    arms: Sequence[ArmResult],
    problem: Problem,
    reference: Mapping[str, float],
) -> None:
    """Write metrics, picks and predictions of the arms that have ended so far."""
    folder, unit = context.folder, problem.dataset.unit
    formula_of = problem.dataset.formulas()
    folder.write_table(folder.metrics, metrics_table(arms), unit=unit)
    folder.write_table(folder.picks, picks_table(arms, formula_of), unit=unit)
    folder.write_table(folder.retrainings, retrainings_table(arms), unit=unit)
    predictions = predictions_table(arms, reference, formula_of)
    folder.write_table(folder.predictions, predictions, unit=unit)


def write_run(
    context: RunContext,
    arms: Sequence[ArmResult],
    problem: Problem,
    split: Split,
    reference: Mapping[str, float],
    first: Representation,
    bought: Mapping[str, float],
) -> None:
    """Write the labels that were bought, what was run on what, and how long each stage took (s).

    ``bought`` has those, too, that were made ahead for a pick which was planned again without it.
    """
    dataset, latents, kept = problem.dataset, first.latents, first.network.kept
    network_error = latents.predictions[latents.rows(split.test)] - values_of(reference, split.test)
    content = {
        **_about(context, problem, split),
        "network_test_mae": float(np.abs(network_error).mean()),
        "network_kept": asdict(kept) if kept else None,
        "numerics": {
            arm.strategy: {"jitter": arm.jitter, "clipped_variances": arm.n_clipped} for arm in arms
        },
        "timings_s": {**context.timings, **context.history.timings},
        "finished": True,
    }
    taken = (*split.train, *split.pool)
    known = {name: reference[name] for name in split.train} | dict(bought)
    labels = {name: known[name] for name in taken if name in known}
    table = labelled_table(
        list(labels), latents.latents[latents.rows(list(labels))], np.array([*labels.values()])
    )
    context.folder.write_table(context.folder.labelled, table, unit=dataset.unit)
    context.folder.write_json(context.folder.run, content)


def _about(context: RunContext, problem: Problem, split: Split) -> dict[str, Any]:
    dataset, run = problem.dataset, context.history.run or {}
    return {
        "target": dataset.target,
        "unit": dataset.unit,
        "source": dataset.source,
        "label_note": dataset.label_note,
        "n_materials": len(dataset),
        "n_train": len(split.train),
        "n_pool": len(split.pool),
        "n_test": len(split.test),
        "n_rejected": len(problem.rejected),
        "versions": versions(),
        "machine": machine(),
        "started": run["started"],
        "command": run["command"],
    }
