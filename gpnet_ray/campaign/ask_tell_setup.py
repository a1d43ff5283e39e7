"""The first hour of an ask-and-tell campaign: train, featurise, fit, and leave all that in a folder."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import ray

from gpnet_ray.actors.cluster import connected, kill_actors, remote_class
from gpnet_ray.actors.gp_worker import GpWorker
from gpnet_ray.actors.placement import Placement, reserved
from gpnet_ray.campaign.ask_tell_folder import UNUSED_SECTIONS, AskTellFolder
from gpnet_ray.campaign.begun_from import say_of_run
from gpnet_ray.campaign.foresight import check_latents
from gpnet_ray.campaign.journal import Journal
from gpnet_ray.campaign.machine import versions
from gpnet_ray.campaign.preparation import Problem, check_network, screen, values_of
from gpnet_ray.campaign.stages import Latents, NetworkStage
from gpnet_ray.campaign.surrogate import gp_content
from gpnet_ray.campaign.tables import history_table, latents_table, reference_table
from gpnet_ray.config import Config
from gpnet_ray.data.dataset import MaterialsDataset, name_some
from gpnet_ray.data.splits import take_whole_crystals
from gpnet_ray.errors import InputError
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.gp.scaling import LatentScaler
from gpnet_ray.progress import Progress
from gpnet_ray.seeds import generator
from gpnet_ray.types import BoolArray, FloatArray

if TYPE_CHECKING:
    from gpnet_ray.gp.fit_records import FitResult

__all__ = [
    "BEGIN_AGAIN",
    "Start",
    "candidates_event",
    "check_start",
    "check_without_labels",
    "featurised",
    "now_text",
    "set_up",
    "settled",
    "with_address",
]

BEGIN_AGAIN = "begin again with --overwrite"
"""What to do when the first hour was cut short; the folder of a campaign that never began lies there."""

FEWEST_LABELS = 10
"""Below that neither a network nor a Gaussian process can be fitted to anything."""


@dataclass(frozen=True)
class Start:
    """What a campaign starts from.

    Attributes:
        labelled: Crystals with their labels.
        pool: Crystals that may be asked for, without labels.
        n_test: How many of the labelled ones only measure the error; drawn by the seed.
        network: A trained network; trained on the others of the labelled ones where ``None``.
        initial: A network from which that training starts; drawn by the seed where ``None``.
    """

    labelled: MaterialsDataset
    pool: MaterialsDataset
    n_test: int
    network: NetworkState | None
    initial: NetworkState | None = None


def settled(config: Config) -> Config:
    """The configuration of a campaign that has no oracle and no arms: one strategy picks.

    Raises:
        InputError: several strategies are named, or a storage.
    """
    selection = config.selection
    if len(selection.strategies) != 1:
        if "strategies" in selection.model_fields_set:
            raise InputError(
                f"strategies {list(selection.strategies)}: labels are bought once, so one strategy"
                " picks; name it with --strategy"
            )
        selection = selection.model_copy(update={"strategies": ("max-sigma",)})
    if config.storage.uri is not None:
        raise InputError(
            "storage.uri: a campaign whose labels are told is not kept in a storage; leave it out, and put"
            " the campaign's folder on a disk that is backed up (NFS)"
        )
    # What concerns only runs with an oracle of their own stays as it is by default.
    unused = {name: Config.model_fields[name].default for name in UNUSED_SECTIONS}
    return config.model_copy(update={"selection": selection, **unused})


def with_address(config: Config, address: str | None) -> Config:
    """The same configuration with another Ray address."""
    resources = config.resources.model_copy(update={"address": address})
    return config.model_copy(update={"resources": resources})


def check_start(start: Start, config: Config) -> None:
    """Check that the parts of a campaign fit each other.

    Raises:
        InputError: says which do not.
    """
    labelled, pool = start.labelled, start.pool
    if labelled.targets is None:
        raise InputError(f"{labelled.source} has no targets; a campaign starts from labelled rows")
    check_without_labels(pool)
    if (labelled.target, labelled.unit) != (pool.target, pool.unit):
        raise InputError(
            f"labelled materials are of {labelled.target} ({labelled.unit}) and the pool is of"
            f" {pool.target} ({pool.unit}); give both the same"
        )
    both = sorted(set(labelled.ids).intersection(pool.ids))
    if both:
        raise InputError(
            f"{len(both)} ids are labelled and in the pool: {name_some(both)}; remove them from one"
        )
    if start.n_test < 0:
        raise InputError(f"{start.n_test} test rows: give 0 or more")
    if start.network is not None:
        check_network(start.network, labelled, config)


def check_without_labels(candidates: MaterialsDataset) -> None:
    """Refuse candidates that bring labels, which would be overlooked.

    Raises:
        InputError: they do.
    """
    if candidates.targets is not None:
        raise InputError(
            f"{candidates.source} brings targets, and candidates have none; read it without"
            " (with_targets=False), and tell the labels once they are candidates"
        )


def set_up(
    folder: AskTellFolder, start: Start, config: Config, *, overwrite: bool, progress: Progress
) -> None:
    """Do all that comes before the first question, and write it into the folder.

    Raises:
        InputError: the parts do not fit each other, or too few labelled rows are left.
        RunFolderError: the folder is occupied.
    """
    check_start(start, config)
    folder.check_can_begin(overwrite=overwrite)
    everything = _together(start)
    problem = screen(everything, config, progress)
    train, test = _split(start, problem, config)
    pool = tuple(i for i in start.pool.ids if i in set(problem.dataset.ids))
    if not pool:
        raise InputError(f"{start.pool.source}: no candidate has a usable crystal; give others")
    check_latents(len(train), config)
    say_of_run(start.network or start.initial, problem.graphs, tuple(test), pool, progress)
    # A campaign outlives the cluster on which it began.
    folder.begin(with_address(config, None), overwrite=overwrite)
    try:
        with Journal(folder.journal, advice=BEGIN_AGAIN) as journal:
            event = _run_event(start, config)
            parts = {
                "start": {"event": "start", "labels": train, "test": test},
                "candidates": candidates_event(pool, problem, start.pool.source),
            }
            made = _compute(folder, start, problem, train, config, progress)
            folder.write_rejected(problem.rejected)
            reference = reference_table({**train, **test})
            folder.write_table(folder.reference, reference, unit=start.labelled.unit)
            journal.append(event, *parts.values(), *made, {"event": "ready"})
    except InputError:
        # What was asked cannot be done: a folder that holds nothing yet is not left behind.
        folder.remove()
        raise


def candidates_event(ids: Sequence[str], problem: Problem, source: str) -> dict[str, Any]:
    """The journal's event of materials that join the pool, and of those that cannot."""
    return {
        "event": "candidates",
        "ids": list(ids),
        "source": source,
        "rejected": [asdict(r) for r in problem.rejected],
        "when": now_text(),
    }


def now_text() -> str:
    """The time in UTC, as the journal has it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def featurised(
    problem: Problem, network: NetworkState, config: Config, progress: Progress
) -> Latents:
    """Latents of all materials of a problem, from a trained network."""
    with (
        connected(config.resources),
        reserved(config.resources, most_shards=0) as place,
        NetworkStage(config, progress, place) as stage,
    ):
        return stage.featurize(network, problem.graphs)


def _together(start: Start) -> MaterialsDataset:
    """All materials as one dataset; who has which label is known by id."""
    labelled, pool = start.labelled, start.pool
    return replace(
        pool,
        ids=labelled.ids + pool.ids,
        structures=labelled.structures + pool.structures,
        rejected=labelled.rejected + pool.rejected,
    )


def _split(
    start: Start, problem: Problem, config: Config
) -> tuple[dict[str, float], dict[str, float]]:
    """Labels that are learned from, and labels that only measure the error; both by sorted ids."""
    labelled = start.labelled
    targets = [] if labelled.targets is None else labelled.targets.tolist()
    usable = set(problem.dataset.ids)
    label_of = {i: y for i, y in zip(labelled.ids, targets, strict=True) if i in usable}
    ordered = sorted(label_of)
    generator(config.seed, "split").shuffle(ordered)
    taken = set(take_whole_crystals(ordered, start.n_test, problem.graphs.crystal_of()))
    if start.n_test and not taken:
        raise InputError(
            f"every crystal stands in more than {start.n_test} rows, which are all test rows or none is; raise --test"
        )
    test, train = sorted(taken), sorted(set(ordered) - taken)
    if len(train) < FEWEST_LABELS:
        raise InputError(
            f"{len(label_of)} usable labelled rows less {len(test)} test rows leave {len(train)} to"
            f" learn from, and at least {FEWEST_LABELS} are needed; label more at random, or lower --test"
        )
    return {i: label_of[i] for i in train}, {i: label_of[i] for i in test}


def _run_event(start: Start, config: Config) -> dict[str, Any]:
    labelled = start.labelled
    return {
        "event": "run",
        "kind": "ask and tell",
        "identity": config.science(),
        "target": labelled.target,
        "unit": labelled.unit,
        "label_note": labelled.label_note,
        "sources": [labelled.source, start.pool.source],
        "versions": versions(),
        "started": now_text(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def _compute(
    folder: AskTellFolder,
    start: Start,
    problem: Problem,
    train: Mapping[str, float],
    config: Config,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Train, featurise and fit; the files are on disk when the events that speak of them return."""
    dataset, ids, network = problem.dataset, tuple(train), start.network
    y = values_of(train, ids)
    with connected(config.resources), reserved(config.resources, most_shards=0) as place:
        with NetworkStage(config, progress, place) as stage:
            if network is None:
                graphs = problem.graphs.select(ids)
                network, history = stage.train(
                    graphs, y, target=dataset.target, unit=dataset.unit, initial=start.initial
                )
                table = history_table(history)
                folder.write_table(folder.training_history, table, unit=dataset.unit)
            latents = stage.featurize(network, problem.graphs)
        known, gp = latents.latents[latents.rows(ids)], config.gp
        scaler = LatentScaler.fit(known, gp.latent_scaling, projection=gp.latent_projection)
        fit = _fit(scaler.transform(known), y, network.held_out(ids), config, place)
    for warning in fit.warnings:
        progress.line(f"Warning: {warning}")
    network.save(folder.network)
    folder.write_table(folder.latents, latents_table(latents), unit=dataset.unit)
    structures = dict(zip(dataset.ids, dataset.structures, strict=True))
    folder.add_structures(structures, unit=dataset.unit)
    parameters = fit.hyperparameters.to_json()
    folder.write_json(folder.gp, gp_content(fit, scaler))
    return [
        {"event": "network", "fingerprint": network.fingerprint()},
        {"event": "gp", "strategy": "", "network": 0, "hyperparameters": parameters},
    ]


def _fit(
    X: FloatArray, y: FloatArray, held_out: BoolArray, config: Config, place: Placement
) -> FitResult:
    worker = remote_class(GpWorker).options(**place.options("gp"))
    gp: Any = worker.remote((), np.empty((0, X.shape[1])), np.empty(0))
    try:
        place.wait_until_ready([gp])
        fit: FitResult = ray.get(gp.fit.remote(X, y, held_out, config.gp, config.seed))
    finally:
        kill_actors([gp])
    return fit
