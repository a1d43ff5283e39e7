"""``pool pick``: what it wrote is filled in and given back, and it goes on as one long session would have."""

from __future__ import annotations

import csv
import shlex
from pathlib import Path

import pytest
from support.command_line import Run
from support.pools import DenseLoop, hand_made_surrogate, truth, write_pool

from gpnet_ray.campaign.pool_answers import read_answers
from gpnet_ray.campaign.pool_session import PoolPick
from gpnet_ray.commands.pool_pick import print_picks, write_form
from gpnet_ray.data.results_file import FormRow, form_text
from gpnet_ray.errors import RunFolderError

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


def fill_in(path: Path, *answers: dict[str, str]) -> None:
    """Answer the first rows of a form."""
    rows = read(path)
    for row, answer in zip(rows, answers, strict=False):
        row.update(answer)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def test_picks_go_on_from_files_that_came_back_and_leave_one_to_fill_in(
    folder: Path, run_here: Run, small_ray: None
) -> None:
    # One long session on both pools, of which an earlier command made the first six picks.
    dense = DenseLoop(hand_made_surrogate(), [*IDS, *MORE], gone={IDS[7]})
    asked, _ = dense.pick(6)
    rows = [FormRow(i, "", 1.0, 0.0, "") for i in asked]
    (folder / "asked.csv").write_text(form_text(rows, unit="eV/atom"))
    told = {i: truth(i) for i in asked[:3]}
    values = ({"value": str(label)} for label in told.values())
    fill_in(folder / "asked.csv", *values, {"status": "failed", "reason": "SCF diverged"})
    dense.known.remove(asked[3])
    dense.gone.add(asked[3])
    (folder / "earlier.csv").write_text(f"material_id,who\n{IDS[9]},Ada\n{MORE[3]},Ada\n")
    dense.known += [IDS[9], MORE[3]]
    (folder / "not wanted.csv").write_text(f"material_id\n{IDS[7]}\n")

    known = ("--labels", "asked.csv", "--pending", "earlier.csv", "--withdrawn", "not wanted.csv")
    pick = ("pool", "pick", "surrogate", "a", "b", "-n", "5", "--set", "resources.shards=1")
    done = run_here(*pick, *known, "--out", "picks.csv")
    assert done.returncode == 0, done.stderr
    assert "3 labels told, 4 pending, 1 failed, 1 withdrawn" in done.stdout
    assert "900 candidates in 1 shards, memory of each: " in done.stdout
    assert "Bounding the pool: 900/900 candidates" in done.stdout
    assert " were looked at again, in" in done.stdout
    form, (expected, sigmas) = read(folder / "picks.csv"), dense.pick(5)
    assert [row["material_id"] for row in form] == expected
    assert [row["sigma"] for row in form] == [f"{sigma:.6g}" for sigma in sigmas]
    assert form[4]["predicted"] == f"{dense.mean(expected[4], told):.6g}"
    # Bounds are kept beside the first pool, a file each.
    assert len(list((folder / "a.bounds").iterdir())) == 3

    fill_in(folder / "picks.csv", {"value": "-1.5"})
    answers = read_answers([folder / "picks.csv"], [], [], unit="eV/atom")
    assert (answers.labels, answers.pending) == ({expected[0]: -1.5}, tuple(expected[1:]))
    # Somebody's labels are in it by now.
    assert "exists already" in run_here(*pick, "--out", "picks.csv").stderr
    assert read(folder / "picks.csv")[0]["value"] == "-1.5"

    # The command that was printed forgets nothing that was picked, told, or set aside.
    command = shlex.split(done.stdout.splitlines()[-1])
    went_on = run_here(*command[1:])
    assert went_on.returncode == 0, went_on.stderr
    assert "4 labels told, 8 pending, 1 failed, 1 withdrawn" in went_on.stdout
    assert [row["material_id"] for row in read(folder / "picks.2.csv")] == dense.pick(5)[0]
    assert shlex.split(went_on.stdout.splitlines()[-1]) == [
        *("gpnet-ray", "pool", "pick", "surrogate", "a", "b", "-n", "5"),
        *("--strategy", "max-sigma", "--labels", "asked.csv", "--labels", "picks.csv"),
        *("--labels", "picks.2.csv", "--pending", "earlier.csv", "--withdrawn", "not wanted.csv"),
        *("--out", "picks.3.csv", "--set", "resources.shards=1"),
    ]


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
        ((*pick, "-n", "0"), "Invalid value for '-n' / '--number'"),
        ((*pick, "a"), "have the same ids: a-0000"),
        ((*pick, "--out", "nowhere/picks.csv"), "there is no folder"),
        (("pool", "pick", "surrogate/network", "a"), "holds a network alone, which gives no σ"),
        (("pool", "pick", "surrogate", "surrogate"), "holds no latents"),
    ):
        done = run_here(*arguments)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_picks_are_printed_where_somebody_else_has_made_their_file_meanwhile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "picks.csv").write_text("material_id,value\ntheirs,1\n")
    text = form_text([FormRow("mine", "", 0.5, -1.0, "")], unit="eV/atom")
    with pytest.raises(RunFolderError, match="exists already, made by somebody else"):
        write_form(tmp_path / "picks.csv", text)
    assert "theirs" in (tmp_path / "picks.csv").read_text()
    (tmp_path / "saved.csv").write_text(capsys.readouterr().out)
    assert read_answers([tmp_path / "saved.csv"], [], [], unit="eV/atom").pending == ("mine",)


def test_without_a_file_the_first_picks_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    print_picks([PoolPick(f"m-{n}", 0.25, -3.0) for n in range(53)], "eV/atom")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["material", "σ", "(eV/atom)", "predicted", "(eV/atom)"]
    assert lines[1].split() == ["m-0", "0.2500", "-3.0000"]
    assert (len(lines), lines[-1]) == (52, "3 more; --out FILE.csv writes all")
