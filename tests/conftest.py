"""One temporary folder and one small Ray for the session, long files first, and the count of faults survived."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDER = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Give the processes of all tests one temporary folder and one cache of what XLA compiles.

    Most of what a small network takes is XLA's compiling, and each actor compiles the same again.
    """
    if hasattr(config, "workerinput"):
        return  # its environment is that of the process that started it
    # Several of these processes share a GPU where there is one, and not all of them begin with gpnet_ray.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    # What tests write for themselves stays where pytest has it, to be looked at after a failure.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    # Ray's sockets are in it, whose paths may have 107 bytes: the name has to be short.
    folder = config.stash[FOLDER] = tempfile.mkdtemp(prefix="gpnet-")
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    cache = Path(folder, "xla")
    cache.mkdir()
    flags = f"--tf_xla_persistent_cache_directory={cache} --tf_xla_persistent_cache_device_types=CPU,XLA_CPU_JIT"
    os.environ["TF_XLA_FLAGS"] = f"{os.environ.get('TF_XLA_FLAGS', '')} {flags}".strip()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove what killed processes have left."""
    if FOLDER in config.stash:
        tempfile.tempdir = None
        # A process of a Ray that has just ended may still be writing its log.
        shutil.rmtree(config.stash[FOLDER], ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run files with many slow tests first, so that no core has a long one left when the other is done."""
    marks = ("slow", "long")
    slow = Counter(i.path for i in items if any(i.get_closest_marker(mark) for mark in marks))
    items.sort(key=lambda item: -slow[item.path])


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
