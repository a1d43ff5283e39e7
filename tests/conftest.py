"""One small Ray for the whole session, on loopback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def small_ray() -> Iterator[None]:
    import ray

    from gpnet_ray.actors.cluster import start_local_ray

    # Workers import the modules that the tests' oracles are defined in.
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        start_local_ray(object_store_mebibytes=200, cpus=2)
        yield
        ray.shutdown()
