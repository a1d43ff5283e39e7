"""The cache of ``featurize``: what it gives is whole and the user's own, whatever happened to it or beside it."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support.ask_tell import small_config, small_network

from gpnet_ray.actors.pool_featurizer import featurised_schema
from gpnet_ray.actors.settings import ResourcesConfig
from gpnet_ray.campaign import surrogate_use
from gpnet_ray.campaign.partial_folder import made_beside, moved_to
from gpnet_ray.campaign.pool_sources import PoolSource
from gpnet_ray.data.dataset import RejectedMaterial
from gpnet_ray.data.pool_folder import PoolFolder
from gpnet_ray.errors import RunFolderError
from gpnet_ray.progress import NullProgress

N = 20
REJECTED = (RejectedMaterial("bad", "does not parse", "line one\nline two", "s.parquet"),)
SOURCE = PoolSource("s.parquet", "1", N + 1, REJECTED, lambda cpus, n_done: None)
NETWORK = small_network(small_config())


class Lines(NullProgress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


class Network:
    """Stands for Ray and the network: the same latents each time, and something that happens meanwhile."""

    def __init__(self) -> None:
        self.calls = 0
        self.meanwhile: Callable[[], Any] | None = None

    def featurise(self, *_: Any, **__: Any) -> Iterator[pa.Table]:
        self.calls += 1
        schema = featurised_schema(2, with_sigma=False)
        made = [
            dict.fromkeys(schema.names)
            | {"material_id": f"m-{n}", "latent": [n / 7, 1.0], "network_prediction": n / 3}
            for n in range(N)
        ]
        yield pa.Table.from_pylist(made, schema=schema)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    made = Network()
    monkeypatch.setattr(surrogate_use, "featurise", made.featurise)
    monkeypatch.setattr(surrogate_use, "connected", lambda resources: nullcontext())
    return made


def into(folder: Path, cache: Path | None) -> list[str]:
    progress = Lines()
    content = surrogate_use.featurise_into(
        folder, SOURCE, NETWORK, cache=cache, resources=ResourcesConfig(), progress=progress
    )
    assert content["n_featurised"] == N
    return progress.lines


def check_whole(folder: Path) -> None:
    pool = PoolFolder.open(folder)
    pool.check()
    assert np.array_equal(pool.table().column("material_id"), [f"m-{n}" for n in range(N)])
    with (folder / "rejected.csv").open(newline="") as file:
        assert [row["material_id"] for row in csv.DictReader(file)] == ["bad"]


def cached(cache: Path) -> Path:
    """The only folder there; nothing that was half made lies beside it."""
    (kept,) = cache.iterdir()
    return kept


def test_what_another_command_cached_meanwhile_is_used(network, tmp_path):
    cache = tmp_path / "cache"
    network.meanwhile = lambda: into(tmp_path / "first", cache)
    into(tmp_path / "second", cache)
    for folder in (tmp_path / "first", tmp_path / "second", cached(cache)):
        check_whole(folder)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "first", "second"]


def test_what_is_given_belongs_to_the_user_alone(network, tmp_path):
    cache = tmp_path / "cache"
    into(tmp_path / "mine", cache)
    with (tmp_path / "mine" / "rejected.csv").open("a") as file:
        file.write("my own note,x,y,z\n")
    flip_a_bit(tmp_path / "mine" / "latents-00000.arrow")
    assert any("not computed again" in line for line in into(tmp_path / "again", cache))
    check_whole(tmp_path / "again")
    assert network.calls == 1


def flip_a_bit(file: Path) -> None:
    with file.open("r+b") as content:
        content.seek(file.stat().st_size // 2)
        byte = content.read(1)[0]
        content.seek(-1, os.SEEK_CUR)
        content.write(bytes([byte ^ 1]))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a file is gone": lambda kept: (kept / "latents-00000.arrow").unlink(),
    "a bit is another": lambda kept: flip_a_bit(kept / "latents-00000.arrow"),
    "the manifest is gone": lambda kept: (kept / "featurising.json").unlink(),
    "the rejected are gone": lambda kept: (kept / "rejected.csv").unlink(),
    "a line of the rejected is gone": lambda kept: (kept / "rejected.csv").write_text(
        "material_id,category,where,reason\n"
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_cache_is_computed_again_and_said(network, tmp_path, damage):
    cache = tmp_path / "cache"
    into(tmp_path / "first", cache)
    damage(cached(cache))
    said = into(tmp_path / "second", cache)
    assert any(str(cached(cache)) in line and "computed again" in line for line in said)
    assert network.calls == 2
    check_whole(tmp_path / "second")
    check_whole(cached(cache))
    # What was computed again is kept.
    into(tmp_path / "third", cache)
    assert network.calls == 2


def test_latents_lie_beside_a_folder_that_came_meanwhile(network, tmp_path):
    def come() -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "notes.txt").write_text("somebody's")

    network.meanwhile = come
    with pytest.raises(RunFolderError, match=r"came in the meantime.*out-2"):
        into(tmp_path / "out", None)
    check_whole(tmp_path / "out-2")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["notes.txt"]


FILL_AND_WAIT = """
import sys
from pathlib import Path
from gpnet_ray.campaign.partial_folder import made_beside
with made_beside(Path(sys.argv[1])) as made:
    (made / "half").write_text("of it")
    print("ready", flush=True)
    sys.stdin.read()
"""


def half_made(folder: Path) -> list[Path]:
    return [p for p in folder.parent.iterdir() if p.name.startswith(f".{folder.name}.")]


def test_what_a_killed_command_left_goes_and_what_a_living_one_makes_stays(network, tmp_path):
    out = tmp_path / "out"
    # As earlier versions named theirs: a process in a container has the same number each time.
    (tmp_path / f".out.partial-{os.getpid()}").mkdir()
    command = [sys.executable, "-c", FILL_AND_WAIT, str(out)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as killed:
        assert killed.stdout.readline() == b"ready\n"
        (left,) = (p for p in half_made(out) if (p / "lock").exists())
        killed.send_signal(signal.SIGKILL)
    with subprocess.Popen(command, **pipes) as living:
        assert living.stdout.readline() == b"ready\n"
        assert not left.exists()
        (at_work,) = (p for p in half_made(out) if (p / "lock").exists())
        into(out, None)
        check_whole(out)
        assert (at_work / "content" / "half").read_text() == "of it"
        living.communicate()
    assert [p.name for p in half_made(out)] == [f".out.partial-{os.getpid()}"]


def test_a_folder_is_readable_by_those_whom_the_user_lets_read(tmp_path):
    # Temporary folders are their owner's alone; a cache may be a group's.
    (tmp_path / "plain").mkdir()
    with made_beside(tmp_path / "made") as content:
        assert moved_to(tmp_path / "made", content)
    assert (tmp_path / "made").stat().st_mode == (tmp_path / "plain").stat().st_mode
