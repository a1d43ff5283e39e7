"""The whole command in a process of its own, on a user's file and on the embedded default."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.command_line import TINY_NETWORK, Run, gpnet_ray, rock_salt, rows, write_parquet

SETTINGS = ["--train", "20", "--test", "8", "--cycles", "4", "--target", "energy", *TINY_NETWORK]
# One process less that has to start, in each of the runs.
SETTINGS += ["--unit", "eV/atom", "--shards", "1"]


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A folder with a user's file, and the command that has run there undisturbed."""
    folder = tmp_path_factory.mktemp("whole")
    made = rows()
    made[11]["structure"] = rock_salt("Mg", 40.0)  # no bond inside the cut-off
    write_parquet(folder / "oxides.parquet", made)
    return folder, gpnet_ray("run", "--dataset", "oxides.parquet", *SETTINGS, folder=folder)


@pytest.mark.slow
def test_a_users_file_end_to_end(whole: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = whole
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    run_dir = folder / "runs" / "oxides"
    assert (run_dir / "report" / "index.html").is_file()
    assert str(Path("runs") / "oxides" / "report" / "index.html") in done.stdout
    summary = json.loads((run_dir / "summary.json").read_text(), parse_constant=pytest.fail)
    assert summary["unit"] == "eV/atom"
    table = pq.read_table(run_dir / "metrics.parquet").to_pandas()
    last = table[(table.strategy == "max-sigma") & (table.cycle == 4)].iloc[0]
    assert f"{last.test_mae:.4f}" in done.stdout
    assert "m-011" in (run_dir / "rejected.csv").read_text()
    # Not a terminal: plain lines, no control characters.
    assert "\x1b" not in done.stdout
    for step in ("Building graphs", "Training", "Featurising", "Cycles, max-sigma"):
        assert step in done.stdout


@pytest.mark.slow
def test_stopped_and_killed_and_resumed_it_ends_as_if_nothing_had_happened(
    run: Run, whole: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    folder, _ = whole
    arguments = ["run", "--dataset", str(folder / "oxides.parquet"), "--name", "killed", *SETTINGS]
    stopped = stop_when(tmp_path, arguments, '"event": "run"', signal.SIGINT)
    assert stopped.returncode == 130
    assert "--resume" in stopped.stderr
    changed = run(*arguments, "--resume", "--seed", "5")
    assert changed.returncode == 2
    assert "seed: 0 then, 5 now" in changed.stderr
    killed = stop_when(tmp_path, [*arguments, "--resume"], '"event": "cycle"', signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL
    resumed = run(*arguments, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    picks = [
        pq.read_table(run_dir / "picks.parquet").to_pandas()
        for run_dir in (folder / "runs" / "oxides", tmp_path / "runs" / "killed")
    ]
    assert picks[0].drop(columns="seconds").equals(picks[1].drop(columns="seconds"))


def stop_when(
    folder: Path, arguments: list[str], written: str, how: signal.Signals
) -> subprocess.CompletedProcess[str]:
    """Run the command and send it a signal as soon as its journal says ``written``."""
    with subprocess.Popen(
        [sys.executable, "-m", "gpnet_ray", *arguments],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"},
    ) as process:
        journal = folder / "runs" / "killed" / "journal.jsonl"
        while not (journal.is_file() and written in journal.read_text()):
            assert process.poll() is None, "ended before it could be stopped"
            time.sleep(0.01)
        process.send_signal(how)
        _, stderr = process.communicate()
    return subprocess.CompletedProcess(arguments, process.returncode, "", stderr)


def test_help_and_version(run: Run) -> None:
    assert "--strategy" in run("run", "--help").stdout
    assert run("--version").stdout.startswith("gpnet-ray ")
