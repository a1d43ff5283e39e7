"""``train``, ``featurize`` and ``predict``: for people who want the surrogate and no campaign."""

from __future__ import annotations

import csv
import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.command_line import TINY_NETWORK, Run, gpnet_ray, rock_salt, rows, write_parquet

from gpnet_ray.errors import NumericalError


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with a dataset of 40 crystals, one of them bad, and the surrogate trained on it."""
    folder = tmp_path_factory.mktemp("trained")
    made = rows()
    made[11]["structure"] = rock_salt("Mg", 40.0)  # no bond inside the cut-off
    write_parquet(folder / "oxides.parquet", made)
    data = ("--dataset", "oxides.parquet", "--target", "energy", "--unit", "eV/atom")
    done = gpnet_ray("train", *data, "--out", "surrogate", *TINY_NETWORK, folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 rejected: 1 no bond inside the cut-off" in done.stdout
    return folder


@pytest.mark.slow
def test_a_surrogate_predicts_from_files_with_sigma(trained, run: Run, tmp_path):
    folder = trained / "surrogate"
    assert "m-011" in (folder / "rejected.csv").read_text()
    assert pq.read_table(folder / "training_history.parquet").num_rows == 2
    rock_salt("Mg", 4.2).to(filename=str(tmp_path / "mgo.cif"))
    (tmp_path / "broken.cif").write_text("data_nothing\n")
    rock_salt("Ca", 4.6).to(filename=str(tmp_path / "POSCAR_cao"), fmt="poscar")
    files = ("mgo.cif", "broken.cif", "POSCAR_cao")
    done = run("predict", folder, *files, "--out", "table.csv")
    assert done.returncode == 0, done.stderr
    assert "1 rejected" in done.stdout
    with (tmp_path / "table.csv").open() as file:
        table = {row["material_id"]: row for row in csv.DictReader(file)}
    assert list(table) == ["mgo.cif", "POSCAR_cao"]
    assert all(float(row["sigma"]) > 0 for row in table.values())
    assert "broken.cif,does not parse" in (tmp_path / "table.rejected.csv").read_text()
    # Nothing that is there is written over, were it the dataset itself.
    before = (tmp_path / "table.csv").read_bytes()
    refused = run("predict", folder, "table.csv", "--out", "table.csv")
    assert (refused.returncode, "exists already" in refused.stderr) == (2, True)
    assert (tmp_path / "table.csv").read_bytes() == before
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_predictions_of_a_dataset_are_those_of_the_process_on_its_own_latents(
    trained, run_here: Run, small_ray, tmp_path
):
    from gpnet_ray.campaign.surrogate import load_surrogate
    from gpnet_ray.data.pool_folder import PoolFolder
    from gpnet_ray.latent_columns import latent_matrix

    folder, dataset = trained / "surrogate", trained / "oxides.parquet"
    done = run_here("featurize", folder, dataset, "--out", "latents", "--cache", "cache")
    assert done.returncode == 0, done.stderr
    assert "39 latents of readout_0" in done.stdout
    latents = PoolFolder.open(tmp_path / "latents").table()
    # A recalibration as larger surrogates have it; this one has too few rows for its own.
    with_tails = shutil.copytree(folder, tmp_path / "with_tails")
    content = json.loads((with_tails / "gp.json").read_text())
    content["recalibration"] |= {"how": "student-t", "degrees_of_freedom": 3.0}
    (with_tails / "gp.json").write_text(json.dumps(content))
    more = ("--interval", "0.8", "--out", "table.parquet")
    predicted = run_here("predict", with_tails, dataset, *more)
    assert predicted.returncode == 0, predicted.stderr
    table = pq.read_table(tmp_path / "table.parquet")
    assert table.column("material_id").equals(latents.column("material_id"))
    assert table.schema.metadata[b"unit"] == b"eV/atom"

    surrogate = load_surrogate(folder)
    assert surrogate is not None
    X = surrogate.scaler.transform(latent_matrix(latents.column("latent")))
    mean, sigma = surrogate.posterior().predict(X)
    # Latents of the same crystals in other batches: float32 sums in another order.
    assert table.column("mean").to_numpy() == pytest.approx(mean, abs=1e-4)
    assert table.column("sigma").to_numpy() == pytest.approx(sigma, abs=1e-4)

    # Student's t with 3 degrees of freedom: 90 % of it lie below 1.637744, 97.725 % below 3.306837,
    # the half-width of which is 2σ.
    half_width = 2 * 1.637744 / 3.306837 * table.column("sigma").to_numpy()
    for end, sign in (("lower", -1), ("upper", 1)):
        distance = table.column(end).to_numpy() - table.column("mean").to_numpy()
        assert distance == pytest.approx(sign * half_width, rel=1e-4)

    # The same again: nothing is computed, and what comes out is the same.
    again = run_here("featurize", folder, dataset, "--out", "again", "--cache", "cache")
    assert again.returncode == 0, again.stderr
    assert "not computed again" in again.stdout
    assert "Featurising" not in again.stdout
    assert PoolFolder.open(tmp_path / "again").table().equals(latents)
    description = json.loads((tmp_path / "again" / "featurising.json").read_text())
    assert (description["n_featurised"], description["n_rejected"]) == (39, 1)
    assert "m-011" in (tmp_path / "again" / "rejected.csv").read_text()


@pytest.mark.slow
def test_a_bare_network_predicts_without_sigma_and_says_so(
    trained, run_here: Run, small_ray, tmp_path
):
    rock_salt("Mg", 4.2).to(filename=str(tmp_path / "mgo.cif"))
    done = run_here("predict", trained / "surrogate" / "network", "mgo.cif")
    assert done.returncode == 0, done.stderr
    assert "without σ" in done.stdout
    assert "mgo.cif" in done.stdout
    assert "sigma" not in done.stdout


@pytest.mark.slow
def test_a_run_starts_from_a_pretrained_network_and_its_folder_predicts(
    trained, run_here: Run, small_ray, tmp_path
):
    from gpnet_ray.campaign.surrogate import load_network, load_surrogate

    first = load_network(trained / "surrogate")
    more = ("--pretrained", trained / "surrogate", "--epochs", "1", "--strategy", "max-sigma")
    # A learning rate of nearly nothing leaves the network where it was.
    quiet = ("--set", "training.peak_learning_rate=1e-7", "--set", "retraining.when=never")
    data = (
        "--dataset",
        trained / "oxides.parquet",
        "--target",
        "energy",
        "--unit",
        "eV/atom",
        "--name",
        "further",
    )
    size = ("--train", "20", "--test", "8", "--cycles", "3")
    done = run_here("run", *data, *size, *more, *quiet)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "further"
    further = load_network(folder)
    assert further.config == first.config
    for name, value in first.weights.items():
        assert np.abs(further.weights[name] - value).max() < 1e-5
    surrogate = load_surrogate(str(folder))
    assert surrogate is not None
    picks = pq.read_table(folder / "picks.parquet").column("material_id").to_pylist()
    split = json.loads((folder / "split.json").read_text())
    train = split["train"]
    # The first network has learned from all rows but those that it held out.
    n_test, n_pool = (len(set(split[p]).difference(first.held_out_ids)) for p in ("test", "pool"))
    assert n_test > 0
    said = f"Warning: {n_test} of 8 test rows and {n_pool} of {len(split['pool'])} pool rows had"
    assert said in " ".join(done.stdout.split())
    assert set(surrogate.ids) == {*train, *picks}

    rock_salt("Mg", 4.2).to(filename=str(tmp_path / "mgo.cif"))
    predicted = run_here("predict", folder, "mgo.cif")
    assert predicted.returncode == 0, predicted.stderr
    assert "σ" in predicted.stdout
    assert "without" not in predicted.stdout
    assert "began with" not in predicted.stdout
    # As while the run goes on: the last label is in the journal alone.
    running = tmp_path / "running"
    shutil.copytree(folder, running)
    lines = (running / "journal.jsonl").read_text().splitlines(keepends=True)
    (running / "journal.jsonl").write_text("".join(lines[:-1]))
    labelled = pq.read_table(running / "labelled.parquet")
    pq.write_table(labelled.slice(0, labelled.num_rows - 1), running / "labelled.parquet")
    refused = run_here("predict", running, "mgo.cif")
    assert refused.returncode == 2
    assert "1 of the labels in" in refused.stderr
    # As where the network was trained again at the end.
    shutil.copytree(trained / "surrogate", folder / "networks" / "max-sigma-1")
    predicted = run_here("predict", folder, "mgo.cif")
    assert predicted.returncode == 0, predicted.stderr
    said = " ".join(predicted.stdout.split())
    assert "stands for the network that the run began with" in said
    assert "networks/max-sigma-1" in said.replace(" ", "")


@pytest.mark.slow
def test_a_surrogate_with_a_global_feature_reads_it_from_datasets_and_refuses_lone_crystals(
    run_here: Run, small_ray, tmp_path
):
    made = rows()
    # The same crystals at other temperatures: what they differ by, the crystals do not show.
    for number, row in enumerate(made):
        row["temperature_K"] = 300.0 + 10.0 * (7 * number % 40)
        row["energy"] += 0.002 * row["temperature_K"]
    write_parquet(tmp_path / "oxides.parquet", made)
    data = ("--dataset", "oxides.parquet", "--target", "energy", "--unit", "eV/atom")
    more = ("--global-feature", "temperature_K", "--out", "surrogate")
    done = run_here("train", *data, *more, *TINY_NETWORK)
    assert done.returncode == 0, done.stderr

    asked = [*made[:2], made[0] | {"material_id": "hotter", "temperature_K": 900.0}]
    unknown = made[3] | {"temperature_K": None}
    write_parquet(tmp_path / "asked.parquet", [*asked, unknown])
    done = run_here("predict", "surrogate", "asked.parquet", "--out", "table.csv")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "table.csv").open() as file:
        table = {row["material_id"]: float(row["mean"]) for row in csv.DictReader(file)}
    assert list(table) == ["m-000", "m-001", "hotter"]
    assert table["hotter"] != pytest.approx(table["m-000"], abs=1e-3)
    rejected = (tmp_path / "table.rejected.csv").read_text()
    assert "m-003,no global feature" in rejected
    assert "temperature_K: None" in rejected

    rock_salt("Mg", 4.2).to(filename=str(tmp_path / "mgo.cif"))
    for pool in ("mgo.cif", "hypothetical-oxides:5"):
        done = run_here("predict", "surrogate", pool)
        assert done.returncode == 2
        assert "temperature_K" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "--out", "new"), "--dataset"),
        (("train", "--dataset", "x.parquet", "--out", "."), "exists already"),
        (("train", "--dataset", "x.parquet", "--out", "something/new"), "something is a file"),
        (("predict", "nowhere", "a.cif"), "there is no network at nowhere"),
        (("predict", "nowhere", "a.cif", "--out", "a.txt"), ".csv or .parquet"),
        (("predict", "nowhere", "a.cif", "--interval", "95"), "between 0 and 1"),
        (("featurize", "nowhere.hdf5", "hypothetical-oxides:5", "--out", "x"), "nowhere.hdf5"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(run_here: Run, tmp_path, arguments, said):
    (tmp_path / "something").write_text("")
    done = run_here(*arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_where_no_crystal_is_left_the_exit_code_is_two(trained, run_here: Run, small_ray, tmp_path):
    rock_salt("Mg", 40.0).to(filename=str(tmp_path / "far.cif"))
    done = run_here("predict", trained / "surrogate", "far.cif")
    assert done.returncode == 2
    assert "no bond inside the cut-off" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_training_that_fails_leaves_no_folder(
    run_here: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpnet_ray.campaign import train

    def fails(*_: object, **__: object) -> None:
        assert (tmp_path / "new").is_dir(), "its place is made before the hours of training"
        raise NumericalError("the covariance cannot be factorised")

    monkeypatch.setattr(train, "train_surrogate", fails)
    write_parquet(tmp_path / "oxides.parquet", rows())
    data = ("--dataset", "oxides.parquet", "--target", "energy", "--unit", "eV/atom")
    assert run_here("train", *data, "--out", "new").returncode == 1
    assert not (tmp_path / "new").exists()
    # One that was there stays, as empty as it was; also by another name.
    (tmp_path / "new").mkdir()
    assert run_here("train", *data, "--out", "new/.").returncode == 1
    assert not list((tmp_path / "new").iterdir())


def test_a_folder_that_nobody_may_write_is_an_error_and_no_traceback(
    run_here: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpnet_ray.campaign import preparation

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "oxides.parquet")

    monkeypatch.setattr(preparation, "load_dataset", refused)
    done = run_here(
        "train",
        "--dataset",
        "oxides.parquet",
        "--target",
        "energy",
        "--unit",
        "eV/atom",
        "--out",
        "new",
    )
    assert done.returncode == 2
    assert (
        done.stderr
        == "Error: oxides.parquet: Permission denied; see who may read and write there\n"
    )
