"""Training without a campaign: a network, or the whole surrogate with its Gaussian process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import ray

from gpnet_ray.actors.cluster import connected, kill_actors, remote_class
from gpnet_ray.actors.gp_worker import GpWorker
from gpnet_ray.actors.placement import Placement, reserved
from gpnet_ray.campaign.begun_from import say_of_training
from gpnet_ray.campaign.foresight import check_latents, warn_of_memory
from gpnet_ray.campaign.preparation import Problem, screen
from gpnet_ray.campaign.pretraining import with_pretrained
from gpnet_ray.campaign.stages import NetworkStage
from gpnet_ray.campaign.surrogate import Surrogate
from gpnet_ray.config import Config
from gpnet_ray.data.dataset import MaterialsDataset, RejectedMaterial
from gpnet_ray.errors import InputError
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.gp.scaling import LatentScaler
from gpnet_ray.progress import NullProgress, Progress
from gpnet_ray.types import BoolArray, FloatArray

if TYPE_CHECKING:
    from gpnet_ray.gnn.records import EpochRecord
    from gpnet_ray.gp.fit_records import FitResult

__all__ = ["Keep", "TrainedSurrogate", "train_network", "train_surrogate"]


Keep: TypeAlias = Callable[
    [NetworkState, Sequence["EpochRecord"], Sequence[RejectedMaterial]], None
]
"""Puts the trained network where it is safe, with a record an epoch and the materials that were left out."""


@dataclass(frozen=True)
class TrainedSurrogate:
    """A surrogate with how it came about: a record an epoch, and the materials that were left out."""

    surrogate: Surrogate
    history: tuple[EpochRecord, ...]
    rejected: tuple[RejectedMaterial, ...]


def train_network(
    dataset: MaterialsDataset, config: Config | None = None, *, progress: Progress | None = None
) -> NetworkState:
    """Train a MEGNet on all rows of a dataset, in a Ray actor; the best network on validation.

    Args:
        dataset: Labelled crystals: the train rows only, ``dataset.select(split.train)``.
        config: Its ``network``, ``training``, ``resources`` and ``seed`` are used.
        progress: Where progress is shown; nowhere where left out.

    Raises:
        InputError: the dataset has no targets.
    """
    progress = progress or NullProgress()
    config, initial = with_pretrained(config or Config(), progress)
    say_of_training(initial, progress)
    problem, targets = _labelled(dataset, config, progress)
    with (
        connected(config.resources),
        reserved(config.resources, most_shards=0) as place,
        NetworkStage(config, progress, place) as stage,
    ):
        state, _ = _train(stage, problem, targets, initial)
    return state


def train_surrogate(
    dataset: MaterialsDataset,
    config: Config | None = None,
    *,
    progress: Progress | None = None,
    keep: Keep | None = None,
) -> TrainedSurrogate:
    """Train a MEGNet on all rows of a dataset and fit the Gaussian process to its latents.

    The network has seen the rows that the process is fitted to, so that σ would be too small; it is
    recalibrated on the share of ``training.validation_fraction`` that was held out of its training.

    Args:
        dataset: Labelled crystals.
        config: Its ``network``, ``training``, ``gp``, ``resources`` and ``seed`` are used.
        progress: Where progress is shown; nowhere where left out.
        keep: Called as soon as the network is trained, so that it is not lost with what comes after it.

    Raises:
        InputError: the dataset has no targets, or the latents will be too few or too narrow for the projection.
    """
    progress = progress or NullProgress()
    config, initial = with_pretrained(config or Config(), progress)
    say_of_training(initial, progress)
    problem, targets = _labelled(dataset, config, progress)
    check_latents(len(targets), config)
    with connected(config.resources), reserved(config.resources, most_shards=0) as place:
        warn_of_memory(len(targets), progress)
        with NetworkStage(config, progress, place) as stage:
            state, history = _train(stage, problem, targets, initial)
            if keep is not None:
                keep(state, history, problem.rejected)
            latents = stage.featurize(state, problem.graphs)
        scaler = LatentScaler.fit(
            latents.latents, config.gp.latent_scaling, projection=config.gp.latent_projection
        )
        X, held_out = scaler.transform(latents.latents), state.held_out(latents.ids)
        fit = _fit(X, targets, held_out, config, progress, place)
    surrogate = Surrogate(
        state,
        scaler,
        fit.hyperparameters,
        latents.ids,
        latents.latents,
        targets,
        fit.recalibration,
    )
    return TrainedSurrogate(surrogate, tuple(history), problem.rejected)


def _labelled(
    dataset: MaterialsDataset, config: Config, progress: Progress
) -> tuple[Problem, FloatArray]:
    problem = screen(dataset, config, progress)
    if problem.dataset.targets is None:
        raise InputError(f"{dataset.source} has no targets to train on; label it first")
    return problem, problem.dataset.targets


def _train(
    stage: NetworkStage, problem: Problem, targets: FloatArray, initial: NetworkState | None
) -> tuple[NetworkState, list[EpochRecord]]:
    kept = problem.dataset
    return stage.train(problem.graphs, targets, target=kept.target, unit=kept.unit, initial=initial)


def _fit(
    X: FloatArray,
    y: FloatArray,
    held_out: BoolArray,
    config: Config,
    progress: Progress,
    place: Placement,
) -> FitResult:
    worker = remote_class(GpWorker).options(**place.options("gp")).remote((), X[:0], y[:0])
    try:
        place.wait_until_ready([worker])
        with progress.task("Fitting the GP", total=1, unit="fits") as task:
            fit: FitResult = ray.get(worker.fit.remote(X, y, held_out, config.gp, config.seed))
            task.advance()
    finally:
        kill_actors([worker])
    for warning in fit.warnings:
        progress.line(f"Warning: {warning}")
    return fit
