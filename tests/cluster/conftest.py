"""The cluster of one machine as docs/cluster.md has it, with a token and make-believe GPUs."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class OneMachine:
    """A cluster that scripts/cluster/one_machine.sh started.

    Attributes:
        pid: of the process that all others of the cluster descend from.
        address: of the dashboard and the job API.
        join: address that a driver of this machine joins.
        environment: that of a user who has the token, and of the cluster.
        session: folder of the session, with Ray's own logs.
    """

    pid: int
    address: str
    join: str
    environment: dict[str, str]
    session: Path


def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


def plain_environment(home: Path) -> dict[str, str]:
    """What a user has who was given no token."""
    named = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    return {**named, "HOME": str(home), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def one_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneMachine]:
    """Has a session folder of its own, so that stopping it stops nothing else."""
    port, dashboard_port = free_port(), free_port()
    environment = {
        **plain_environment(tmp_path_factory.mktemp("home")),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        # A key that oracles of the site need is given to the nodes, not to a job.
        "MP_API_KEY": secrets.token_hex(16),
    }
    command = [SCRIPTS / "cluster" / "one_machine.sh", f"--port={port}", "--num-cpus=2"]
    # TensorFlow finds no GPU and takes the CPU; Ray hands them out all the same.
    command += ["--num-gpus=2", "--object-store-memory=200000000"]
    # The default ports may be taken by another Ray of this machine.
    command += [f"--dashboard-port={dashboard_port}"]
    command += [f"--dashboard-agent-listen-port={free_port()}"]
    # AF_UNIX paths may have 107 bytes: pytest's own folders are too deep for Ray's sockets.
    session = Path(tempfile.mkdtemp(prefix=""))
    command += [f"--temp-dir={session}"]
    log = (tmp_path_factory.mktemp("head") / "log").open("w+")
    with subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process:
        try:
            wait_until_listening(dashboard_port, process, Path(log.name))
            address = f"http://127.0.0.1:{dashboard_port}"
            yield OneMachine(process.pid, address, f"127.0.0.1:{port}", environment, session)
        finally:
            end(process)
    shutil.rmtree(session)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a cluster and wait until all of it is gone; jobs that ran would make Ray take half a minute."""
    try:
        everything = [psutil.Process(process.pid)]
        everything += everything[0].children(recursive=True)
    except psutil.NoSuchProcess:
        return
    for one in everything:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(everything, timeout=30)


def wait_until_listening(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(480):
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.25)
    pytest.fail(f"the dashboard did not come up:\n{log.read_text()}")
