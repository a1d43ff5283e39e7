"""Pools that are built: whatever interrupts the build, the pool is that of one that nothing interrupted."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpnet_ray.actors.pool_featurizer import featurised_schema
from gpnet_ray.campaign import latent_writer
from gpnet_ray.campaign.latent_writer import LatentWriter, PoolPart, pool_parts
from gpnet_ray.campaign.pool_build import draw_pool
from gpnet_ray.data.dataset import RejectedMaterial
from gpnet_ray.data.pool_folder import PoolFolder
from gpnet_ray.data.raw_materials import id_text
from gpnet_ray.errors import DataError, InputError, RunFolderError
from gpnet_ray.latent_columns import latent_column

ABOUT = {"kind": "featurised", "source": "s.parquet", "source_fingerprint": "1"} | {
    "layer": "readout_0",
    "network_fingerprint": "2",
}
BEFORE = [RejectedMaterial("first", "does not parse", "line one\nline two", "s.parquet")]
N = 103
BAD = {0, 13, 14, 39, 40, 41, 77, 101, 102}
NOT_FINITE = 55


def stream(n_done: int = 0, *, rows_per_table: int = 8) -> Iterator[pa.Table]:
    """What a network would give for 103 materials, nine of them rejected and one with a NaN, from some row on."""
    schema = featurised_schema(2, with_sigma=False)
    for start in range(n_done, N, rows_per_table):
        made = []
        for row in range(start, min(start + rows_per_table, N)):
            one: dict[str, Any] = dict.fromkeys(schema.names) | {"material_id": f"m-{row:03d}"}
            if row in BAD:
                one |= {"category": "bad", "where": "here", "reason": f"row {row}, indeed"}
            else:
                value = np.nan if row == NOT_FINITE else 1.0
                one |= {"latent": [row / 7, value], "network_prediction": row / 3}
            made.append(one)
        yield pa.Table.from_pylist(made, schema=schema)


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed process wrote is there without it; only a power cut would tell."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def files_of_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_writer, "ROWS_PER_FILE", 10)


def build(folder: Path, about: dict[str, Any] = ABOUT) -> dict[str, Any]:
    with LatentWriter(folder, about, rejected=BEFORE) as writer:
        for part in pool_parts(stream(writer.n_done), n_done=writer.n_done):
            writer.write(part)
        return writer.finish()


@pytest.fixture
def whole(files_of_ten: None, tmp_path: Path) -> dict[str, bytes]:
    build(tmp_path / "whole")
    return files_of(tmp_path / "whole")


def test_every_id_is_in_one_file_or_rejected_once(whole: dict[str, bytes], tmp_path: Path) -> None:
    pool = PoolFolder.open(tmp_path / "whole")
    pool.check()
    assert [file.rows for file in pool.files] == [10] * 9 + [3]
    good = [f"m-{row:03d}" for row in range(N) if row not in BAD | {NOT_FINITE}]
    table = pool.table()
    assert table.column("material_id").to_pylist() == good
    rows = np.array([int(name[2:]) for name in good])
    np.testing.assert_array_equal(table.column("network_prediction"), rows / 3)
    with (tmp_path / "whole" / "rejected.csv").open(newline="") as file:
        rejected = {row["material_id"]: row["reason"] for row in csv.DictReader(file)}
    assert list(rejected) == ["first", *(f"m-{row:03d}" for row in sorted(BAD | {NOT_FINITE}))]
    assert rejected["first"] == "line one\nline two"
    assert rejected["m-055"] == "the network gave NaN or infinity"
    assert pool.n_rejected == len(rejected)


def test_a_build_that_stops_anywhere_ends_with_the_same_bytes(
    whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every write to the disk is in turn the last one of its process."""
    real = latent_writer._write_whole
    stopped = 0
    for survived in range(100):
        folder = tmp_path / f"stopped-{survived}"
        left = [survived]

        def write(path: Path, content: bytes, left: list[int] = left) -> None:
            if not left[0]:
                path.with_name(f".{path.name}.tmp").write_bytes(content[:7])
                raise KeyboardInterrupt
            left[0] -= 1
            real(path, content)

        with monkeypatch.context() as patch:
            patch.setattr(latent_writer, "_write_whole", write)
            try:
                build(folder)
            except KeyboardInterrupt:
                stopped += 1
            else:
                break
        build(folder)
        assert files_of(folder) == whole
    # Two files a part, what stands before the first, and the manifest.
    assert stopped == 2 * 10 + 2 + 1


def test_another_source_or_network_is_refused(files_of_ten: None, tmp_path: Path) -> None:
    folder = tmp_path / "pool"
    with LatentWriter(folder, ABOUT) as writer:
        writer.write(next(pool_parts(stream(), n_done=0)))
        with pytest.raises(RunFolderError, match="being written by another process"):
            LatentWriter(folder, ABOUT)
    before = files_of(folder)
    changes = {"source_fingerprint": "'s.parquet', not 't.parquet'", "network_fingerprint": "'2'"}
    for key, said in changes.items():
        other = ABOUT | {key: "another", "source": "t.parquet"}
        with pytest.raises(RunFolderError, match=said):
            LatentWriter(folder, other)
    assert files_of(folder) == before
    # The same crystals under another name are the same crystals.
    with LatentWriter(folder, ABOUT | {"source": "moved.parquet"}) as writer:
        assert writer.n_done > 0
    (folder / "latents-00000.arrow").unlink()
    with pytest.raises(DataError, match=r"latents-00000\.arrow, which was finished, is missing"):
        LatentWriter(folder, ABOUT)


def test_a_build_whose_rejected_materials_are_lost_does_not_go_on(
    files_of_ten: None, tmp_path: Path
) -> None:
    folder = tmp_path / "pool"
    with LatentWriter(folder, ABOUT, rejected=BEFORE) as writer:
        writer.write(next(pool_parts(stream(), n_done=0)))
    file = folder / "rejected.csv"
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    with pytest.raises(
        DataError, match=rf"rejected\.csv has {len(whole) - 5} bytes where"
    ) as error:
        LatentWriter(folder, ABOUT, rejected=BEFORE)
    assert f"remove {folder} and build" in str(error.value)
    assert file.read_bytes() == whole[:-5]
    file.unlink()
    with pytest.raises(DataError, match=rf"has 0 bytes where {len(whole)} were written"):
        LatentWriter(folder, ABOUT, rejected=BEFORE)
    assert not file.exists()
    # Nothing is locked by what was refused, and with the copy it goes on.
    file.write_bytes(whole)
    assert build(folder)["n_rejected"] == len(BAD) + 2


def test_what_is_no_pool_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="exists already"):
        LatentWriter(tmp_path, ABOUT)
    with pytest.raises(RunFolderError, match="exists already"):
        LatentWriter(tmp_path / "mine.txt", ABOUT)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_where_nothing_is_left_nothing_is_there(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match="none of the 1 crystals can be used"),
        LatentWriter(tmp_path / "pool", ABOUT, rejected=BEFORE) as writer,
    ):
        writer.finish()
    assert not (tmp_path / "pool").exists()


def test_no_pool_has_an_id_that_files_of_labels_read_as_another(tmp_path: Path) -> None:
    def write(name: str) -> None:
        points = pa.table({"material_id": [name], "latent": latent_column(np.ones((1, 2)))})
        with LatentWriter(tmp_path / "pool", ABOUT) as writer:
            writer.write(PoolPart(points, (), n_done=1))

    # Whatever Python takes for a blank, the null and nothing.
    blanks = [chr(code) for code in range(sys.maxunicode) if chr(code).isspace()]
    bad = ["", "\0a", *(f"{blank}a" for blank in blanks), *(f"a{blank}" for blank in blanks)]
    for name in bad:
        assert name in ("", "\0a") or id_text(name) != name
        with pytest.raises(DataError, match="would not come back from a file of labels"):
            write(name)
    for name in ("a b", "mp-1", "é σ"):
        assert id_text(name) == name
        write(name)


@pytest.mark.parametrize("prefix", [" like", "like\t", "li\nke", "li\0ke", "\u3000like"])
def test_a_prefix_that_files_of_labels_read_as_another_is_refused(
    like: Path, tmp_path: Path, prefix: str
) -> None:
    with pytest.raises(InputError, match=r"would not come back .* \(--prefix\)"):
        draw_pool(tmp_path / "pool", like, count=5, seed=0, prefix=prefix)
    assert not (tmp_path / "pool").exists()


@pytest.fixture(scope="module")
def like(tmp_path_factory: pytest.TempPathFactory) -> Path:
    latents = np.random.default_rng(0).normal(size=(400, 4)).astype(np.float32)
    file = tmp_path_factory.mktemp("like") / "latents.parquet"
    pq.write_table(pa.table({"latent": latent_column(latents)}), file)
    return file


COUNT = 40_000
DRAW = """
import sys, time
from pathlib import Path
from gpnet_ray.campaign import latent_writer
from gpnet_ray.campaign.pool_build import draw_pool
latent_writer.ROWS_PER_FILE = 1000
write = latent_writer.LatentWriter.write
def slowly(self, part):
    write(self, part)
    time.sleep(0.05)
latent_writer.LatentWriter.write = slowly
draw_pool(Path(sys.argv[1]), Path(sys.argv[2]), count=int(sys.argv[3]), seed=5, resume=True)
"""


def test_a_killed_build_goes_on_and_ends_with_the_same_bytes(
    like: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", DRAW, folder, like, str(COUNT)])
    deadline = time.monotonic() + 60
    while not (folder / "latents-00003.arrow").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    n_files = len(list(folder.glob("*.arrow")))
    assert 4 <= n_files < COUNT // 1000
    with pytest.raises(DataError, match="has not ended; go on with"):
        PoolFolder.open(folder)
    finished = {file: file.stat().st_mtime_ns for file in sorted(folder.glob("*.arrow"))[:3]}

    monkeypatch.setattr(latent_writer, "ROWS_PER_FILE", 1000)
    given: dict[str, Any] = {"count": COUNT, "seed": 5}
    with pytest.raises(RunFolderError, match="go on with --resume"):
        draw_pool(folder, like, **given)
    with pytest.raises(RunFolderError, match="another seed: 5, not 6"):
        draw_pool(folder, like, **given | {"seed": 6}, resume=True)
    content = draw_pool(folder, like, **given, resume=True)
    assert {file: file.stat().st_mtime_ns for file in finished} == finished
    assert draw_pool(tmp_path / "whole", like, **given) == content
    assert files_of(folder) == files_of(tmp_path / "whole")


def test_a_drawn_pool_says_that_it_is_of_no_crystal(like: Path, tmp_path: Path) -> None:
    content = draw_pool(tmp_path / "pool", like, count=1500, seed=5, layer="readout_1")
    assert "no point of this pool is a crystal" in content["note"]
    assert content["mixture"]["components"] == 32
    pool = PoolFolder.open(tmp_path / "pool")
    pool.check()
    assert (pool.n_points, pool.kind, pool.network, pool.layer) == (
        1500,
        "drawn",
        None,
        "readout_1",
    )
    assert pool.table().column("material_id")[1499].as_py() == "like-00001499"
    # One that is whole is gone on with by doing nothing, and what is drawn like it has its layer.
    before = files_of(pool.path)
    # As a process leaves it that is killed after its last write.
    (pool.path / "building.json").write_text("{}")
    again = draw_pool(pool.path, like, count=1500, seed=5, layer="readout_1", resume=True)
    assert (again, files_of(pool.path)) == (content, before)
    more = draw_pool(tmp_path / "more", pool.path, count=10, seed=6, prefix="more")
    assert more["layer"] == "readout_1"
    assert PoolFolder.open(tmp_path / "more").table().column("material_id")[9].as_py() == (
        "more-00000009"
    )
    with pytest.raises(RunFolderError, match="exists already"):
        draw_pool(pool.path, like, count=1500, seed=5)
    with pytest.raises(InputError, match="asked for 0 points"):
        draw_pool(tmp_path / "none", like, count=0, seed=0)
