"""Labeller actors for tests: a crew of them around an oracle, on the session's small Ray."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from gpnet_ray.actors.labeller import Labeller
from gpnet_ray.actors.labeller_crew import LabellerCrew


@contextmanager
def hired(oracle: Any, *, size: int = 1, **options: Any) -> Iterator[LabellerCrew]:
    """A crew that is dismissed at the end of the block."""

    def hire() -> Any:
        return ray.remote(Labeller).options(num_cpus=0.1).remote(oracle)

    labellers = [hire() for _ in range(size)]
    ray.get([labeller.ping.remote() for labeller in labellers])
    crew = LabellerCrew(labellers, hire, **options)
    try:
        yield crew
    finally:
        crew.close()
