"""A trained network outlives what comes after it, and what can be foreseen is said before the training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.command_line import TINY_NETWORK, Run, rows, write_parquet

from gpnet_ray.campaign import foresight, train
from gpnet_ray.campaign.stages import Latents
from gpnet_ray.campaign.surrogate import Surrogate, load_network, load_surrogate
from gpnet_ray.errors import NumericalError
from gpnet_ray.gnn.architecture import weight_shapes
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.gnn.records import EpochRecord, KeptEpoch
from gpnet_ray.gp.fit_records import FitResult
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.recalibration import Recalibration

DATA = ("--dataset", "oxides.parquet", "--target", "energy", "--unit", "eV/atom", *TINY_NETWORK)


class Stage:
    """Trains in no time, without an actor."""

    kept = KeptEpoch(2, 0.25)
    trainings = 0

    def __init__(self, config: Any, *_: object) -> None:
        self._config = config

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def train(self, *_: object, **__: object) -> tuple[NetworkState, list[EpochRecord]]:
        Stage.trainings += 1
        network = self._config.network
        weights = {n: np.zeros(shape, np.float32) for n, shape in weight_shapes(network).items()}
        state = NetworkState(network, weights, 0.0, 1.0, "energy", "eV/atom", kept=self.kept)
        return state, [EpochRecord(1, 0.1, 0.5, 0.75, 1.0), EpochRecord(2, 0.1, 0.5, 0.5, 1.0)]

    def featurize(self, _: object, graphs: Any) -> Latents:
        latents = np.random.default_rng(0).normal(size=(len(graphs), 8)).astype(np.float32)
        return Latents(graphs.ids, latents, np.zeros(len(graphs)))


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Stage]:
    @contextmanager
    def reserved(*_: object, **__: object) -> Iterator[None]:
        yield None

    monkeypatch.setattr(train, "NetworkStage", Stage)
    monkeypatch.setattr(train, "connected", nullcontext)
    monkeypatch.setattr(train, "reserved", reserved)
    monkeypatch.setattr(foresight.ray, "nodes", lambda: [node(memory=1e6)])
    monkeypatch.setattr(Stage, "trainings", 0)
    write_parquet(tmp_path / "oxides.parquet", rows())
    return Stage


def node(**resources: float) -> dict[str, Any]:
    return {"Alive": True, "Resources": {"CPU": 2.0, **resources}}


def fitted(*_: object) -> FitResult:
    parameters = Hyperparameters("laplacian", 1.0, 1.0, 0.1, 0.0)
    return FitResult(parameters, Recalibration(), (), 0.0, ())


def test_the_network_is_kept_when_the_fit_after_it_fails(
    stage: type[Stage], run_here: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise NumericalError("the covariance cannot be factorised")

    monkeypatch.setattr(train, "_fit", fails)
    done = run_here("train", *DATA, "--out", "new")
    assert done.returncode == 1
    assert "the covariance cannot be factorised" in done.stderr
    said = " ".join(done.stdout.split())
    assert "The network was trained and lies in new/network; what comes after it has failed" in said
    assert "--pretrained new/network" in said
    assert load_network(tmp_path / "new").kept == stage.kept
    assert load_surrogate(tmp_path / "new") is None
    assert pq.read_table(tmp_path / "new" / "training_history.parquet").num_rows == 2


def test_half_a_surrogate_is_no_surrogate(
    stage: type[Stage], run_here: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disk_is_full(_: Surrogate, folder: Path) -> None:
        (folder / "gp.json").write_text("{")
        raise OSError(28, "No space left on device", "gp.json")

    monkeypatch.setattr(train, "_fit", fitted)
    monkeypatch.setattr(Surrogate, "save", disk_is_full)
    assert run_here("train", *DATA, "--out", "new").returncode != 0
    assert load_surrogate(tmp_path / "new") is None


def test_a_network_that_cannot_be_written_leaves_no_folder(
    stage: type[Stage], run_here: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disk_is_full(_: NetworkState, folder: Path) -> None:
        folder.mkdir()
        (folder / ".weights.npz.tmp").touch()
        raise OSError(28, "No space left on device", "weights")

    monkeypatch.setattr(NetworkState, "save", disk_is_full)
    assert run_here("train", *DATA, "--out", "new").returncode != 0
    assert not (tmp_path / "new").exists()


def test_what_somebody_else_put_there_stays_and_does_not_hide_why_a_training_failed(
    stage: type[Stage], run_here: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverges(*_: object, **__: object) -> None:
        (tmp_path / "new" / "notes.txt").write_text("mine")
        raise NumericalError("the loss became infinite")

    monkeypatch.setattr(Stage, "train", diverges)
    done = run_here("train", *DATA, "--out", "new")
    assert (done.returncode, done.stderr.strip()) == (1, "Error: the loss became infinite")
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["notes.txt"]


def test_latents_too_narrow_for_the_projection_are_refused_before_the_training(
    stage: type[Stage], run_here: Run, tmp_path: Path
) -> None:
    more = ("--set", "network.n2=2", "--set", "gp.latent_projection=pca-3")
    done = run_here("train", *DATA, *more, "--out", "new")
    assert done.returncode == 2
    assert "pca-3 needs 3 train rows and latent dimensions or more; there are 40 rows of 2" in (
        done.stderr
    )
    assert stage.trainings == 0
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("nodes", "warned"),
    [
        # 12 matrices of 40 × 40 numbers of 8 bytes.
        ([node(memory=153_599)], True),
        ([node(memory=153_600), node()], False),
        ([node(memory=1.0, GPU=1.0)], False),
    ],
)
def test_too_little_memory_for_the_fit_is_said_before_the_training(
    stage: type[Stage],
    run_here: Run,
    monkeypatch: pytest.MonkeyPatch,
    nodes: list[dict[str, Any]],
    warned: bool,
) -> None:
    monkeypatch.setattr(train, "_fit", fitted)
    monkeypatch.setattr(foresight.ray, "nodes", lambda: nodes)
    done = run_here("train", *DATA, "--out", "new")
    assert done.returncode == 0, done.stderr
    assert ("Warning: the fit of the Gaussian process to 40 rows takes" in done.stdout) == warned


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (KeptEpoch(2, 0.5), "0.5000 eV/atom (weights of epoch 2)"),
        (KeptEpoch(0, 0.25), "0.2500 eV/atom (no epoch was better than the network that training"),
    ],
)
def test_the_error_that_is_told_is_that_of_the_network_that_is_kept(
    stage: type[Stage],
    run_here: Run,
    monkeypatch: pytest.MonkeyPatch,
    kept: KeptEpoch,
    said: str,
) -> None:
    monkeypatch.setattr(train, "_fit", fitted)
    monkeypatch.setattr(stage, "kept", kept)
    done = run_here("train", *DATA, "--out", "new")
    assert done.returncode == 0, done.stderr
    assert f"Validation MAE of the network: {said}" in " ".join(done.stdout.split())
