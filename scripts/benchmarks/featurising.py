#!/usr/bin/env python3
"""Featurise a pool from generator or file to latents on disk; print crystals a second and peak memory.

python scripts/benchmarks/featurising.py NETWORK hypothetical-oxides:100000

Memory is that of this process and all that Ray starts, pages that several share counted once (PSS),
looked at twice a second; needs psutil. The middle of the run is compared with its end: memory that grows with
the pool shows there.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path

import psutil
from rich.console import Console

from gpnet_ray import make_progress
from gpnet_ray.actors.settings import ActorShare, ResourcesConfig
from gpnet_ray.campaign.pool_sources import pool_source
from gpnet_ray.campaign.surrogate import load_network
from gpnet_ray.campaign.surrogate_use import featurise_into

INTERVAL_SECONDS = 0.5


class MemoryWatch(threading.Thread):
    """Adds up the memory of this process and its descendants."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._over = threading.Event()
        self.samples: list[tuple[float, float]] = []

    def run(self) -> None:
        """Look until told to stop."""
        this = psutil.Process()
        while not self._over.wait(INTERVAL_SECONDS):
            total = sum(_pss(p) for p in [this, *this.children(recursive=True)])
            self.samples.append((time.monotonic(), total / 2**20))

    def stop(self) -> None:
        """Stop looking."""
        self._over.set()
        self.join()

    def peak(self, start: float, end: float) -> float:
        """Largest sum (MiB) between two times."""
        return max((mib for at, mib in self.samples if start <= at <= end), default=0.0)


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:  # it has ended
        return 0


def main() -> None:
    """Run the benchmark that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("network", type=Path)
    parser.add_argument("dataset", nargs="?", default="hypothetical-oxides:5000")
    parser.add_argument("--threads", type=int, default=1, help="threads of TensorFlow an actor")
    options = parser.parse_args()

    progress = make_progress(Console())
    watch = MemoryWatch()
    watch.start()
    source = pool_source(
        options.dataset,
        id_column="material_id",
        structure_column="structure",
        seed=0,
        progress=progress,
    )
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        content = featurise_into(
            Path(folder) / "latents",
            source,
            load_network(options.network),
            resources=ResourcesConfig(featurizer=ActorShare(cpus=options.threads)),
            progress=progress,
        )
    end = time.monotonic()
    watch.stop()
    middle = (start + end) / 2
    print(f"latents {content['n_featurised']}, rejected {content['n_rejected']}")
    print(
        f"{source.total / (end - start):.0f} crystals/s ({end - start:.1f} s, start of Ray included)"
    )
    print(
        f"peak memory of all processes: first half {watch.peak(start, middle):.0f} MiB,"
        f" second half {watch.peak(middle, end):.0f} MiB"
    )


if __name__ == "__main__":
    main()
