"""Training a network by itself, from a Python script."""

from __future__ import annotations

from gpnet_ray.actors.cluster import actor_options, connected
from gpnet_ray.campaign.preparation import screen
from gpnet_ray.campaign.stages import NetworkStage
from gpnet_ray.config import Config
from gpnet_ray.data.dataset import MaterialsDataset
from gpnet_ray.errors import InputError
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.progress import NullProgress, Progress

__all__ = ["train_network"]


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
    config, progress = config or Config(), progress or NullProgress()
    if dataset.targets is None:
        raise InputError(f"{dataset.source} has no targets to train on; label it first")
    problem = screen(dataset, config, progress)
    kept = problem.dataset
    if kept.targets is None:
        raise InputError(f"{dataset.source} has no targets to train on; label it first")
    with connected(config.resources):
        options = actor_options(config.resources, n_actors=1, gpu=True)
        with NetworkStage(config, progress, options) as stage:
            state, _ = stage.train(problem.graphs, kept.targets, target=kept.target, unit=kept.unit)
    return state
