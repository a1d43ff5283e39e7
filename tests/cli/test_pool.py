"""``pool build`` and ``pool check``."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import small_campaign
from support.command_line import Run, rows, write_parquet

from gpnet_ray.campaign import latent_writer
from gpnet_ray.campaign.latent_writer import LatentWriter, PoolPart
from gpnet_ray.data.pool_folder import PoolFolder
from gpnet_ray.latent_columns import latent_column, latent_matrix


@pytest.mark.slow
def test_a_stopped_build_from_crystals_goes_on_with_the_first_that_is_missing(
    run_here: Run, small_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [row | {"material_id": f"m-{i:03d}"} for i, row in enumerate(rows(20) * 3)]
    for bad in (0, 14, 15, 37, 59):
        made[bad]["structure"] = "not a crystal"
    write_parquet(tmp_path / "oxides.parquet", made)
    small_campaign.network("energy", "eV/atom").save(tmp_path / "network")
    monkeypatch.setattr(latent_writer, "ROWS_PER_FILE", 15)
    command = ("pool", "build", "--from", "oxides.parquet", "--network", "network", "--out", "pool")
    write = LatentWriter.write

    def stops(writer: LatentWriter, part: PoolPart) -> None:
        if writer.n_files == 2:
            raise KeyboardInterrupt
        write(writer, part)

    with monkeypatch.context() as patch:
        patch.setattr(LatentWriter, "write", stops)
        stopped = run_here(*command)
    assert stopped.returncode == 130
    assert "with --resume goes on" in stopped.stderr
    assert "go on with --resume" in run_here(*command).stderr
    assert "has not ended" in run_here("pool", "check", "pool").stderr
    first = [(tmp_path / "pool" / f"latents-0000{i}.arrow").read_bytes() for i in range(2)]
    done = run_here(*command, "--resume")
    assert done.returncode == 0, done.stderr
    assert "Going on after 2 finished files" in done.stdout
    assert "55 featurised points in 4 files in pool; 5 materials rejected" in done.stdout
    assert first == [(tmp_path / "pool" / f"latents-0000{i}.arrow").read_bytes() for i in range(2)]

    assert run_here("pool", "check", "pool").returncode == 0
    pool = PoolFolder.open(tmp_path / "pool")
    table = pool.table()
    good = [i for i in range(60) if i not in (0, 14, 15, 37, 59)]
    assert table.column("material_id").to_pylist() == [f"m-{i:03d}" for i in good]
    # Every crystal is there three times, in different parts of the build: float32 sums in another order.
    latents = dict(zip(good, latent_matrix(table.column("latent")), strict=True))
    assert latents[1] != pytest.approx(latents[2], abs=1e-3)
    for i in (1, 2, 16, 18):
        assert latents[i + 20] == pytest.approx(latents[i], abs=1e-5)
        assert latents[i + 40] == pytest.approx(latents[i], abs=1e-5)
    with (tmp_path / "pool" / "rejected.csv").open(newline="") as file:
        rejected = [row["material_id"] for row in csv.DictReader(file)]
    assert rejected == ["m-000", "m-014", "m-015", "m-037", "m-059"]
    assert run_here(*command, "--resume").stdout.count("whole already") == 1
    other = run_here(*command, "--resume", "--layer", "readout_1")
    assert other.returncode == 2
    assert "begun with another network" in other.stderr


def test_drawn_pools_are_checked_by_their_checksums(run_here: Run, tmp_path: Path) -> None:
    latents = np.random.default_rng(0).normal(size=(400, 4)).astype(np.float32)
    pq.write_table(pa.table({"latent": latent_column(latents)}), tmp_path / "real.parquet")
    done = run_here(
        *("pool", "build", "--latents-like", "real.parquet", "--count", "50", "--out", "pool")
    )
    assert done.returncode == 0, done.stderr
    assert "50 drawn points in 1 files in pool" in done.stdout
    checked = run_here("pool", "check", "pool")
    assert "whole: 50 drawn points of width 4 (layer unknown, no network)" in checked.stdout
    file = tmp_path / "pool" / "latents-00000.arrow"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    checked = run_here("pool", "check", "pool")
    assert checked.returncode == 2
    assert "latents-00000.arrow is not what was written" in checked.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "either --from (crystals) or --latents-like"),
        (("--from", "x.parquet", "--latents-like", "y.parquet"), "either --from"),
        (("--from", "hypothetical-oxides", "--count", "5"), "--network"),
        (("--from", "hypothetical-oxides", "--network", "n"), "--count, how many to generate"),
        (("--from", "x.parquet", "--count", "5", "--network", "n"), "all crystals of x.parquet"),
        (("--from", "hypothetical-oxides", "--count", "0", "--network", "n"), "--count"),
        (("--from", "x.parquet", "--network", "nowhere"), "no network at nowhere"),
        (("--latents-like", "x.parquet"), "--count, how many to draw"),
        (("--latents-like", "x.parquet", "--count", "5", "--network", "n"), "no --network"),
        (("--latents-like", "x.parquet", "--count", "5"), "x.parquet holds no latents"),
    ],
)
def test_what_cannot_be_built_is_refused_at_once(
    run_here: Run, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = run_here("pool", "build", "--out", "pool", *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr
    assert not (tmp_path / "pool").exists()
