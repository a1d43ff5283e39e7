"""What every stage of a run shares: settings, folder, progress, and how long things took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gpnet_ray.actors.cluster import actor_options
from gpnet_ray.campaign.history import RunHistory
from gpnet_ray.campaign.journal import Journal
from gpnet_ray.campaign.run_folder import RunFolder
from gpnet_ray.config import Config
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.oracles.protocol import Oracle
from gpnet_ray.progress import Progress

__all__ = ["RunContext"]


@dataclass
class RunContext:
    """Handed from stage to stage by the campaign.

    Attributes:
        config: The settings.
        folder: Where the run's files lie.
        oracle: Where labels come from.
        progress: Where progress is shown.
        initial: The pretrained network that the first training starts from, where there is one.
        journal: The run's journal, once it is open.
        history: What the journal held when it was opened.
        timings: Wall time of every stage (s), in the order in which they ended. A stage that an
            interrupted run had finished keeps the time that it took then.
    """

    config: Config
    folder: RunFolder
    oracle: Oracle
    progress: Progress
    initial: NetworkState | None = None
    journal: Journal | None = None
    history: RunHistory = field(default_factory=RunHistory)
    timings: dict[str, float] = field(default_factory=dict)

    def actor_options(self, *, gpu: bool, threads: int | None = None) -> dict[str, Any]:
        """Ray options of one actor, with room for all that are alive at the same time."""
        resources = self.config.resources
        n_actors = resources.labellers + 1 + resources.shards
        return actor_options(resources, n_actors=n_actors, gpu=gpu, threads=threads)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Measure a stage that ends well."""
        start = time.monotonic()
        yield
        seconds = round(time.monotonic() - start, 3)
        if stage not in self.history.timings:
            self.timings[stage] = seconds
            if self.journal is not None:
                self.journal.append({"event": "stage", "stage": stage, "seconds": seconds})
