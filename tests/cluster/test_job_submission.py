"""Jobs and driver scripts on a cluster that was started as docs/cluster.md says."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import runpy
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import requests
import yaml
from support.command_line import TINY_NETWORK, rows, write_parquet
from support.tiny_campaign import TINY

if TYPE_CHECKING:
    from conftest import OneMachine

SCRIPTS = Path(__file__).parents[2] / "scripts"
SUBMIT = [sys.executable, SCRIPTS / "submit_job.py"]
ORACLE = """
import json, os, sys
# The site's key is there, as it is for every process of the cluster.
assert os.environ["MP_API_KEY"]
print(json.dumps({"status": "ok", "value": -float(open(sys.argv[1]).readlines()[2].split()[1]), "unit": "eV"}))
"""
WAITS = "import time; print('it began', flush=True); time.sleep(600)"


def submit(
    machine: OneMachine, *arguments: object, folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SUBMIT, "--address", machine.address, *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def jobs(machine: OneMachine) -> list[dict[str, Any]]:
    """All jobs, the newest last, as the job API tells them to whoever has the token."""
    headers = {"Authorization": f"Bearer {machine.environment['RAY_AUTH_TOKEN']}"}
    answer = requests.get(f"{machine.address}/api/jobs/", headers=headers, timeout=30)
    answer.raise_for_status()
    return sorted(answer.json(), key=lambda job: job["start_time"])


def test_every_port_of_the_cluster_listens_on_loopback(one_machine: OneMachine) -> None:
    processes = psutil.Process(one_machine.pid).children(recursive=True)
    ours = {one_machine.pid, *(process.pid for process in processes)}
    listening = {
        connection.laddr.ip.removeprefix("::ffff:")
        for connection in psutil.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN and connection.pid in ours
    }
    assert listening == {"127.0.0.1"}


@pytest.mark.parametrize("token", [None, "0" * 64], ids=["no token", "a wrong token"])
def test_whoever_lacks_the_token_is_refused(
    one_machine: OneMachine, tmp_path: Path, token: str | None
) -> None:
    environment = {
        key: value for key, value in one_machine.environment.items() if "RAY_AUTH" not in key
    }
    environment["HOME"] = str(tmp_path)
    if token is not None:
        environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    before = len(jobs(one_machine))
    proof = tmp_path / "it ran"
    done = submit(one_machine, "--", "touch", proof, folder=tmp_path, environment=environment)
    assert done.returncode == 2
    assert "not submitted" in done.stderr
    assert "token" in done.stderr
    assert "Traceback" not in done.stderr
    assert not proof.exists()
    assert len(jobs(one_machine)) == before


@pytest.mark.slow
def test_a_submitted_campaign_is_followed_its_report_fetched_and_no_secret_told(
    one_machine: OneMachine, tmp_path: Path
) -> None:
    work, storage = tmp_path / "work", tmp_path / "storage"
    work.mkdir()
    write_parquet(work / "oxides.parquet", rows(24))
    (work / "label.py").write_text(ORACLE)
    (work / "environment.yaml").write_text("env_vars: {GREETING: hello}\n")
    argv = '["python", "{start_dir}/label.py", "{structure}"]'
    command = ["gpnet-ray", "run", "--dataset", "oxides.parquet", "--target", "energy"]
    command += ["--set", "oracle.kind=command", "--set", f"oracle.command.argv={argv}"]
    command += ["--set", "oracle.keep_files=always"]
    command += ["--unit", "eV", "--train", "12", "--test", "4", "--cycles", "2"]
    # The job's working directory, with the run's own folder in it, goes away.
    command += ["--storage", storage, *TINY_NETWORK]
    options = ["--working-dir", ".", "--runtime-env", "environment.yaml", "--fetch", "here"]
    done = submit(
        one_machine, *options, "--", *command, folder=work, environment=one_machine.environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Report: runs/oxides/report/index.html" in done.stdout
    # What the connection brought is printed once and whole.
    assert done.stdout.count("Report: ") == 1
    fetched = work / "here" / "oxides"
    assert json.loads((fetched / "summary.json").read_text())["unit"] == "eV"
    assert (fetched / "report" / "index.html").is_file()
    assert (fetched / "journal.jsonl").is_file()
    assert jobs(one_machine)[-1]["runtime_env"]["env_vars"] == {"GREETING": "hello"}
    told = {Path("standard output"): done.stdout, Path("standard error"): done.stderr}
    for place in (fetched, storage, one_machine.session):
        files = (path for path in place.rglob("*") if path.is_file())
        told |= {path: path.read_bytes().decode(errors="replace") for path in files}
    assert fetched / "config.yaml" in told
    assert any(path.name.startswith("job-driver") for path in told)
    for name in ("RAY_AUTH_TOKEN", "MP_API_KEY"):
        secret = one_machine.environment[name]
        assert not [path for path, text in told.items() if secret in text], name


@pytest.mark.slow
def test_a_driver_script_joins_the_cluster_with_the_token_alone(
    one_machine: OneMachine, tmp_path: Path
) -> None:
    write_parquet(tmp_path / "oxides.parquet", rows(24))
    tiny = {key.partition(".")[2]: value for key, value in TINY.items() if "network." in key}
    settings = {"network": tiny, "selection": {"strategies": ["random"]}}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, SCRIPTS / "run_campaign.py", "oxides.parquet", "--target", "energy"]
    command += [
        "--unit",
        "eV/atom",
        "--train",
        "12",
        "--test",
        "4",
        "--epochs",
        "2",
        "--cycles",
        "3",
    ]
    done = subprocess.run(
        [*command, "--config", "tiny.yaml", "--address", one_machine.join],
        cwd=tmp_path,
        # Without it Ray looks for 127.0.0.1 at the machine's outer address.
        env={**one_machine.environment, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "unlabelled_mae" in done.stdout
    assert "Report: runs/oxides/report/index.html" in done.stdout
    assert (tmp_path / "runs" / "oxides" / "report" / "index.html").is_file()


def test_without_a_storage_a_run_is_fetched_from_a_disk_that_both_see(tmp_path: Path) -> None:
    fetch = runpy.run_path(str(SUBMIT[1]))["fetch"]
    run = tmp_path / "runs" / "oxides"
    (run / "report").mkdir(parents=True)
    (run / "report" / "index.html").write_text("the report")
    copy = fetch(run, tmp_path / "here" / "oxides", storage=None)
    assert (copy / "report" / "index.html").read_text() == "the report"
    with pytest.raises(FileNotFoundError, match="--storage URI"):
        fetch(tmp_path / "on the head", tmp_path / "here" / "b", storage=None)
    with pytest.raises(FileExistsError):
        fetch(run, tmp_path / "here" / "oxides", storage=None)


@pytest.mark.slow
def test_a_job_that_fails_has_its_exit_code_and_its_reason(
    one_machine: OneMachine, tmp_path: Path
) -> None:
    # The address that was given comes before that of another cluster in the environment.
    environment = {**one_machine.environment, "RAY_ADDRESS": "http://127.0.0.1:1"}
    command = ["python", "-c", "import sys; print('it broke', file=sys.stderr); sys.exit(7)"]
    done = submit(one_machine, "--", *command, folder=tmp_path, environment=environment)
    assert done.returncode == 7
    assert "it broke" in done.stdout
    assert "FAILED" in done.stderr


def test_what_could_not_be_fetched_or_would_show_a_secret_is_refused_before_it_runs(
    one_machine: OneMachine, tmp_path: Path
) -> None:
    before = len(jobs(one_machine))
    given = {"folder": tmp_path, "environment": one_machine.environment}
    done = submit(one_machine, "--fetch", "here", "--", "gpnet-ray", "run", **given)
    assert done.returncode == 2
    assert "--storage" in done.stderr
    (tmp_path / "environment.yaml").write_text("env_vars: {MP_API_KEY: abc123, OMP_NUM: 1}\n")
    options = ["--runtime-env", "environment.yaml"]
    done = submit(one_machine, *options, "--", "gpnet-ray", "run", **given)
    assert done.returncode == 2
    assert "MP_API_KEY" in done.stderr
    assert "abc123" not in done.stderr
    assert len(jobs(one_machine)) == before


def heed_ctrl_c() -> None:
    """As in a user's shell; what a script starts in the background inherits that it is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def take_terminal() -> None:
    """Make standard input the terminal whose Ctrl-C reaches this process."""
    heed_ctrl_c()
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def follow_in_a_terminal(machine: OneMachine, answers: dict[str, str]) -> tuple[int, str]:
    """Submit a job that waits; press Ctrl-C, answer and see what is said, again and again."""
    leader, follower = pty.openpty()
    command = [*SUBMIT, "--address", machine.address, "--", "python", "-c", WAITS]
    with subprocess.Popen(
        command,
        env=machine.environment,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        preexec_fn=take_terminal,
    ) as process:
        os.close(follower)
        screen = read_until(leader, "it began\r\n")
        for answer, then in answers.items():
            os.write(leader, b"\x03")
            screen += read_until(leader, "Cancel the job?")
            os.write(leader, f"{answer}\n".encode())
            screen += read_until(leader, then)
        code = process.wait(timeout=60)
        screen += read_until(leader, None)
    os.close(leader)
    return code, screen


def read_until(terminal: int, text: str | None) -> str:
    """Read what is shown until a text has come, or all that there is."""
    shown = b""
    os.set_blocking(terminal, False)
    deadline = time.monotonic() + 60
    while text is None or text.encode() not in shown:
        try:
            part = os.read(terminal, 4096)
        except BlockingIOError:
            part = b"" if text is None else None
            time.sleep(0.1)
        except OSError:
            part = b""
        if part == b"":
            break
        shown += part or b""
        assert time.monotonic() < deadline, shown.decode()
    return shown.decode()


@pytest.mark.slow
def test_ctrl_c_asks_and_only_yes_cancels_the_job(one_machine: OneMachine) -> None:
    answers = {"": "Following job", "y": "is cancelled"}
    code, screen = follow_in_a_terminal(one_machine, answers)
    assert code == 130, screen
    # What was shown before is not shown again.
    assert screen.count("it began\r\n") == 1
    assert "--resume" in screen
    assert jobs(one_machine)[-1]["status"] == "STOPPED"


@pytest.mark.slow
def test_ctrl_c_without_a_terminal_leaves_the_job_and_says_so(
    one_machine: OneMachine, tmp_path: Path
) -> None:
    command = [*SUBMIT, "--address", one_machine.address, "--", "python", "-c", WAITS]
    with subprocess.Popen(
        command,
        env=one_machine.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_ctrl_c,
    ) as process:
        assert process.stdout is not None
        # Above it Ray tells the command, which holds the same words.
        assert "it began\n" in iter(process.stdout.readline, "")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    job = jobs(one_machine)[-1]
    assert job["status"] == "RUNNING"
    assert f"job {job['submission_id']} goes on" in said
    assert f"ray job stop {job['submission_id']}" in said
    stop = [Path(sys.executable).parent / "ray", "job", "stop", job["submission_id"]]
    environment = {**one_machine.environment, "RAY_API_SERVER_ADDRESS": one_machine.address}
    subprocess.run(stop, env=environment, check=True, capture_output=True, timeout=60)
