"""The command line in the test's own folder."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.command_line import Run, gpnet_ray


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return gpnet_ray(*arguments, folder=tmp_path)

    return run
