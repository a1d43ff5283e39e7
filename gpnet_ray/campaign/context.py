"""What every stage of a run shares: settings, folder, progress, and how long things took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gpnet_ray.actors.cluster import actor_options
from gpnet_ray.campaign.run_folder import RunFolder
from gpnet_ray.config import Config
from gpnet_ray.oracles.protocol import Oracle
from gpnet_ray.progress import Progress

__all__ = ["RunContext"]


@dataclass(frozen=True)
class RunContext:
    """Handed from stage to stage by the campaign."""

    config: Config
    folder: RunFolder
    oracle: Oracle
    progress: Progress
    timings: dict[str, float] = field(default_factory=dict)
    """Wall time of every stage (s), in the order in which they ended."""

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
        self.timings[stage] = time.monotonic() - start
