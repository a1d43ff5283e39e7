"""A pool on disk: what is read is what was written, nothing is copied, and damage is found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from gpnet_ray.campaign.latent_writer import LatentWriter, PoolPart
from gpnet_ray.data.pool_folder import MappedLatents, PoolFile, PoolFolder
from gpnet_ray.data.unique_ids import repeated_ids
from gpnet_ray.errors import DataError
from gpnet_ray.latent_columns import latent_column

ABOUT = {"kind": "featurised", "layer": "readout_0", "network_fingerprint": "abc"}
LATENTS = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
IDS = [f"m-{row}" for row in range(7)]


def write(folder: Path, ids: Sequence[str] = IDS, latents: np.ndarray = LATENTS) -> Path:
    """Two files, of 4 and 3 points."""
    with LatentWriter(folder, ABOUT) as writer:
        for rows in (slice(4), slice(4, 7)):
            points = pa.table({"material_id": ids[rows], "latent": latent_column(latents[rows])})
            writer.write(PoolPart(points, (), n_done=rows.stop))
        writer.finish()
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "pool")


def test_a_pool_is_what_was_written(folder: Path) -> None:
    pool = PoolFolder.open(folder)
    assert (pool.n_points, pool.latent_width, pool.layer) == (7, 3, "readout_0")
    assert (pool.network, pool.kind, pool.n_rejected) == ("abc", "featurised", 0)
    mapped = [MappedLatents(file) for file in pool.files]
    assert [len(points) for points in mapped] == [4, 3]
    np.testing.assert_array_equal(np.concatenate([p.latents for p in mapped]), LATENTS)
    assert pool.table().column("material_id").to_pylist() == IDS
    pool.check()
    assert sorted(f.name for f in folder.iterdir()) == [
        *("featurising.json", "latents-00000.arrow", "latents-00001.arrow", "rejected.csv")
    ]


def test_latents_are_a_view_on_the_file(folder: Path) -> None:
    before = pa.total_allocated_bytes()
    latents = MappedLatents(PoolFolder.open(folder).files[0]).latents
    assert latents.dtype == np.float32
    assert not latents.flags.writeable
    assert not latents.flags.owndata
    # What the map holds is no memory of Arrow's.
    assert pa.total_allocated_bytes() == before


def test_ids_and_rows_are_each_others_inverse(folder: Path) -> None:
    mapped = MappedLatents(PoolFolder.open(folder).files[1])
    assert mapped.ids([2, 0]) == ["m-6", "m-4"]
    assert mapped.rows_of(["m-6", "m-4", "m-0", "unknown"]) == {"m-6": 2, "m-4": 0}
    assert mapped.rows_of([]) == {}


def test_one_flipped_byte_is_found_and_the_file_named(folder: Path) -> None:
    path = folder / "latents-00001.arrow"
    content = bytearray(path.read_bytes())
    at = content.index(LATENTS[5].tobytes())
    content[at] ^= 1
    path.write_bytes(content)
    pool = PoolFolder.open(folder)
    with pytest.raises(DataError, match=r"latents-00001\.arrow is not what was written"):
        pool.check()


def test_a_file_that_is_missing_cut_or_another_is_refused(folder: Path, tmp_path: Path) -> None:
    first, second = (folder / f"latents-0000{i}.arrow" for i in range(2))
    content = second.read_bytes()
    second.write_bytes(content[:-1])
    with pytest.raises(DataError, match=f"has {len(content) - 1} bytes where {len(content)}"):
        PoolFolder.open(folder)
    second.unlink()
    with pytest.raises(DataError, match=r"latents-00001\.arrow is missing"):
        PoolFolder.open(folder)
    with pytest.raises(DataError, match="4 rows, not 5"):
        MappedLatents(PoolFile(first, 5, ""))
    first.write_bytes(b"ARROW1 or not")
    with pytest.raises(DataError, match=r"latents-00000\.arrow is damaged"):
        MappedLatents(PoolFile(first, 4, ""))


def test_what_is_no_finished_pool_says_what_to_do(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'pool build' or 'featurize'"):
        PoolFolder.open(tmp_path)
    manifest = folder / "featurising.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(content | {"version": 1}))
    with pytest.raises(DataError, match=r"version 1; .* build the pool again"):
        PoolFolder.open(folder)
    del content["shards"][0]["sha256"]
    manifest.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"featurising\.json is damaged .*sha256"):
        PoolFolder.open(folder)
    manifest.rename(folder / "building.json")
    with pytest.raises(DataError, match=r"has not ended; go on with .* --resume"):
        PoolFolder.open(folder)


def test_no_pool_holds_an_id_twice_or_a_latent_that_is_no_number(tmp_path: Path) -> None:
    twice = PoolFolder.open(write(tmp_path / "twice", ids=[*IDS[:6], "m-1"]))
    with pytest.raises(DataError, match="duplicate ids: m-1;"):
        twice.check()
    broken = LATENTS.copy()
    broken[5, 1] = np.nan
    not_a_number = PoolFolder.open(write(tmp_path / "nan", latents=broken))
    with pytest.raises(DataError, match=r"latents-00001.*NaN"):
        not_a_number.check()


def test_repeated_ids_are_found_over_columns() -> None:
    def columns() -> list[pa.Array]:
        return [pa.array(["a", "b", "a"]), pa.array(["c", "b"]), pa.array([], pa.string())]

    assert repeated_ids(columns) == ["a", "b"]
    assert repeated_ids(lambda: columns()[1:]) == []
    assert repeated_ids(list) == []


def test_ids_whose_hashes_are_equal_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    from gpnet_ray.data import unique_ids

    monkeypatch.setattr(unique_ids, "_hashes", lambda column: np.zeros(len(column), np.uint64))
    assert repeated_ids(lambda: [pa.array(["a", "b"]), pa.array(["c", "b"])]) == ["b"]
