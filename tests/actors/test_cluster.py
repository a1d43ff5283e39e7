"""Reaching Ray: loopback alone for a local one, clear errors for one that is not there."""

from __future__ import annotations

import socket
import subprocess

import psutil
import pytest
import ray

from gpnet_ray.actors import cluster
from gpnet_ray.actors.cluster import connected
from gpnet_ray.actors.settings import ResourcesConfig
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


def test_a_cluster_that_asks_for_a_token_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise subprocess.CalledProcessError(
            1, ["ray"], stderr=b"Traceback\nInvalidAuthToken: missing\n"
        )

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(cluster.subprocess, "run", refused)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with (
            pytest.raises(ClusterError, match=r"\(InvalidAuthToken: missing\).*RAY_AUTH_TOKEN"),
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
