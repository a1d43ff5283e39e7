"""One small Ray for the whole session, on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def small_ray() -> Iterator[None]:
    import ray

    from gpnet_ray.actors.cluster import start_local_ray

    start_local_ray(object_store_mebibytes=200, cpus=2)
    yield
    ray.shutdown()
