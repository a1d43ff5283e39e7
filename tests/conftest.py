"""One small Ray for the whole session, on loopback, and the count of faults that were survived."""

from __future__ import annotations

import os
from collections import Counter
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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many faults the tests in ``tests/faults`` came through, wherever they ran."""
    survived: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "faults survived" and report.when == "call":
                kind, times = value
                survived[kind] += times
    if survived:
        listing = ", ".join(f"{times} × {kind}" for kind, times in survived.items())
        terminalreporter.write_line(f"Faults survived: {survived.total()} ({listing})")
