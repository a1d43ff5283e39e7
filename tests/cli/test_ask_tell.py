"""The commands for people who compute the labels themselves."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from pymatgen.core import Structure
from support.command_line import TINY_NETWORK, Run, rows, write_parquet


def partly_labelled(folder: Path, n_labelled: int = 16) -> Path:
    made: list[dict[str, Any]] = rows(30)
    for number, row in enumerate(made):
        row["temperature_K"] = 300.0 + number
    for row in made[n_labelled:]:
        row["energy"] = None
    return write_parquet(folder / "oxides.parquet", made)


def read_form(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def write_form(path: Path, form: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, fieldnames=list(form[0]))
        table.writeheader()
        table.writerows(form)


@pytest.mark.slow
def test_from_a_partly_labelled_file_to_told_labels_and_more_candidates(
    run_here: Run, small_ray: None, tmp_path: Path
) -> None:
    def run(*arguments: str | Path) -> str:
        done = run_here(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    dataset = partly_labelled(tmp_path)
    settings = ["--target", "energy", "--unit", "eV/atom", "--set", "resources.shards=1"]
    settings += ["--global-feature", "temperature_K"]
    said = run("init", "mine", "--dataset", dataset, "--test", "3", *settings, *TINY_NETWORK)
    assert "13 labels, 3 test rows, 14 candidates" in said
    assert "Training the network" in said

    said = run("ask", "mine", "-n", "4", "--write-structures", "poscar", "--out", "todo")
    form = read_form(tmp_path / "todo" / "results.csv")
    assert len(form) == 4
    for row in form:
        assert row["material_id"] in said
        crystal = Structure.from_file(tmp_path / "todo" / row["file"], primitive=False)
        assert crystal.composition.reduced_formula == row["formula"]
        assert float(row["sigma"]) > 0
        assert float(row["temperature_K"]) == 300 + int(row["material_id"].removeprefix("m-"))
        assert (row["unit"], row["value"], row["status"], row["reason"]) == ("eV/atom", "", "", "")

    form[0]["value"] = "-4.25"
    form[1] |= {"status": "failed", "reason": "SCF diverged"}
    form[2]["value"] = "-4250"
    write_form(tmp_path / "todo" / "results.csv", form)
    done = run_here("tell", "mine", "todo/results.csv")
    assert done.returncode == 2
    taken = "1 labels and 1 failures taken, 0 known before, 1 rows still open, 1 refused"
    assert taken in done.stdout
    assert "todo/results.csv, line 4: " in done.stderr
    assert "--accept-implausible" in done.stderr

    more: list[dict[str, Any]] = [
        {**row, "material_id": f"new-{number}", "energy": None, "temperature_K": 400.0}
        for number, row in enumerate(rows(36)[30:])
    ]
    write_parquet(tmp_path / "more.parquet", more)
    assert "6 candidates added, 0 rejected; 16 can be asked for" in run(
        "add-candidates", "mine", "more.parquet"
    )
    assert "15 candidates can be asked for" in run("withdraw", "mine", "new-0", "--reason", "toxic")
    said = run("status", "mine")
    for text in (
        "Labels: 13 at the start, 1 told since",
        "Pool: 15 candidates can be asked for, 1 withdrawn",
        "Pending: 2",
        f"{form[2]['material_id']}: asked",
        f"{form[1]['material_id']}: failed, SCF diverged",
        "Largest σ of a candidate: ",
        "MAE on 3 test rows: ",
    ):
        assert text in said


def test_what_is_no_campaign_and_wrong_options_are_refused(run_here: Run, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years of work")
    dataset = partly_labelled(tmp_path)
    for arguments, said in (
        (("ask", "nowhere"), "no ask-and-tell campaign"),
        (("tell", "nowhere", "results.csv"), "no ask-and-tell campaign"),
        (("status", "full"), "no ask-and-tell campaign"),
        (("ask", "nowhere", "--write-structures", "poscars"), "did you mean 'poscar'"),
        (("init", "full", "--dataset", dataset), "no ask-and-tell campaign"),
        (("init", "new", "--dataset", dataset, "--target", "enegry", "--unit", "eV"), "'energy'"),
        (
            ("init", "new", "--dataset", dataset, "--strategy", "max-sgima"),
            "did you mean 'max-sigma'",
        ),
        (
            (
                "init",
                "new",
                "--dataset",
                dataset,
                "--target",
                "energy",
                "--unit",
                "eV/atom",
                "--test",
                "9",
            ),
            "lower --test",
        ),
    ):
        done = run_here(*arguments)
        assert done.returncode == 2, done.stdout + done.stderr
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "nowhere").exists()
