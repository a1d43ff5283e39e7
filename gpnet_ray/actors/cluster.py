"""Reaching a Ray cluster, or starting a local one on the loopback address."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest import mock

import ray
import ray.exceptions
from ray._private import ray_constants

from gpnet_ray.actors.settings import ResourcesConfig
from gpnet_ray.actors.token_file import keep_token_private
from gpnet_ray.errors import ActorRestartedError, ClusterError

__all__ = [
    "LOST",
    "connected",
    "kill_actors",
    "remote_class",
    "start_local_ray",
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
LONGEST_REASON = 200
"""Characters of what the health check says."""


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
    keep_token_private()
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
            f"Ray address {address!r} does not answer as a Ray cluster ({_in_short(error)}). Start a cluster"
            " with `ray start --head`, correct --address, or leave it out for a local Ray; one that asks for"
            " a token needs RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
        ) from None


def _in_short(error: OSError | subprocess.SubprocessError) -> str:
    """What the health check said last, where it said anything."""
    said = getattr(error, "stderr", None) or b""
    lines = said.decode("utf-8", errors="replace").strip().splitlines()
    return lines[-1][:LONGEST_REASON] if lines else str(error)


@cache
def remote_class(kind: type) -> Any:
    """The class as one whose instances are Ray actors, the same at every call.

    What ``ray.remote`` makes is new at every call: Ray sends it to the cluster and keeps it, there and in this process,
    until this process leaves the cluster. A driver that starts actors again and again would grow.
    """
    return ray.remote(kind)


def kill_actors(actors: Sequence[Any]) -> None:
    """End actors and give their resources back; where Ray was shut down, they have ended with it."""
    # Asked after its end, Ray would start again by itself, open to all interfaces.
    if not ray.is_initialized():
        return
    for actor in actors:
        ray.kill(actor)
