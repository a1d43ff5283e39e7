"""A small campaign on a local Ray whose metrics are read while it goes on: for a process of its own."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from support import small_campaign
from typer.testing import CliRunner

from gpnet_ray.actors.cluster import start_local_ray
from gpnet_ray.campaign.telemetry import RunTags, figures_of_cluster
from gpnet_ray.campaign.telemetry_standing import RunFigures
from gpnet_ray.cli import app
from gpnet_ray.errors import ClusterError


@dataclass
class Seen:
    """What was read.

    Attributes:
        scraped: The last that the Prometheus endpoint said of the run, before it forgot it.
        in_the_middle: What ``gpnet-ray status`` said of the folder while the run went on.
        of_the_cluster: What it said of the cluster near the run's end.
        at_the_end: What it said of the folder in the end.
    """

    scraped: Mapping[RunTags, RunFigures] = field(default_factory=dict)
    in_the_middle: str = ""
    of_the_cluster: str = ""
    at_the_end: str = ""


def run_and_read(folder: Path) -> Seen:
    # A gauge is forgotten after two of them; a driver that imports may be silent for a second or two.
    os.environ["RAY_metrics_report_interval_ms"] = "2000"  # noqa: SIM112 - as Ray spells it
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    start_local_ray(object_store_mebibytes=200, cpus=2)
    seen = Seen()
    looking = threading.Thread(target=look, args=(folder, seen), daemon=True)
    looking.start()
    small_campaign.run(folder, None, 2)
    seen.at_the_end = status(str(folder / "small"))
    looking.join()
    ray.shutdown()
    return seen


def look(folder: Path, seen: Seen) -> None:
    """Read until the run has come and gone."""
    journal = small_campaign.journal_of(folder)
    while not answers():
        time.sleep(0.25)
    while True:
        scraped = figures_of_cluster()
        if seen.scraped and not scraped:
            return
        seen.scraped = scraped
        if is_complete(scraped) and not seen.of_the_cluster:
            seen.of_the_cluster = status("auto")
        if not seen.in_the_middle and journal.is_file() and '"round"' in journal.read_text():
            seen.in_the_middle = status(str(folder / "small"))
        time.sleep(0.25)


def answers() -> bool:
    """Whether Ray's agent has started, which it does after Ray itself."""
    try:
        figures_of_cluster()
    except ClusterError:
        return False
    return True


def is_complete(scraped: Mapping[Any, RunFigures]) -> bool:
    arms = [arm for figures in scraped.values() for arm in figures.arms.values()]
    return len(arms) == 2 and all(arm.picks == 8 and arm.test_mae is not None for arm in arms)


def status(where: str) -> str:
    done = CliRunner().invoke(app, ["status", where])
    assert done.exit_code == 0, done.output
    return done.output
