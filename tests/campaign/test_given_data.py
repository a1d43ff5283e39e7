"""What is handed over in Python is what the record of the run says."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from support.command_line import rows, write_parquet
from support.logged_oracle import LoggedOracle
from support.tiny_campaign import tiny_config

from gpnet_ray import (
    Campaign,
    IonicOracle,
    hypothetical_dataset,
    load_config,
    load_dataset,
    make_split,
    read_dataset,
)
from gpnet_ray.campaign import identity, records, repeats
from gpnet_ray.campaign.history import RunHistory
from gpnet_ray.campaign.journal import Journal, read_journal
from gpnet_ray.campaign.repeats import RepeatsFolder
from gpnet_ray.campaign.run_folder import RunFolder
from gpnet_ray.config import Config
from gpnet_ray.data.dataset import MaterialsDataset
from gpnet_ray.errors import InputError, RunFolderError
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


@pytest.fixture
def gaps(tmp_path: Path) -> MaterialsDataset:
    path = write_parquet(tmp_path / "oxides.parquet", rows(40))
    return read_dataset(path, target="energy", unit="eV")


def config_of(tmp_path: Path, **overrides: Any) -> Config:
    return load_config(overrides={"runs_dir": tmp_path, "selection.cycles": 2, **overrides})


def begin(campaign: Campaign, *, resume: bool = False) -> RunHistory:
    """As much of a run as happens before anything is trained."""
    context = campaign._context
    folder, problem = context.folder, SimpleNamespace(dataset=campaign._dataset)
    if not resume:
        folder.create(context.config, overwrite=False)
    with Journal(folder.journal) as journal, pytest.MonkeyPatch.context() as patch:
        patch.setattr(identity, "data_fingerprint", lambda problem: "data")
        content = identity.run_identity(problem, context, campaign._split, None)  # type: ignore[arg-type]
        identity.open_run(context, journal, content, started="", retry_failed=False)
    return context.history


def test_the_record_of_a_run_has_target_unit_and_split_of_what_was_given(
    gaps: MaterialsDataset, tmp_path: Path
) -> None:
    split = make_split(gaps.ids, n_train=20, n_test=8, seed=0)
    run = begin(Campaign(gaps, config_of(tmp_path), split=split)).run
    true = {"target": "energy", "unit": "eV"}, {"n_train": 20, "n_test": 8}
    settings = yaml.safe_load((tmp_path / "oxides" / "config.yaml").read_text())
    assert {key: settings["data"][key] for key in true[0]} == true[0]
    assert settings["split"] == true[1]
    assert run is not None
    journaled = run["identity"]
    assert {key: journaled[f"data.{key}"] for key in true[0]} == true[0]
    assert {key: journaled[f"split.{key}"] for key in true[1]} == true[1]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"data.unit": "meV"}, r"data\.unit is meV in the settings and eV in the given dataset"),
        ({"data.target": "band_gap"}, r"data\.target is band_gap .* energy in the given dataset"),
        ({"split.n_train": 21}, r"split\.n_train is 21 .* 20 in the given split"),
    ],
)
def test_a_setting_that_contradicts_what_is_given_is_refused(
    gaps: MaterialsDataset, tmp_path: Path, setting: dict[str, Any], said: str
) -> None:
    split = make_split(gaps.ids, n_train=20, n_test=8, seed=0)
    with pytest.raises(InputError, match=said):
        Campaign(gaps, config_of(tmp_path, **setting), split=split)


def as_earlier_versions(journal: Path) -> None:
    """Journal what the settings said, whatever the dataset was of."""
    (event,) = read_journal(journal)
    then = {"data.target": "formation_energy_per_atom", "data.unit": "eV/atom"}
    old = {key: value for key, value in event.items() if key != identity.SETTINGS_OF_DATA}
    journal.unlink()
    with Journal(journal) as written:
        written.append({**old, "identity": {**old["identity"], **then}}, {"event": "finished"})


def test_a_run_of_an_earlier_version_resumes_and_one_of_another_unit_does_not(
    gaps: MaterialsDataset, tmp_path: Path
) -> None:
    begin(Campaign(gaps, config_of(tmp_path)))
    as_earlier_versions(tmp_path / "oxides" / "journal.jsonl")
    begin(Campaign(gaps, config_of(tmp_path)), resume=True)

    shutil.rmtree(tmp_path / "oxides")
    in_eV_per_atom = replace(gaps, unit="eV/atom")
    begin(Campaign(in_eV_per_atom, config_of(tmp_path)))
    with pytest.raises(RunFolderError, match=r"data\.unit: eV/atom then, eV now"):
        begin(Campaign(gaps, config_of(tmp_path)), resume=True)


def test_what_a_command_names_is_journaled_as_it_was_before(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "oxides.parquet", rows(12))
    own = {"data.dataset": path, "data.target": "energy", "data.unit": "eV"}
    program = {"kind": "command", "command": {"argv": ["true", "{structure}"]}}
    few = {"data.hypothetical_count": 6}
    for overrides in (few, own, {**own, "oracle": program}, {**few, "oracle": program}):
        config = config_of(tmp_path, **overrides)
        dataset, oracle = load_dataset(config)
        settings = Campaign(dataset, config, oracle=oracle)._context.config
        assert settings.science() == config.science()


@pytest.mark.parametrize("earlier", [False, True])
def test_a_seed_of_repeats_that_is_finished_is_known_as_such(
    gaps: MaterialsDataset, tmp_path: Path, *, earlier: bool
) -> None:
    config = config_of(tmp_path, name="seed-0")
    folder, run = RepeatsFolder(tmp_path), RunFolder(tmp_path / "seed-0")
    begin(Campaign(gaps, config))
    run.write_json(run.summary, {})
    if earlier:
        as_earlier_versions(run.journal)
    else:
        with Journal(run.journal) as journal:
            journal.append({"event": "finished"})
    assert repeats._is_finished(folder, config, gaps)
