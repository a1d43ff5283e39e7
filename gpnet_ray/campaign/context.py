"""What every stage of a run shares: settings, folder, progress, and how long things took."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gpnet_ray.actors.placement import Placement
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
        of_earlier_versions: Settings that earlier versions journaled though they were not those of the data,
            by key.
        initial: The pretrained network that the first training starts from, where there is one.
        placement: The places of the actors, once they are reserved.
        journal: The run's journal, once it is open.
        history: What the journal held when it was opened.
        timings: Wall time of every stage (s), in the order in which they ended. A stage that an
            interrupted run had finished keeps the time that it took then.
    """

    config: Config
    folder: RunFolder
    oracle: Oracle
    progress: Progress
    of_earlier_versions: Mapping[str, Any] = field(default_factory=dict)
    initial: NetworkState | None = None
    placement: Placement | None = None
    journal: Journal | None = None
    history: RunHistory = field(default_factory=RunHistory)
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def place(self) -> Placement:
        """Where the actors are put."""
        if self.placement is None:
            raise RuntimeError("no place for actors is reserved yet")
        return self.placement

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
