"""A Ray job on a cluster that was started by hand, as the README has it."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command_line import TINY_NETWORK, rows, write_parquet

BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """A head node in a session folder of its own, so that stopping it stops nothing else."""
    port, dashboard_port, agent_port = free_port(), free_port(), free_port()
    environment = {
        **{key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"},
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "RAY_USAGE_STATS_ENABLED": "0",
        # Whoever submits must hold the token that the cluster was started with.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        # Keeps a single-node cluster on loopback.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }
    command = [BIN / "ray", "start", "--head", "--block", f"--port={port}", "--num-cpus=2"]
    command += ["--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1"]
    command += [f"--dashboard-port={dashboard_port}", "--object-store-memory=200000000"]
    # Its default port may be taken by another Ray of this machine, and jobs need the agent.
    command += [f"--dashboard-agent-listen-port={agent_port}"]
    # AF_UNIX paths may have 107 bytes: pytest's own folders are too deep for Ray's sockets.
    command += [f"--temp-dir=/tmp/gpnet-ray-test-{port}"]
    log = (tmp_path_factory.mktemp("head") / "log").open("w+")
    with subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process:
        address = f"http://127.0.0.1:{dashboard_port}"
        wait_until_listening(dashboard_port, process, Path(log.name))
        yield address, environment
        process.terminate()
        process.wait(timeout=60)


def wait_until_listening(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    import time

    for _ in range(240):
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.25)
    pytest.fail(f"the dashboard did not come up:\n{log.read_text()}")


@pytest.mark.slow
def test_a_submitted_job_runs_the_campaign_and_leaves_its_report(
    head: tuple[str, dict[str, str]], tmp_path: Path
) -> None:
    address, environment = head
    work, out = tmp_path / "work", tmp_path / "out"
    work.mkdir()
    write_parquet(work / "oxides.parquet", rows())
    submit = [BIN / "ray", "job", "submit", "--address", address, "--working-dir", ".", "--"]
    command = ["gpnet-ray", "run", "--dataset", "oxides.parquet", "--target", "energy"]
    command += ["--train", "20", "--test", "8", "--cycles", "3", "--runs-dir", str(out)]
    done = subprocess.run(
        [*submit, *command, *TINY_NETWORK],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "succeeded" in done.stdout + done.stderr
    assert (out / "oxides" / "report" / "index.html").is_file()
    summary = json.loads((out / "oxides" / "summary.json").read_text())
    assert summary["unit"] == "eV/atom"


@pytest.mark.slow
def test_a_job_that_fails_has_the_exit_code_and_the_reason(
    head: tuple[str, dict[str, str]], tmp_path: Path
) -> None:
    address, environment = head
    submit = [BIN / "ray", "job", "submit", "--address", address, "--"]
    done = subprocess.run(
        [*submit, "gpnet-ray", "run", "--kernel", "laplacain"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "did you mean 'laplacian'" in done.stdout + done.stderr
