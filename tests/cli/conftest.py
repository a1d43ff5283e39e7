"""The command line in the test's own folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.command_line import Run, gpnet_ray

from gpnet_ray.cli import main


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """In a process of its own, as a user has it."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return gpnet_ray(*arguments, folder=tmp_path)

    return run


@pytest.fixture
def run_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """In this process, which spares the seconds that one takes to start (and its Ray, with ``small_ray``).

    An error that the program did not foresee is raised, and the test fails.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def run_here(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        given = ["gpnet-ray", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", given)
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return subprocess.CompletedProcess(given, int(end.value.code or 0), said.out, said.err)

    return run_here
