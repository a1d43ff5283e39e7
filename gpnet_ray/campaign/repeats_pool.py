"""Campaigns of several seeds: one after the other, or side by side where the cluster has room.

Side by side, each driver is a Ray task on the node of the command, since run folders lie on its disk; a task
of a driver takes no CPU of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gpnet_ray.actors.placement import Node, asked_of, cluster_nodes, fit
from gpnet_ray.actors.settings import ResourcesConfig
from gpnet_ray.campaign.arguments import sending
from gpnet_ray.campaign.campaign import Campaign
from gpnet_ray.campaign.preparation import load_dataset
from gpnet_ray.campaign.run_folder import RunFolder
from gpnet_ray.config import Config
from gpnet_ray.data.dataset import MaterialsDataset
from gpnet_ray.oracles.protocol import Oracle
from gpnet_ray.progress import NullProgress, Progress

__all__ = ["Repeat", "campaigns_side_by_side", "run_all"]

CANCEL_SECONDS = 60.0
"""How long cancelled drivers have to close their journals."""


@dataclass(frozen=True, eq=False)
class Repeat:
    """One seed of a campaign.

    Attributes:
        config: Its whole configuration, with its seed, name and folder.
        dataset: The crystals; ``None``: what the configuration names.
        oracle: Where labels come from, where ``dataset`` has none.
        retry_failed: Whether labels that failed are asked for again.
    """

    config: Config
    dataset: MaterialsDataset | None
    oracle: Oracle | None
    retry_failed: bool

    def run(self, progress: Progress) -> None:
        """Begin the campaign, or go on with what there is of it."""
        dataset, oracle = self.dataset, self.oracle
        if dataset is None:
            dataset, oracle = load_dataset(self.config, progress)
        there = RunFolder(self.config.run_dir(dataset.source)).config.is_file()
        campaign = Campaign(dataset, self.config, oracle=oracle, progress=progress)
        campaign.run(resume=there, retry_failed=there and self.retry_failed)


def campaigns_side_by_side(resources: ResourcesConfig, nodes: Sequence[Node]) -> int:
    """How many whole campaigns the cluster has room for at a time, at least one.

    Each campaign asks for what it would ask for if it were alone: a CPU an actor on a cluster that is large
    enough, and all CPUs together on a smaller one, where campaigns therefore take turns.
    """
    asked = asked_of(resources, nodes, labellers=resources.labellers)
    bundles, number = asked.with_labellers(), 1
    while fit(bundles * (number + 1), nodes):
        number += 1
    return number


def run_all(repeats: Mapping[int, Repeat], progress: Progress) -> None:
    """Run the campaigns of all seeds to their end; Ray has to be connected.

    Where one fails, those beside it go on to their end, no other is begun, and the error is raised.

    Args:
        repeats: What is to be run, by seed.
        progress: Where progress is shown; campaigns side by side show only their ends.
    """
    resources = next(iter(repeats.values())).config.resources
    room = campaigns_side_by_side(resources, cluster_nodes())
    if min(room, len(repeats)) == 1:
        for number, (seed, repeat) in enumerate(repeats.items(), start=1):
            progress.line(f"Seed {seed}, {number} of {len(repeats)}")
            repeat.run(progress)
        return
    progress.line(f"{min(room, len(repeats))} campaigns at a time")
    _side_by_side(repeats, room, progress)


def _side_by_side(repeats: Mapping[int, Repeat], room: int, progress: Progress) -> None:
    start = _starter()
    waiting, running = list(repeats.items()), dict[Any, int]()
    failure: Exception | None = None
    try:
        with progress.task("Repeats", total=len(repeats), unit="seeds") as task:
            while running or (waiting and failure is None):
                while waiting and failure is None and len(running) < room:
                    seed, repeat = waiting.pop(0)
                    running[start(repeat)] = seed
                (ended,), _ = ray.wait(list(running), num_returns=1)
                seed = running.pop(ended)
                try:
                    ray.get(ended)
                except ray.exceptions.RayError as error:
                    failure = failure or error
                    progress.line(f"Seed {seed} failed; those under way go on to their end")
                else:
                    task.advance(note=f"seed {seed} is done")
    finally:
        _cancel(running)
    if failure is not None:
        raise failure


def _starter() -> Callable[[Repeat], Any]:
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    remote = ray.remote(_run_quietly).options(num_cpus=0, scheduling_strategy=here, max_retries=0)

    def start(repeat: Repeat) -> Any:
        with sending(repeat.oracle):
            return remote.remote(repeat)

    return start


def _run_quietly(repeat: Repeat) -> None:
    repeat.run(NullProgress())


def _cancel(running: Iterable[Any]) -> None:
    tasks = list(running)
    for task in tasks:
        ray.cancel(task)
    if tasks:
        ray.wait(tasks, num_returns=len(tasks), timeout=CANCEL_SECONDS)
