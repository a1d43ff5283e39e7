"""Folds side by side, each a Ray task: as many at a time as find CPUs, or shares of a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray

from gpnet_ray.actors.placement import (
    ROUNDING,
    Ask,
    actor_environment,
    cluster_nodes,
    no_place,
    reserved,
)
from gpnet_ray.actors.settings import ResourcesConfig
from gpnet_ray.campaign.validation_folder import FoldKey
from gpnet_ray.campaign.validation_task import (
    HeldOutPrediction,
    Lesson,
    learn_and_predict,
    threads_a_fold,
)
from gpnet_ray.config import Config
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.gnn.records import EpochRecord
from gpnet_ray.progress import Progress, Task

if TYPE_CHECKING:
    from gpnet_ray.gnn.graphs import CrystalGraphs

__all__ = ["FinishedFold", "run_folds"]


@dataclass(frozen=True, eq=False)
class FinishedFold:
    """A fold that came to its end.

    Attributes:
        key: Its target and number.
        n_train: Rows that it learned from.
        history: A record an epoch.
        prediction: Of what it held out.
    """

    key: FoldKey
    n_train: int
    history: tuple[EpochRecord, ...]
    prediction: HeldOutPrediction


def run_folds(
    graphs: CrystalGraphs,
    lessons: Mapping[FoldKey, Lesson],
    config: Config,
    initial: NetworkState | None,
    progress: Progress,
) -> Iterator[FinishedFold]:
    """Run folds in Ray tasks and yield each as it ends; Ray has to be connected.

    A task whose process or node is lost is run again by Ray, ``resources.actor_restarts`` times.

    Args:
        graphs: Of all materials.
        lessons: What each fold may know.
        config: Settings.
        initial: The pretrained network, where there is one.
        progress: Where epochs and finished folds are shown.

    Raises:
        ClusterError: the cluster has no place for a task.
        ray.exceptions.RayError: a task failed, or was lost too often.
    """
    if not lessons:
        return
    options = _task_options(config.resources, len(lessons))
    shared = [ray.put(graphs), ray.put(config), ray.put(initial)]
    remote = ray.remote(learn_and_predict).options(
        **options, num_returns="streaming", max_retries=config.resources.actor_restarts
    )
    running = {
        remote.remote(shared[0], lesson, *shared[1:]): _Running(key, lesson, config.training.epochs)
        for key, lesson in lessons.items()
    }
    total = config.training.epochs * len(lessons)
    try:
        with progress.task("Validating", total=total, unit="epochs") as task:
            while running:
                (stream,), _ = ray.wait(list(running), num_returns=1)
                fold = running[stream]
                try:
                    item = ray.get(next(stream))
                except StopIteration:
                    del running[stream]
                    yield fold.finished()
                else:
                    fold.take(item, task)
    finally:
        for stream in running:
            ray.cancel(stream, force=True)


class _Running:
    """What a fold's task has said so far."""

    def __init__(self, key: FoldKey, lesson: Lesson, epochs: int) -> None:
        self._key, self._lesson, self._epochs = key, lesson, epochs
        self._history: list[EpochRecord] = []
        self._prediction: HeldOutPrediction | None = None

    def take(self, item: EpochRecord | HeldOutPrediction, task: Task) -> None:
        if isinstance(item, HeldOutPrediction):
            self._prediction = item
            task.advance(self._epochs - len(self._history))  # of a training that stopped early
            return
        self._history.append(item)
        target, number = self._key
        note = f"validation MAE {item.validation_mae:.4f} {self._lesson.unit}"
        task.advance(note=f"{target}, fold {number}: {note}")

    def finished(self) -> FinishedFold:
        if self._prediction is None:
            raise RuntimeError(f"the task of fold {self._key} ended without its predictions")
        n_train = len(self._lesson.train_ids)
        return FinishedFold(self._key, n_train, tuple(self._history), self._prediction)


def _task_options(resources: ResourcesConfig, n_folds: int) -> dict[str, Any]:
    """Ray options of a fold's task: whole CPUs, as many threads of TensorFlow, a GPU where there is one.

    ``resources.featurizer`` says otherwise.

    Raises:
        ClusterError: no node is large enough, or none has room within the deadline.
    """
    nodes, wanted = cluster_nodes(), resources.featurizer
    gpus = wanted.gpus if wanted.gpus is not None else float(any(n.gpus >= 1 for n in nodes))
    if gpus:
        n_folds = min(n_folds, sum(int(node.gpus / gpus + ROUNDING) for node in nodes))
    cpus = wanted.cpus or float(threads_a_fold([node.cpus for node in nodes], n_folds))
    ask = Ask(cpus, gpus)
    if not any(n.cpus >= cpus - ROUNDING and n.gpus >= gpus - ROUNDING for n in nodes):
        raise no_place("the tasks of the folds have", str(ask), resources)
    with reserved(resources, most_shards=0):
        pass  # The cluster has room for a network; what does not fit beside it waits for its turn.
    return {
        "num_cpus": ask.cpus,
        "num_gpus": ask.gpus,
        "runtime_env": {"env_vars": actor_environment(ask, max(1, int(cpus)))},
    }
