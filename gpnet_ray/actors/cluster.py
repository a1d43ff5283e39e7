"""Reaching a Ray cluster, or starting a local one on the loopback address."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import ray
import ray.exceptions
from ray._private import ray_constants
from ray.util import placement_group, remove_placement_group

from gpnet_ray.config import ResourcesConfig
from gpnet_ray.errors import ActorRestartedError, ClusterError

__all__ = [
    "LOST",
    "actor_options",
    "check_place",
    "connected",
    "kill_actors",
    "start_local_ray",
    "wait_until_ready",
]

LOST = (
    ray.exceptions.RayActorError,
    ray.exceptions.ObjectLostError,
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.NodeDiedError,
    ray.exceptions.OutOfMemoryError,
    ActorRestartedError,
)
"""What is raised when a process or a node went away with what it held, or by the actor that came after it."""

LOOPBACK = "127.0.0.1"
CONNECT_TIMEOUT_SECONDS = 5.0
HEALTH_CHECK_TIMEOUT_SECONDS = 60.0
PAUSE_BETWEEN_PINGS_SECONDS = 0.5


@contextmanager
def connected(resources: ResourcesConfig) -> Iterator[None]:
    """Be connected to Ray within the block; what this call started or joined, it leaves again.

    A Ray that the user's script has initialised already is used and left alone.

    Raises:
        ClusterError: the address does not answer or is not one that a driver can join.
    """
    if ray.is_initialized():
        yield
        return
    address = resources.address or os.environ.get("RAY_ADDRESS")
    if address in (None, "", "local"):
        start_local_ray(object_store_mebibytes=resources.object_store_mebibytes)
    else:
        _join(str(address))
    try:
        yield
    finally:
        ray.shutdown()


def start_local_ray(*, object_store_mebibytes: int, cpus: int | None = None) -> None:
    """Start a Ray of this process's own, all of whose ports listen on the loopback address.

    Args:
        object_store_mebibytes: Shared memory for objects (MiB).
        cpus: CPUs that Ray may hand out; all of the machine's where left out.

    Raises:
        ClusterError: Ray took another address than loopback.
    """
    # Nothing is sent anywhere by a Ray that we start.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Asked for 127.0.0.1, Ray on Linux takes the machine's outer address instead and listens on all
    # interfaces; it keeps to loopback where it is told that there will be no other nodes.
    with mock.patch.object(ray_constants, "ENABLE_RAY_CLUSTER", False):
        ray.init(
            address="local",
            num_cpus=cpus,
            _node_ip_address=LOOPBACK,
            include_dashboard=False,
            object_store_memory=object_store_mebibytes * 2**20,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
    taken = ray.nodes()[0]["NodeManagerAddress"]
    if taken != LOOPBACK:
        ray.shutdown()
        raise ClusterError(
            f"the local Ray took the address {taken} instead of {LOOPBACK}; start a cluster yourself"
            " with `ray start --head` and give --address auto"
        )


def _join(address: str) -> None:
    if "://" in address:
        raise ClusterError(
            f"Ray address {address!r}: drivers join a cluster from one of its nodes (host:port or auto);"
            " from outside, submit the command as a job: ray job submit -- gpnet-ray run …"
        )
    if address != "auto":
        _check_answers(address)
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(
            f"Ray address {address!r} cannot be joined: {error}. Start a cluster with"
            " `ray start --head`, correct --address, or leave it out for a local Ray"
        ) from None


def _check_answers(address: str) -> None:
    host, separator, port = address.rpartition(":")
    if not (separator and host and port.isdigit()):
        raise ClusterError(f"Ray address {address!r} is not host:port or auto; correct --address")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_SECONDS).close()
        # Something else may listen there, and ray.init would wait for it without an end.
        subprocess.run(
            [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address],
            check=True,
            capture_output=True,
            timeout=HEALTH_CHECK_TIMEOUT_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ClusterError(
            f"Ray address {address!r} does not answer as a Ray cluster ({error}). Start a cluster with"
            " `ray start --head`, correct --address, or leave it out for a local Ray"
        ) from None


def actor_options(
    resources: ResourcesConfig, *, n_actors: int, gpu: bool, threads: int | None = None
) -> dict[str, Any]:
    """Ray options of one of ``n_actors`` actors that run side by side.

    Each asks for a CPU, or for an equal share, the largest of which all find a place on some node.
    ``threads`` limits TensorFlow in it (Ray's own OMP_NUM_THREADS does not).
    """
    nodes = [round(100 * node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    # A share is not spread over nodes: two nodes of two CPUs have no place for seven of 4/7.
    fitting = (s for s in range(100, 0, -1) if sum(cpus // s for cpus in nodes) >= n_actors)
    share = next(fitting, 100) / 100
    environment = {"TF_CPP_MIN_LOG_LEVEL": "2"}
    gpus = resources.gpus_per_actor if gpu else 0
    if not gpus:
        # Ray leaves a machine's GPUs visible to an actor that asked for none, and TensorFlow takes them.
        environment["CUDA_VISIBLE_DEVICES"] = ""
    if threads is not None:
        environment["TF_NUM_INTRAOP_THREADS"] = str(threads)
        environment["TF_NUM_INTEROP_THREADS"] = "1"
    return {
        "num_cpus": share,
        "num_gpus": gpus,
        "runtime_env": {"env_vars": environment},
    }


def wait_until_ready(
    actors: Sequence[Any], options: Mapping[str, Any], resources: ResourcesConfig
) -> None:
    """Wait until every actor, each made with ``options``, runs, or runs again.

    Raises:
        ClusterError: one has no place within the deadline; names what was asked and what there is.
        ray.exceptions.ActorDiedError: one has died for good.
    """
    deadline = time.monotonic() + resources.start_deadline_seconds
    waiting = list(actors)
    while waiting:
        actor_of = {actor.ping.remote(): actor for actor in waiting}
        left = max(0.0, deadline - time.monotonic())
        ready, pending = ray.wait(list(actor_of), num_returns=len(actor_of), timeout=left)
        waiting = [actor_of[ping] for ping in pending]
        waiting += [actor_of[ping] for ping in ready if not _answers(ping)]
        if waiting and time.monotonic() >= deadline:
            kill_actors(actors)
            raise _no_place(f"{len(waiting)} of {len(actors)} actors had", options, resources)
        time.sleep(PAUSE_BETWEEN_PINGS_SECONDS if waiting else 0)


def _answers(ping: Any) -> bool:
    try:
        ray.get(ping)
    except ray.exceptions.ActorUnavailableError:
        # Its connection is gone, and Ray has not yet noticed that it has to be started again.
        return False
    return True


def check_place(n_actors: int, options: Mapping[str, Any], resources: ResourcesConfig) -> None:
    """Wait until actors made with ``options`` would all have a place, without starting any.

    Raises:
        ClusterError: they have none within the deadline; names what was asked and what there is.
    """
    bundle = {"CPU": options["num_cpus"], "GPU": options["num_gpus"]}
    bundle = {name: amount for name, amount in bundle.items() if amount}
    group = placement_group([bundle] * n_actors)
    try:
        if not group.wait(resources.start_deadline_seconds):
            raise _no_place(f"{n_actors} actors that are needed later have", options, resources)
    finally:
        remove_placement_group(group)


def _no_place(who: str, options: Mapping[str, Any], resources: ResourcesConfig) -> ClusterError:
    total, free = ray.cluster_resources(), ray.available_resources()
    shown = ", ".join(
        f"{free.get(key, 0):g} of {total.get(key, 0):g} {key}" for key in ("CPU", "GPU")
    )
    return ClusterError(
        f"{who} no place after {resources.start_deadline_seconds:g} s. Asked for each:"
        f" {options['num_cpus']:g} CPU, {options['num_gpus']:g} GPU. Free: {shown}. Ask for fewer"
        " --shards or --labellers or a smaller resources.gpus_per_actor, end other jobs, add nodes, or"
        " give nodes that are starting more time with resources.start_deadline_seconds"
    )


def kill_actors(actors: Sequence[Any]) -> None:
    """End actors and give their resources back."""
    for actor in actors:
        ray.kill(actor)
