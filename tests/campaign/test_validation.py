"""``gpnet-ray validate``: one small cross-validation of two targets, looked at from all sides.

The second target is the first with other labels in the rows that fold 1 holds out.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.command_line import TINY_NETWORK, rock_salt, rows, write_parquet
from support.fold_stand_in import calls, predict_the_mean
from typer.testing import CliRunner, Result

from gpnet_ray.campaign.journal import read_journal
from gpnet_ray.campaign.validation_folds import HeldOut, draw_folds
from gpnet_ray.cli import app
from gpnet_ray.errors import DataError, GpnetError, InputError, RunFolderError

NAME = "checked"
DATA = ("--target", "energy", "--unit", "eV/atom", "--target", "changed", "--unit", "eV")


def validate(folder: Path, *options: str) -> Result:
    data = ("--dataset", str(folder / "oxides.parquet"), "--runs-dir", str(folder / "runs"))
    return CliRunner().invoke(app, ["validate", *data, "--name", NAME, *TINY_NETWORK, *options])


def refused(result: Result) -> str:
    """The message of an error that the program foresaw: one line and exit code 2."""
    assert isinstance(result.exception, GpnetError), result.output
    assert result.exception.exit_code == 2
    return str(result.exception)


@pytest.fixture(scope="module")
def folder(small_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("validation")
    made = rows(32)
    made[7]["structure"] = rock_salt("Mg", 40.0)  # no bond inside the cut-off
    usable = [row["material_id"] for row in made if row is not made[7]]
    first = draw_folds(usable, HeldOut(folds=2), seed=0)[0]
    for number, row in enumerate(made):
        row["changed"] = row["energy"] + (number % 5 if row["material_id"] in first.test else 0)
    write_parquet(folder / "oxides.parquet", made)
    result = validate(folder, *DATA, "--folds", "2")
    assert result.exit_code == 0, result.output
    (folder / "output.txt").write_text(result.output)
    return folder


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def predictions(folder: Path) -> Any:
    return pq.read_table(folder / "runs" / NAME / "predictions.parquet").to_pandas()


def test_every_id_is_predicted_once_for_every_target(folder):
    table = predictions(folder)
    written = pq.read_table(folder / "oxides.parquet").to_pandas().set_index("material_id")
    assert list(table.columns) == [
        *("target", "material_id", "fold", "label", "mean", "sigma", "network_prediction")
    ]
    for target in ("energy", "changed"):
        mine = table[table.target == target].set_index("material_id")
        assert sorted(mine.index) == sorted(set(written.index) - {"m-007"})
        assert (mine.label == written[target][mine.index]).all()
        assert (mine.sigma > 0).all()
    rejected = (folder / "runs" / NAME / "rejected.csv").read_text()
    assert "m-007" in rejected


def test_the_labels_of_a_held_out_fold_change_none_of_its_predictions(folder):
    table = predictions(folder).set_index(["target", "fold", "material_id"])
    energy, changed = table.loc["energy"], table.loc["changed"]
    columns = ["mean", "sigma", "network_prediction"]
    assert (energy.loc[1].label != changed.loc[1].label).any()
    # Network, scaling and hyperparameters are the same to the last bit: one thread, the same numbers.
    assert (energy.loc[1][columns] == changed.loc[1][columns]).all(axis=None)
    # Fold 2 learns from these labels.
    assert (energy.loc[2][columns] != changed.loc[2][columns]).all(axis=None)


def test_graphs_are_built_once_for_all_targets(folder):
    output = (folder / "output.txt").read_text()
    assert output.count("Reading crystals") == 1
    assert output.count("Building graphs") == 1


def test_mean_and_spread_over_the_folds_are_those_of_the_predictions(folder):
    summary = json.loads((folder / "runs" / NAME / "summary.json").read_text())
    table = predictions(folder)
    for target in summary["targets"]:
        mine = table[table.target == target["target"]]
        error = (mine["mean"] - mine["label"]).abs()
        by_fold = error.groupby(mine["fold"]).mean().to_numpy()
        # Sums of some 16 numbers in another order.
        assert target["mean"]["mae"] == pytest.approx(by_fold.mean(), rel=1e-12)
        assert target["std"]["mae"] == pytest.approx(by_fold.std(ddof=1), rel=1e-9)
        assert target["all_rows"]["mae"] == pytest.approx(error.mean(), rel=1e-12)
        network = (mine["network_prediction"] - mine["label"]).abs()
        assert target["all_rows"]["network_mae"] == pytest.approx(network.mean(), rel=1e-12)
        assert [fold["n_test"] for fold in target["folds"]] == [16, 15]
    output = (folder / "output.txt").read_text()
    assert f"{summary['targets'][0]['mean']['mae']:.4f} ± " in output


def test_only_what_is_missing_is_done_again(small_ray, tmp_path, monkeypatch):
    monkeypatch.setattr("gpnet_ray.campaign.validation_pool.learn_and_predict", predict_the_mean)
    write_parquet(tmp_path / "oxides.parquet", rows(32))
    options, runs = ("--target", "energy", "--unit", "eV/atom", "--folds", "4"), tmp_path / "runs"
    runs.mkdir()
    (runs / "stop").touch()
    stopped = validate(tmp_path, *options)
    assert "no electricity" in str(stopped.exception)
    journal = runs / NAME / "journal.jsonl"
    safe = {event["fold"] for event in read_journal(journal) if event["event"] == "fold"}
    assert 1 <= len(safe) < 4
    assert not (runs / NAME / "summary.json").exists()

    (runs / "stop").unlink()
    assert validate(tmp_path, *options, "--resume").exit_code == 0
    table = predictions(tmp_path)
    assert sorted(table["material_id"]) == [row["material_id"] for row in rows(32)]
    # A fold that was just starting when the other failed may have run until Ray ended it: at least once.
    times = Counter(calls(runs))
    for fold, mine in table.groupby("fold"):
        n_times = times["energy", ",".join(sorted(mine.material_id))]
        assert n_times == 1 if fold in safe else n_times >= 1

    # Nothing is missing: nothing runs. A file that somebody removed: its fold runs.
    for missing, n_more in ((None, 0), ("energy-3.parquet", 1)):
        before = len(calls(runs))
        if missing:
            (runs / NAME / "folds" / missing).unlink()
        assert validate(tmp_path, *options, "--resume").exit_code == 0
        assert len(calls(runs)) - before == n_more
        assert predictions(tmp_path).equals(table)
    third = ",".join(sorted(table[table.fold == 3].material_id))
    assert calls(runs)[-1] == ("energy", third)


def test_no_held_out_crystal_is_learned_from_under_another_pressure(
    small_ray, tmp_path, monkeypatch
):
    monkeypatch.setattr("gpnet_ray.campaign.validation_pool.learn_and_predict", predict_the_mean)
    made = [
        row | {"material_id": f"{row['material_id']}@{pressure:g}", "pressure_GPa": pressure}
        for row in rows(12)
        for pressure in (0.0, 20.0, 40.0)
    ]
    write_parquet(tmp_path / "oxides.parquet", made)
    (tmp_path / "runs").mkdir()
    options = (
        "--target",
        "energy",
        "--unit",
        "eV/atom",
        "--folds",
        "4",
        "--global-feature",
        "pressure_GPa",
    )
    done = validate(tmp_path, *options)
    assert done.exit_code == 0, done.output
    table = predictions(tmp_path)
    assert len(table) == 36
    of_crystal = table.groupby(table.material_id.str.split("@").str[0])
    assert set(of_crystal.size()) == {3}
    assert set(of_crystal.fold.nunique()) == {1}
    assert set(table.fold) == {1, 2, 3, 4}


def test_a_damaged_fold_is_an_error_that_names_the_file(copy):
    path = copy / "runs" / NAME / "folds" / "energy-1.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    message = refused(validate(copy, *DATA, "--folds", "2", "--resume"))
    assert "energy-1.parquet is damaged" in message
    assert "remove it and go on with --resume" in message


def test_other_settings_or_data_are_not_gone_on_with(copy):
    other = ("--set", "gp.kernel=matern32", "--resume", "--folds", "2")
    assert "gp.kernel: laplacian then, matern32 now" in refused(validate(copy, *DATA, *other))
    made = rows(32)
    for row in made:
        row["changed"] = 0.0
    write_parquet(copy / "oxides.parquet", made)
    message = refused(validate(copy, *DATA, "--folds", "2", "--resume"))
    assert "data (ids, crystals, changed in eV)" in message


def test_an_occupied_folder_is_kept_and_a_run_does_not_take_it_for_its_own(copy):
    assert "exists already" in refused(validate(copy, *DATA, "--folds", "2"))
    runs = ("--runs-dir", str(copy / "runs"), "--name", NAME)
    result = CliRunner().invoke(app, ["run", *runs, "--overwrite"])
    assert isinstance(result.exception, RunFolderError)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--folds", "1"), "at least 2 folds"),
        (("--folds", "17"), "17 folds of 32 usable materials"),
        (("--target", "energie", "--unit", "eV/atom"), "did you mean 'energy'"),
        (("--target", "energy", "--unit", "eV/atom", "--test", "30"), "30 test rows"),
        (("--target", "energy", "--target", "changed"), "2 --target and 0 --unit"),
        (("--target", "energy", "--target", "energy"), "names one twice"),
        (
            (*DATA, "--global-feature", "changed"),
            "'changed', which is the target",
        ),
        (
            ("--set", "oracle.kind=ase", "--set", "oracle.ase={calculator: 'a:B'}"),
            "every label before",
        ),
    ],
)
def test_bad_input_is_refused_and_leaves_nothing_behind(tmp_path, options, said):
    write_parquet(tmp_path / "oxides.parquet", [{**r, "changed": 0.0} for r in rows(32)])
    named = (
        options if "--target" in options else (*options, "--target", "energy", "--unit", "eV/atom")
    )
    result = validate(tmp_path, *named)
    assert said in refused(result)
    assert isinstance(result.exception, InputError | DataError)
    assert not (tmp_path / "runs").exists()


def test_no_rows_are_left_to_learn_from(tmp_path):
    write_parquet(tmp_path / "oxides.parquet", rows(12))
    message = refused(validate(tmp_path, "--target", "energy", "--unit", "eV/atom", "--folds", "3"))
    assert "3 folds of 12 usable materials leave 8 to learn from" in message
    assert not (tmp_path / "runs").exists()


def test_targets_of_other_materials_are_refused(tmp_path):
    from gpnet_ray import hypothetical_dataset, load_config
    from gpnet_ray.campaign.validation import validate
    from gpnet_ray.progress import NullProgress

    unlabelled = hypothetical_dataset(20, seed=0, progress=NullProgress())
    with pytest.raises(InputError, match="has no targets"):
        validate(unlabelled)
    from dataclasses import replace

    labelled = replace(unlabelled, targets=np.arange(20.0))
    other = replace(labelled.select(labelled.ids[::-1]), target="other")
    with pytest.raises(InputError, match="other is of other materials"):
        validate([labelled, other])
    hotter = [s.copy() for s in labelled.structures]
    for structure in hotter:
        structure.properties["temperature_K"] = 900.0
    warm = replace(labelled, target="other", structures=tuple(hotter))
    config = load_config(overrides={"network.global_features": ["temperature_K"]})
    with pytest.raises(InputError, match=r"another temperature_K for other \(900\.0\).*\(None\)"):
        validate([labelled, warm], config)
