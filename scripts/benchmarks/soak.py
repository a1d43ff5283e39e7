"""Campaigns one after another and several at once on one Ray cluster: does anything grow or stay behind?

    python scripts/benchmarks/soak.py --campaigns 20 --at-once 4

Tiny campaigns (50 embedded oxides, a network that is not trained, one shard, one labeller): what is looked at is
what a campaign leaves behind, when none runs. Memory is what processes hold of their own (anonymous pages; Linux).
Pages of libraries are left out: a process's part of them depends on who else on the machine has them open, and
moved by dozens of MiB with other people's work.

With ``--bare`` they are no campaigns: five actors of an empty class, which are started and ended. So what grows then is Ray.

Metrics are fetched every 15 s, as Prometheus does: Ray's agent forgets the last values of processes that have ended
only when somebody fetches them, and keeps them all where nobody does (``--nobody-fetches-metrics``).
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import ray
from ray._private.internal_api import get_memory_info_reply, get_state_from_address
from ray._private.state import actors
from ray.cluster_utils import Cluster

from gpnet_ray.campaign.campaign import Campaign
from gpnet_ray.config import Config, NetworkConfig
from gpnet_ray.data.hypothetical_oxides import hypothetical_dataset
from gpnet_ray.gnn.architecture import weight_shapes
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.oracles.ionic import IonicOracle
from gpnet_ray.progress import NullProgress

MEBI = 2**20
NETWORK = NetworkConfig(n_blocks=1, n_gaussians=20, n1=16, n2=8, n3=4, set2set_passes=1)
N_CRYSTALS = 50
FETCHED_EVERY_SECONDS = 15.0
SETTLED_SECONDS = 60.0
"""How long to wait at most for the processes of the actors to end."""


@dataclass(frozen=True)
class Figures:
    """What is there when no campaign runs.

    Attributes:
        driver_mebibytes: Of this process.
        ray_mebibytes: Of Ray's own processes.
        workers_mebibytes: Of its workers, which are idle.
        store_mebibytes: In Ray's object store.
        n_objects: In it.
        n_actors: That live, whoever made them.
        n_workers: Those workers.
    """

    driver_mebibytes: float
    ray_mebibytes: float
    workers_mebibytes: float
    store_mebibytes: float
    n_objects: int
    n_actors: int
    n_workers: int

    def __str__(self) -> str:
        return (
            f"driver {self.driver_mebibytes:5.1f} MiB, Ray {self.ray_mebibytes:5.1f} MiB,"
            f" {self.n_workers:2d} workers {self.workers_mebibytes:6.1f} MiB, object store"
            f" {self.store_mebibytes:6.2f} MiB in {self.n_objects:2d} objects, {self.n_actors} actors"
        )


def main() -> None:
    """Run them and print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--campaigns", type=int, default=20)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--times-at-once", type=int, default=1)
    parser.add_argument("--bare", action="store_true")
    parser.add_argument("--nobody-fetches-metrics", action="store_true")
    parser.add_argument(
        "--one", nargs=3, metavar=("FOLDER", "NAME", "ADDRESS"), help=argparse.SUPPRESS
    )
    options = parser.parse_args()
    if options.one:
        folder, name, address = options.one
        if options.bare:
            with ray.init(address, log_to_driver=False):
                empty_actors()
        else:
            campaign(Path(folder), name, address)
        return
    if "RAY_AUTH_TOKEN" not in os.environ:
        # Ray reads it when it is imported; the drivers at once need it to join.
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | token)  # noqa: S606
    # Not a local Ray of this process, which others cannot join. These are CPUs that Ray may hand out, not
    # those of the machine: four campaigns share what there is.
    node = {"num_cpus": 8, "object_store_memory": 400 * MEBI, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    ray.init(address=cluster.address, log_to_driver=False)
    ended = threading.Event()
    if not options.nobody_fetches_metrics:
        threading.Thread(target=fetch_metrics, args=(ended,), daemon=True).start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            if options.bare:
                one_after_another(options.campaigns, lambda name: empty_actors())
            else:
                one_after_another(
                    options.campaigns, lambda name: campaign(Path(folder), name, None)
                )
            script = [sys.executable, __file__, *(["--bare"] if options.bare else [])]
            for round_number in range(1, options.times_at_once + 1):
                names = [f"at-once-{round_number}-{n}" for n in range(options.at_once)]
                several_at_once(
                    [[*script, "--one", folder, name, cluster.address] for name in names]
                )
    finally:
        ended.set()
        ray.shutdown()
        cluster.shutdown()


def fetch_metrics(ended: threading.Event) -> None:
    """Do what Prometheus does, until the end."""
    (node,) = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    while not ended.wait(FETCHED_EVERY_SECONDS):
        with urllib.request.urlopen(url, timeout=60) as answer:
            answer.read()


def one_after_another(n_campaigns: int, run: Callable[[str], None]) -> None:
    """Print a line before the first campaign and after each."""
    print(f"before: {settled()}", flush=True)
    for number in range(1, n_campaigns + 1):
        begun = time.monotonic()
        run(f"after-another-{number}")
        seconds = time.monotonic() - begun
        print(f"campaign {number:2d} ({seconds:4.1f} s): {settled()}", flush=True)


def several_at_once(commands: Sequence[Sequence[str]]) -> None:
    """Print a line after campaigns that ran at once, each with a driver of its own."""
    begun = time.monotonic()
    drivers = [subprocess.Popen(command) for command in commands]
    codes = [driver.wait() for driver in drivers]
    seconds = time.monotonic() - begun
    if any(codes):
        sys.exit(f"exit codes of the campaigns at once: {codes}")
    print(f"{len(commands)} at once ({seconds:4.1f} s): {settled()}", flush=True)


def empty_actors() -> None:
    """What a campaign is to Ray, without any of its work: five actors that come and go."""
    actors = [ray.remote(num_cpus=0.25)(Empty).remote() for _ in range(5)]
    ray.get([actor.answer.remote() for actor in actors])
    for actor in actors:
        ray.kill(actor)


class Empty:
    """What Ray needs to know of an actor, and nothing else."""

    def answer(self) -> bool:
        """Say that it lives."""
        return True


def campaign(folder: Path, name: str, address: str | None) -> None:
    """Run one."""
    config = Config.model_validate(
        {
            "name": name,
            "runs_dir": folder,
            "data": {"hypothetical_count": N_CRYSTALS},
            "split": {"n_train": 12, "n_test": 4},
            "network": NETWORK,
            "gp": {"max_evaluations": 5},
            "selection": {"cycles": 10, "strategies": ["max-sigma"]},
            "retraining": {"when": "never"},
            "resources": {
                "address": address,
                "shards": 1,
                "labellers": 1,
                **{role: {"cpus": 0.25} for role in ("gp", "shard", "featurizer", "labeller")},
            },
        }
    )
    dataset = hypothetical_dataset(N_CRYSTALS, seed=0, progress=NullProgress())
    network = untrained(dataset.target, dataset.unit)
    Campaign(dataset, config, oracle=IonicOracle(), network=network).run()


def untrained(target: str, unit: str) -> NetworkState:
    """A network of random weights: its latents differ between crystals, that is enough."""
    rng = np.random.default_rng(0)
    weights = {
        name: rng.normal(0.0, 0.3, shape).astype(np.float32)
        for name, shape in weight_shapes(NETWORK).items()
    }
    return NetworkState(NETWORK, weights, -2.0, 1.0, target, unit)


def settled() -> Figures:
    """The figures, once no process of an actor is left."""
    deadline = time.monotonic() + SETTLED_SECONDS
    while n_living_actors() and time.monotonic() < deadline:
        time.sleep(0.5)
    # Idle workers end by themselves after some seconds.
    time.sleep(3.0)
    ours = psutil.Process()
    of_ray = ours.children(recursive=True)
    workers = [child for child in of_ray if is_worker(child)]
    state = get_state_from_address(ray.get_runtime_context().gcs_address)
    store = get_memory_info_reply(state).store_stats
    return Figures(
        mebibytes(ours),
        sum(mebibytes(child) for child in of_ray if child not in workers),
        sum(map(mebibytes, workers)),
        store.object_store_bytes_used / MEBI,
        store.num_local_objects,
        n_living_actors(),
        len(workers),
    )


def n_living_actors() -> int:
    """Actors that live or are being started."""
    return sum(actor["State"] != "DEAD" for actor in actors().values())


def mebibytes(process: psutil.Process) -> float:
    """Anonymous memory of a process; 0 if it has just ended."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text("utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    kibibytes = re.search(r"^RssAnon:\s+(\d+) kB$", status, re.MULTILINE)
    return float(kibibytes[1]) / 1024 if kibibytes else 0.0


def is_worker(process: psutil.Process) -> bool:
    """Whether it is a worker of Ray's; its agents on the node have names like those of workers."""
    try:
        name = " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False
    return name.startswith("ray::") and not name.strip().endswith("Agent")


if __name__ == "__main__":
    main()
