"""What is handed over in Python is what the record of the run says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.command_line import rows, write_parquet
from support.logged_oracle import LoggedOracle
from support.tiny_campaign import tiny_config

from gpnet_ray import Campaign, IonicOracle, hypothetical_dataset, load_dataset, read_dataset
from gpnet_ray.campaign import records
from gpnet_ray.data.dataset import MaterialsDataset
from gpnet_ray.progress import NullProgress


@pytest.fixture
def unlabelled(tmp_path: Path) -> MaterialsDataset:
    path = write_parquet(tmp_path / "oxides.parquet", rows(12))
    return read_dataset(path, target="energy", unit="eV/atom", with_targets=False)


def note_of(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> str:
    """What run.json, and with it the report, would say of the labels."""
    monkeypatch.setattr(records, "versions", dict)
    monkeypatch.setattr(records, "machine", dict)
    written: list[Any] = []
    folder = SimpleNamespace(
        run="run", write_rejected=list, write_json=lambda path, content: written.append(content)
    )
    run = {"started": "", "command": ""}
    context: Any = SimpleNamespace(folder=folder, history=SimpleNamespace(run=run))
    problem: Any = SimpleNamespace(dataset=campaign._dataset, rejected=())
    records.write_about(context, problem, SimpleNamespace(train=(), pool=(), test=()))  # type: ignore[arg-type]
    return str(written[0]["label_note"])


@dataclass(frozen=True)
class Described(LoggedOracle):
    label_note: str = "PBE, 520 eV"


def test_the_labels_of_an_oracle_in_python_are_called_by_the_note_or_the_oracle(
    unlabelled: MaterialsDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, described = LoggedOracle(tmp_path / "log"), Described(tmp_path / "log")
    noted = tiny_config(tmp_path, **{"oracle.note": "PBE by hand"})
    oxides = hypothetical_dataset(6, seed=0, progress=NullProgress())
    mine = replace(unlabelled, label_note="my words")
    ionic, of_settings = load_dataset(tiny_config(tmp_path, **{"data.hypothetical_count": 6}))
    cases: list[tuple[MaterialsDataset, Any, Any, str]] = [
        (unlabelled, plain, tiny_config(tmp_path), "what the oracle logged answers"),
        (unlabelled, described, tiny_config(tmp_path), "PBE, 520 eV"),
        (unlabelled, described, noted, "PBE by hand"),
        (mine, plain, tiny_config(tmp_path), "my words"),
        (oxides, described, tiny_config(tmp_path), "PBE, 520 eV; the crystals are hypothetical"),
        (oxides, IonicOracle(), tiny_config(tmp_path), oxides.label_note),
        (ionic, of_settings, tiny_config(tmp_path), ionic.label_note),
    ]
    for dataset, oracle, config, said in cases:
        campaign = Campaign(dataset, config, oracle=oracle)
        assert note_of(campaign, monkeypatch) == said
