"""The section ``oracle`` of the configuration, and the oracle that comes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from gpnet_ray.campaign.preparation import load_dataset
from gpnet_ray.config import Config
from gpnet_ray.config_layers import load_config
from gpnet_ray.errors import InputError
from gpnet_ray.progress import NullProgress

EMT = {"kind": "ase", "ase": {"calculator": "ase.calculators.emt:EMT", "references": {"Cu": 0.0}}}


def config_of(oracle: dict, **more: object) -> Config:
    return load_config(overrides={"oracle": oracle, **more})


@pytest.mark.parametrize(
    ("oracle", "said"),
    [
        ({"kind": "asee"}, "unknown kind 'asee': did you mean 'ase'"),
        ({"knd": "ase"}, "did you mean 'kind'"),
        ({"ase": {"calculater": "a:B"}}, "did you mean 'calculator'"),
        ({"kind": "ase"}, "needs ase.calculator"),
        ({"ase": {"calculator": "ase.calculators.emt.EMT"}}, "no import path"),
        ({"ase": {"references": {"Cu": float("nan")}}}, r"references\.Cu"),
        ({"ase": {"relax": "cells"}}, "did you mean 'cell'"),
        ({"kind": "command"}, "needs command.argv"),
        ({"command": {"argv": ["label.py"]}}, "{structure}"),
        ({"command": {"argv": "label.py {structure}"}}, "argv"),
        ({"command": {"answer_file": "../answer.json"}}, "answer_file"),
        ({"table": {"failure_rate": 1.5}}, "failure_rate"),
        ({"table": {"std_seconds": 1.0}}, "mean_seconds is 0"),
    ],
)
def test_a_wrong_setting_is_named(oracle, said):
    with pytest.raises(InputError, match=said):
        config_of(oracle)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"calculator": "no_such_package.x:Y"}, "no_such_package.x cannot be imported"),
        ({"calculator": "ase.calculators.emt:ETM"}, "did you mean 'EMT'"),
        ({"calculator": "ase.calculators.emt:parameters"}, "cannot be made"),
        ({"calculator": "collections:Counter"}, "no ASE calculator"),
        ({"keywords": {"asap_cutof": True}}, "did you mean 'asap_cutoff'"),
        (
            {"calculator": "ase.calculators.espresso:Espresso", "keywords": {"profile": None}},
            "cannot be made",
        ),
        (
            {
                "calculator": "ase.calculators.espresso:Espresso",
                "keywords": {
                    "profile": {
                        "object": "ase.calculators.espresso:EspressoProfile",
                        "keywords": {"command": "no-such-pw.x", "pseudo_dir": "."},
                    }
                },
            },
            "no program 'no-such-pw.x'",
        ),
        ({"optimizer": "BFSG"}, "did you mean 'BFGS'"),
        ({"references": {}}, "references is empty"),
        ({"references": {"Qq": 1.0}}, r"\['Qq'\] are no element symbols"),
    ],
)
def test_a_calculator_that_cannot_be_set_up_is_an_error_at_the_start(settings, said):
    pytest.importorskip("ase")
    with pytest.raises(InputError, match=said):
        load_dataset(config_of({"kind": "ase", "ase": EMT["ase"] | settings}), NullProgress())


def test_a_program_that_is_not_there_is_an_error_at_the_start():
    oracle = {"kind": "command", "command": {"argv": ["no-such-program", "{structure}"]}}
    with pytest.raises(InputError, match="no program 'no-such-program'"):
        load_dataset(config_of(oracle), NullProgress())


def test_elements_without_a_reference_are_named_before_anything_is_computed():
    pytest.importorskip("ase")
    with pytest.raises(InputError, match=r"no energy of .*O \(5 crystals\)"):
        load_dataset(config_of(EMT, **{"data.hypothetical_count": 5}), NullProgress())


@pytest.fixture
def crystals_without_targets(tmp_path: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    copper = Structure(
        Lattice.cubic(3.6), ["Cu"] * 4, [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
    )
    file = tmp_path / "crystals.parquet"
    rows = {"material_id": ["cu"], "structure": [json.dumps(copper.as_dict())]}
    pq.write_table(pa.table(rows), file)
    return file


def test_an_oracle_labels_crystals_that_have_no_targets(crystals_without_targets):
    pytest.importorskip("ase")
    settings = config_of(
        EMT, **{"data.dataset": crystals_without_targets, "data.target": "emt_energy"}
    )
    dataset, oracle = load_dataset(settings, NullProgress())
    assert dataset.targets is None
    assert (dataset.target, dataset.unit) == ("emt_energy", "eV/atom")
    assert "EMT" in dataset.label_note
    assert oracle is not None
    assert oracle.name == "ase"
    noted, _ = load_dataset(
        settings.model_copy(update={"oracle": settings.oracle.model_copy(update={"note": "mine"})}),
        NullProgress(),
    )
    assert noted.label_note == "mine"


def test_a_table_needs_a_dataset_and_hypothetical_crystals_are_called_so():
    with pytest.raises(InputError, match="looks labels up in a dataset, and none is given"):
        load_dataset(config_of({"kind": "table"}), NullProgress())
    few = {"data.hypothetical_count": 3}
    ionic, _ = load_dataset(load_config(overrides=few), NullProgress())
    assert (ionic.target, ionic.label_note) == (
        "ionic_energy_per_atom",
        "energies of a simple ionic model of hypothetical crystals, not DFT",
    )
    oracle = {"kind": "command", "command": {"argv": ["true", "{structure}"]}}
    mine, _ = load_dataset(config_of(oracle, **few), NullProgress())
    assert mine.target == "formation_energy_per_atom"
    assert "hypothetical" in mine.label_note


def test_the_configuration_of_the_worked_example_is_valid():
    scripts = Path(__file__).resolve().parents[2] / "scripts" / "oracles"
    config = load_config(file=scripts / "dft_campaign.yaml")
    assert config.oracle.kind == "command"
    script = config.oracle.command.argv[1].rpartition("/")[2]
    assert (scripts / script).is_file()


def test_what_changes_no_label_may_differ_in_a_resumed_run():
    base = load_config().science()
    assert (
        config_of({"command": {"time_limit_seconds": 5}, "keep_files": "always"}).science() == base
    )
    assert config_of({"table": {"failure_rate": 0.5}}).science() != base
