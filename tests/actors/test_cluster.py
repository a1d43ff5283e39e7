"""Reaching Ray: loopback alone for a local one, clear errors for one that is not there."""

from __future__ import annotations

import os
import signal
import socket
import time

import psutil
import pytest
import ray
import ray.exceptions

from gpnet_ray.actors import cluster
from gpnet_ray.actors.cluster import actor_options, connected, wait_until_ready
from gpnet_ray.config import ResourcesConfig
from gpnet_ray.errors import ClusterError


def test_a_local_ray_listens_on_loopback_alone(small_ray: None) -> None:
    ours = {process.pid for process in psutil.Process().children(recursive=True)}
    listening = [
        connection.laddr.ip
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.pid in ours
    ]
    assert listening
    assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def test_a_ray_of_the_users_own_is_used_and_left_alone(small_ray: None) -> None:
    with connected(ResourcesConfig(address="192.0.2.99:1")):
        assert ray.is_initialized()
    assert ray.is_initialized()


def test_actors_share_the_cpus_that_there_are(small_ray: None) -> None:
    assert actor_options(ResourcesConfig(), n_actors=1, gpu=False)["num_cpus"] == 1
    assert actor_options(ResourcesConfig(), n_actors=5, gpu=False)["num_cpus"] == 0.4


def test_shares_of_a_cpu_fit_into_the_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    node = {"Alive": True, "Resources": {"CPU": 2.0}}
    lost = {"Alive": False, "Resources": {"CPU": 64.0}}
    monkeypatch.setattr(ray, "nodes", lambda: [node, lost, node])
    # Four on one node, three on the other; 4/7 of a CPU would leave one without a place.
    assert actor_options(ResourcesConfig(), n_actors=7, gpu=False)["num_cpus"] == 0.5
    assert actor_options(ResourcesConfig(), n_actors=4, gpu=False)["num_cpus"] == 1


def test_actors_without_a_place_are_an_error_that_lists_asked_and_free(small_ray: None) -> None:
    class Idle:
        def ping(self) -> bool:
            return True

    resources = ResourcesConfig(gpus_per_actor=1, start_deadline_seconds=1)
    options = actor_options(resources, n_actors=2, gpu=True)
    actor = ray.remote(Idle).options(**options).remote()
    start = time.monotonic()
    with pytest.raises(ClusterError, match=r"Asked for each: 1 CPU, 1 GPU.*0 of 0 GPU"):
        wait_until_ready([actor], options, resources)
    # Ten times the deadline: it must not wait for ever.
    assert time.monotonic() - start < 10


def test_something_else_that_listens_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(cluster, "HEALTH_CHECK_TIMEOUT_SECONDS", 3.0)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with (
            pytest.raises(ClusterError, match="does not answer as a Ray cluster"),
            connected(ResourcesConfig(address=address)),
        ):
            pass


def test_addresses_that_cannot_be_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    wrong = {
        f"127.0.0.1:{port}": "does not answer",
        "nonsense": "is not host:port",
        "ray://somewhere:10001": "submit the command as a job",
    }
    for address, said in wrong.items():
        with (
            pytest.raises(ClusterError, match=said) as error,
            connected(ResourcesConfig(address=address)),
        ):
            pass
        assert address in str(error.value)
        assert error.value.exit_code == 2


class Mortal:
    def ping(self) -> bool:
        return True

    def pid(self) -> int:
        return os.getpid()


def test_an_actor_that_was_killed_is_waited_for_and_one_that_is_dead_is_an_error(
    small_ray: None,
) -> None:
    resources = ResourcesConfig(start_deadline_seconds=60)
    options = {"num_cpus": 0.1, "num_gpus": 0}
    actor = ray.remote(Mortal).options(num_cpus=0.1, max_restarts=1).remote()
    first = ray.get(actor.pid.remote())
    os.kill(first, signal.SIGKILL)
    wait_until_ready([actor], options, resources)
    second = ray.get(actor.pid.remote())
    assert second != first
    os.kill(second, signal.SIGKILL)
    with pytest.raises(ray.exceptions.ActorDiedError):
        wait_until_ready([actor], options, resources)


def test_an_actor_whose_loss_ray_has_not_noticed_yet_is_asked_again(
    small_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor = ray.remote(Mortal).options(num_cpus=0.1).remote()
    answers = [ray.exceptions.ActorUnavailableError("connection lost", None)] * 2
    get = ray.get

    def unavailable_twice(reference: object) -> object:
        if answers:
            raise answers.pop()
        return get(reference)

    monkeypatch.setattr(cluster.ray, "get", unavailable_twice)
    resources = ResourcesConfig(start_deadline_seconds=60)
    wait_until_ready([actor], {"num_cpus": 0.1, "num_gpus": 0}, resources)
    assert not answers
    answers = [ray.exceptions.ActorUnavailableError("connection lost", None)] * 99
    brief = ResourcesConfig(start_deadline_seconds=1)
    with pytest.raises(ClusterError, match="1 of 1 actors had no place after 1 s"):
        wait_until_ready([actor], {"num_cpus": 0.1, "num_gpus": 0}, brief)
