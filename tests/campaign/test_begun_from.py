"""Who begins from a trained network is told which of the rows that measure the error it knows already."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.command_line import TINY_NETWORK, rows, write_parquet
from support.fold_stand_in import predict_the_mean
from typer.testing import CliRunner

from gpnet_ray import hypothetical_dataset
from gpnet_ray.campaign.begun_from import held_out_warning, say_of_run, say_of_training
from gpnet_ray.cli import app
from gpnet_ray.config import NetworkConfig
from gpnet_ray.gnn.architecture import weight_shapes
from gpnet_ray.gnn.graphs import CrystalGraphs, build_graphs
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.gnn.trained_rows import TrainedRows
from gpnet_ray.progress import NullProgress

SMALL = NetworkConfig(n_blocks=1, n_gaussians=20, n1=16, n2=8, n3=4, set2set_passes=1)


class Said(NullProgress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(scope="module")
def graphs() -> CrystalGraphs:
    dataset = hypothetical_dataset(20, seed=0, progress=NullProgress())
    return build_graphs(dataset.ids, dataset.structures, cutoff_angstrom=4.0)[0]


def network(known: TrainedRows) -> NetworkState:
    weights = {name: np.zeros(shape, np.float32) for name, shape in weight_shapes(SMALL).items()}
    return NetworkState(SMALL, weights, 0.0, 1.0, "energy", "eV/atom", trained_rows=known)


def test_a_run_is_told_how_many_test_and_pool_rows_had_trained_its_first_network(graphs):
    ids = graphs.ids
    test, pool, known = ids[:6], ids[6:15], TrainedRows.of(graphs.select(ids[4:10]))
    said = Said()
    say_of_run(network(known), graphs, test, pool, said)
    (line,) = said.lines
    assert line.startswith("Warning: 2 of 6 test rows and 4 of 9 pool rows had trained the network")
    said = Said()
    say_of_run(network(replace(known, is_complete=False)), graphs, test, pool, said)
    assert "2 of 6 test rows" in said.lines[0]
    assert "is not known" in said.lines[1]
    said = Said()
    say_of_run(network(TrainedRows.of(graphs.select(ids[15:]))), graphs, test, pool, said)
    say_of_run(None, graphs, test, pool, said)
    say_of_training(None, said)
    assert said.lines == []
    say_of_training(network(TrainedRows()), said)
    assert "trained on is not known" in said.lines[0]


def test_a_training_that_is_judged_by_rows_its_first_network_knows_is_warned_of():
    assert held_out_warning({"a", "x"}, ("b", "c")) is None
    warning = held_out_warning({"a", "x"}, ("a", "b", "c"))
    assert warning is not None
    assert warning.startswith("1 of the 3 rows")


@pytest.mark.parametrize(
    ("known", "counted", "said"),
    [
        (rows(32)[:20], {"n_known": 20, "all_rows_known": True}, "; 20 of 32 held-out rows had"),
        ([], {"n_known": 0, "all_rows_known": True}, "held out and never seen"),
        (None, {"n_known": 0, "all_rows_known": False}, "began from was trained on is not known"),
    ],
)
def test_a_validation_calls_no_row_unseen_that_its_first_network_was_trained_on(
    small_ray: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    known: list[dict[str, Any]] | None,
    counted: dict[str, Any],
    said: str,
) -> None:
    monkeypatch.setattr("gpnet_ray.campaign.validation_pool.learn_and_predict", predict_the_mean)
    write_parquet(tmp_path / "oxides.parquet", rows(32))
    (tmp_path / "runs").mkdir()
    learned = TrainedRows()
    if known is not None:
        learned = TrainedRows(is_complete=True)
        ids, structures = ([row[key] for row in known] for key in ("material_id", "structure"))
        if known:
            learned = TrainedRows.of(build_graphs(ids, structures, cutoff_angstrom=4.0)[0])
    network(learned).save(tmp_path / "network")
    data = (
        "--dataset",
        str(tmp_path / "oxides.parquet"),
        "--target",
        "energy",
        "--unit",
        "eV/atom",
        "--folds",
        "4",
    )
    where = ("--runs-dir", str(tmp_path / "runs"), "--name", "v")
    given = (*data, *where, *TINY_NETWORK, "--pretrained", str(tmp_path / "network"))
    done = CliRunner().invoke(app, ["validate", *given])
    assert done.exit_code == 0, done.output
    assert said in " ".join(done.output.split())
    assert ("Warning: 20 of the 32 held-out rows" in done.output) == bool(known)
    assert ("never seen" in done.output) == (known == [])
    summary = json.loads((tmp_path / "runs" / "v" / "summary.json").read_text())
    assert summary["first_network"] == {"n_held_out": 32, **counted}
    # The error is that of the network that predicts, and not of an epoch that was thrown away.
    assert "In 4 of 4 folds no epoch was better" in done.output
    assert [fold["validation_mae"] for fold in summary["targets"][0]["folds"]] == [0.25] * 4
