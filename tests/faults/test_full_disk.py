"""A disk that fills up while labels are bought: what was paid for is in the journal, and it goes on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = """
import sys
from pathlib import Path
from support.simulated_labellers import IDS, SimulatedCrew
from gpnet_ray.campaign.history import RunHistory
from gpnet_ray.campaign.journal import Journal, read_journal
from gpnet_ray.campaign.label_desk import LabelDesk
from gpnet_ray.errors import RunFolderError

folder = Path(sys.argv[1])
path, filler = folder / "journal.jsonl", folder / "filler"
crew = SimulatedCrew(8, seconds=lambda i: 1.0 + int(i[3:]) % 5)

def label_all(*, fills=False):
    with Journal(path) as journal:
        history = RunHistory.of(journal.events)
        desk = LabelDesk(crew, dict.fromkeys(IDS), journal, history, clock=crew.clock)
        for outcome in desk.label(IDS):
            if fills and outcome.material_id == "mp-3":
                fill()
    return RunHistory.of(read_journal(path))

def fill():
    try:
        with filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(512))
    except OSError:
        pass

stopped = 0
try:
    label_all(fills=True)
except RunFolderError as error:
    assert "Make room on the disk and go on with --resume" in str(error), error
    stopped += 1
bought = list(crew.asked)
assert 4 < len(bought) < len(IDS), bought
try:
    label_all()
except RunFolderError as error:
    assert "Make room" in str(error), error
    stopped += 1
assert crew.asked == bought, "bought with no room to write it down"
filler.unlink()
history = label_all()
assert sorted(history.labels) == sorted(IDS)
assert len(crew.asked) == len(set(crew.asked)) == len(IDS), "a label was lost and bought again"
assert not path.with_name(path.name + ".reserve").exists()
print("stopped", stopped)
"""


def test_a_full_disk_stops_the_run_and_loses_no_label(
    tmp_path: Path, survived: Callable[[str, int], None]
) -> None:
    mount = f"mount -t tmpfs -o size=256k tmpfs {tmp_path}"
    own_mounts = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*own_mounts, mount], check=False).returncode
    ):
        pytest.skip("no small file system of one's own can be mounted here (unshare -rm)")
    (tmp_path / "script.py").write_text(SCRIPT)
    command = f'script=$(cat {tmp_path}/script.py) && {mount} && exec "$0" -c "$script" {tmp_path}'
    done = subprocess.run(
        [*own_mounts, command, sys.executable],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "stopped 2\n"
    survived("full disk", 2)
