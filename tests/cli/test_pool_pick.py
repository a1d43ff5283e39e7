"""``pool pick``: what it wrote is filled in and given back, and it goes on as one long session would have."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from support.command_line import Run
from support.pools import DenseLoop, hand_made_surrogate, truth, write_pool

IDS = [f"a-{n:04d}" for n in range(600)]
MORE = [f"b-{n:04d}" for n in range(300)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a surrogate and two pools; the tests run in it."""
    surrogate = hand_made_surrogate()
    surrogate.save(tmp_path / "surrogate")
    write_pool(tmp_path / "a", IDS, surrogate)
    write_pool(tmp_path / "b", MORE, surrogate)
    return tmp_path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def fill_in(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def test_a_file_of_picks_is_filled_in_and_given_back(
    folder: Path, run_here: Run, small_ray: None
) -> None:
    dense = DenseLoop(hand_made_surrogate(), IDS)
    one_shard = ("--set", "resources.shards=1")
    first = ("pool", "pick", "surrogate", "a", "-n", "6", "--out", "picks.csv", *one_shard)
    done = run_here(*first)
    assert done.returncode == 0, done.stderr
    assert "0 labels told, 0 pending, 0 failed, 0 withdrawn" in done.stdout
    assert "600 candidates in 1 shards, memory of each: " in done.stdout
    assert "Bounding the pool: 600/600 candidates" in done.stdout
    assert " of 600 candidates were computed in full (" in done.stdout
    rows = read(folder / "picks.csv")
    assert [row["material_id"] for row in rows] == dense.pick(6)[0]
    assert {row["unit"] for row in rows} == {"eV/atom"}
    # Somebody's labels may be in it by now.
    assert run_here(*first).returncode == 2

    for row in rows[:3]:
        row["value"] = str(truth(row["material_id"]))
    rows[3] |= {"status": "failed", "reason": "SCF diverged"}
    fill_in(folder / "picks.csv", rows)
    (folder / "unwanted.csv").write_text(f"material_id\n{IDS[7]}\n")
    (folder / "earlier.csv").write_text(f"material_id,who\n{IDS[9]},Ada\n{MORE[3]},Ada\n")
    again = ("--labels", "picks.csv", "--pending", "earlier.csv", "--withdrawn", "unwanted.csv")
    done = run_here("pool", "pick", "surrogate", "a", "b", "-n", "5", *again, *one_shard)
    assert done.returncode == 0, done.stderr
    assert "3 labels told, 4 pending, 1 failed, 1 withdrawn" in done.stdout
    known = [row["material_id"] for row in rows if row is not rows[3]]
    gone = {rows[3]["material_id"], IDS[7]}
    grown = DenseLoop(dense.surrogate, [*IDS, *MORE], [*known, IDS[9], MORE[3]], gone)
    shown = [line.split() for line in done.stdout.splitlines() if line.startswith(("a-", "b-"))]
    expected, sigmas = grown.pick(5)
    assert [row[0] for row in shown] == expected
    assert [row[1] for row in shown] == [f"{sigma:.4f}" for sigma in sigmas]
    labels = {row["material_id"]: float(row["value"]) for row in rows[:3]}
    assert shown[-1][2] == f"{grown.mean(expected[-1], labels):.4f}"
    # Bounds of the first pool were kept beside it.
    assert len(list((folder / "a.bounds").iterdir())) == 3


def test_what_cannot_be_picked_from_is_said_before_anything_is_computed(
    folder: Path, run_here: Run
) -> None:
    pick = ("pool", "pick", "surrogate", "a")
    (folder / "wrong.csv").write_text(
        "material_id,unit,value\na-0001,meV/atom,1\na-0002,eV/atom,x\n"
    )
    (folder / "one.csv").write_text("material_id,unit,value\na-0001,eV/atom,1\n")
    (folder / "two.csv").write_text("material_id,unit,value\na-0001,eV/atom,2\n")
    both = ("--labels", "one.csv", "--labels", "two.csv")
    for arguments, said in (
        ((*pick, "--labels", "wrong.csv"), "wrong.csv, line 2: the unit is meV/atom"),
        ((*pick, "--labels", "wrong.csv"), "wrong.csv, line 3: the value 'x' is not a finite"),
        ((*pick, *both), "two.csv, line 2: 'a-0001' has the label 1.0 in another file and 2.0"),
        ((*pick, "--labels", "one.csv", "--unit", "meV"), "are in eV/atom, not in meV"),
        ((*pick, "--strategy", "random"), "'random' does not pick from a pool"),
        ((*pick, "-n", "601"), "601 picks asked for, and 600 candidates are left"),
        ((*pick, "a"), "another of the pools has, too: a-0000"),
        ((*pick, "--out", "nowhere/picks.csv"), "there is no folder"),
        (("pool", "pick", "surrogate/network", "a"), "holds a network alone, which gives no σ"),
        (("pool", "pick", "surrogate", "surrogate"), "holds no latents"),
    ):
        done = run_here(*arguments)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
