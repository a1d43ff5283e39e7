"""A label desk over simulated labellers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from support.simulated_labellers import IDS, SimulatedCrew

from gpnet_ray.campaign.history import RunHistory
from gpnet_ray.campaign.journal import Journal, read_journal
from gpnet_ray.campaign.label_desk import LabelDesk
from gpnet_ray.config import LabelsConfig
from gpnet_ray.oracles.protocol import LabelOutcome

HOUR = 3600.0


def desk_over(
    crew: SimulatedCrew,
    journal: Journal,
    *,
    notify: Callable[[str], None] = lambda _: None,
    **settings: Any,
) -> LabelDesk:
    return LabelDesk(
        crew,
        dict.fromkeys(IDS),
        journal,
        RunHistory.of(journal.events),
        settings=LabelsConfig(**settings),
        clock=crew.clock,
        notify=notify,
    )


def random_seconds(seed: int) -> Callable[[str], float]:
    drawn = dict(zip(IDS, np.random.default_rng(seed).exponential(100.0, len(IDS)), strict=True))
    return lambda i: 1.0 + drawn[i]


def labels_in(path: Path, event: str = "label") -> list[LabelOutcome]:
    return [LabelOutcome(**e["outcome"]) for e in read_journal(path) if e["event"] == event]
