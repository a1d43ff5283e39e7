"""Bad input: exit code 2, the culprit named, a way out said, nothing half-written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.command_line import Run, rock_salt, rows, write_parquet

SMALL_SPLIT = ("--train", "20", "--test", "10", "--cycles", "3")


def refused(run: Run, tmp_path: Path, arguments: tuple[Any, ...], *said: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    done = run("run", *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    for text in said:
        assert text in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before, "something was written"


def test_missing_file(run: Run, tmp_path: Path) -> None:
    arguments = ("--dataset", "nowhere.parquet", "--target", "energy", "--unit", "eV/atom")
    refused(run, tmp_path, arguments, "nowhere.parquet", "does not exist")


TOO_MANY = (*SMALL_SPLIT[:4], "--cycles", "99")
"""Refused for these by a program that does not ask for the unit, before it trains."""
PROGRAM = ("--set", "oracle.kind=command", "--set", "oracle.command.argv=[env, '{structure}']")


@pytest.mark.parametrize(
    "command",
    [
        ("run", *TOO_MANY),
        ("run", *TOO_MANY, *PROGRAM),
        ("run", *TOO_MANY, "--repeats", "2"),
        ("train", "--out", "new", "--set", "training.validation_fraction=0.999"),
        ("init", "new", "--test", "99"),
        ("validate", "--folds", "99"),
    ],
)
def test_a_target_of_the_users_own_needs_its_unit(
    run_here: Run, tmp_path: Path, command: tuple[str, ...]
) -> None:
    made = [
        {**row, "band_gap": None if n < 9 and "init" in command else 1.0}
        for n, row in enumerate(rows())
    ]
    write_parquet(tmp_path / "oxides.parquet", made)
    before = sorted(tmp_path.rglob("*"))
    name, *options = command
    done = run_here(name, *options, "--dataset", "oxides.parquet", "--target", "band_gap")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "'band_gap' has no unit; give --unit" in done.stderr
    assert sorted(tmp_path.rglob("*")) == before, "something was written"


def change(made: list[dict[str, Any]], row: int, **new: Any) -> list[dict[str, Any]]:
    made[row] = {**made[row], **new}
    return made


DATA_FAULTS: dict[str, tuple[Callable[[], list[dict[str, Any]]], tuple[str, ...], str]] = {
    "duplicate ids": (lambda: change(rows(), 5, material_id="m-004"), (), "m-004"),
    "NaN target": (lambda: change(rows(), 7, energy=float("nan")), (), "m-007"),
    "infinite target": (lambda: change(rows(), 8, energy=float("inf")), (), "m-008"),
    "no such column": (rows, ("--target", "enegry"), "'energy'"),
    "text target": (
        lambda: [{**row, "energy": f"{row['energy']} eV"} for row in rows()],
        (),
        "m-000",
    ),
    "too many train and test rows": (rows, ("--train", "30", "--test", "10"), "40 materials"),
    "batch larger than the pool": (
        rows,
        ("--batch-size", "11", "--cycles", "1"),
        "the pool has 10",
    ),
    "bad structure, told to stop": (
        lambda: change(rows(), 9, structure="not a crystal"),
        ("--on-bad-structure", "error"),
        "m-009",
    ),
    "no bond, told to stop": (
        lambda: change(rows(), 9, structure=rock_salt("Mg", 40.0)),
        ("--on-bad-structure", "error"),
        "m-009",
    ),
}


@pytest.mark.parametrize("fault", DATA_FAULTS)
def test_faults_of_a_dataset(run_here: Run, tmp_path: Path, fault: str) -> None:
    make, extra, said = DATA_FAULTS[fault]
    path = write_parquet(tmp_path / "oxides.parquet", make())
    target = () if "--target" in extra else ("--target", "energy")
    unit = ("--unit", "eV/atom")
    split = [] if "--train" in extra else list(SMALL_SPLIT[:4])
    cycles = [] if "--cycles" in extra else list(SMALL_SPLIT[4:])
    arguments = ("--dataset", path, *target, *unit, *split, *cycles, *extra)
    refused(run_here, tmp_path, arguments, said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--strategy", "max-sgima"), "did you mean 'max-sigma'"),
        (("--kernel", "laplacain"), "did you mean 'laplacian'"),
        (("--layer", "readout0"), "did you mean 'readout_0'"),
        (("--set", "trainng.epochs=3"), "did you mean 'training'"),
        (("--set", "training"), "KEY=VALUE"),
        (("--preset", "papr"), "did you mean 'paper'"),
        (("--cycles", "0"), "selection.cycles"),
        (("--cycles", "many"), "--cycles"),
        (("--config", "none.yaml"), "none.yaml"),
        (("--on-bad-structure", "ignore"), "data.on_bad_structure"),
        (("--target", "band_gap"), "without a dataset"),
        (("--retry-failed",), "--resume"),
        (("--retrain", "sometimes"), "neither never nor end nor a number"),
        (("--retrain", "0"), "retraining.every_labels"),
        (("--retrain-start", "wram"), "did you mean 'warm'"),
        (("--runs-dir", "settings.yaml"), "is a file"),
    ],
)
def test_wrong_settings(
    run_here: Run, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "settings.yaml").write_text("")
    refused(run_here, tmp_path, arguments, said)


def test_a_ray_address_that_does_not_answer(run: Run, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "oxides.parquet", rows())
    arguments = (
        "--dataset",
        path,
        "--target",
        "energy",
        "--unit",
        "eV/atom",
        *SMALL_SPLIT,
        "--address",
        "127.0.0.1:1",
    )
    refused(run, tmp_path, arguments, "127.0.0.1:1", "does not answer")


def test_an_occupied_folder(run_here: Run, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "hypothetical-oxides"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("seed: 0\n")
    refused(run_here, tmp_path, (), "--resume", "--overwrite", str(folder.name))


def test_a_csv_whose_line_is_not_a_number_names_the_row(run_here: Run, tmp_path: Path) -> None:
    cif = rock_salt("Mg", 4.2).to(fmt="cif").replace('"', '""')
    path = tmp_path / "oxides.csv"
    path.write_text(f'material_id,structure,energy\nm-1,"{cif}",-1.0\nm-2,"{cif}",n/a\n')
    refused(
        run_here,
        tmp_path,
        ("--dataset", path, "--target", "energy", "--unit", "eV/atom"),
        "m-2",
        "n/a",
    )


def test_skipped_structures_are_counted_and_their_reasons_kept(tmp_path: Path) -> None:
    from gpnet_ray import read_dataset

    made = rows(12)
    disordered = json.loads(json.dumps(made[3]["structure"].as_dict()))
    disordered["sites"][0]["species"] = [
        {"element": "Mg", "occu": 0.5},
        {"element": "Ca", "occu": 0.5},
    ]
    made[3]["structure"] = json.dumps(disordered)
    made[6]["structure"] = "not a crystal"
    dataset = read_dataset(
        write_parquet(tmp_path / "oxides.parquet", made), target="energy", unit="eV/atom"
    )
    assert len(dataset) == 10
    assert {r.material_id for r in dataset.rejected} == {"m-003", "m-006"}
    assert any("disorder" in r.reason for r in dataset.rejected)
    # Rows after a rejected one keep their own target.
    assert dataset.targets is not None
    assert dict(zip(dataset.ids, dataset.targets, strict=True))["m-007"] == made[7]["energy"]
