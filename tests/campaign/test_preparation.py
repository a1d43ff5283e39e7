"""More asked than there is: refused with the numbers, before anything is written."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from support.command_line import rows, write_parquet
from support.logged_oracle import LoggedOracle
from support.tiny_campaign import tiny_config

from gpnet_ray import Campaign, hypothetical_dataset
from gpnet_ray.campaign import records
from gpnet_ray.campaign.preparation import (
    check_features_vary,
    check_oracle,
    check_pool_is_large_enough,
    load_dataset,
    screen,
)
from gpnet_ray.campaign.stages import Latents
from gpnet_ray.config import Config
from gpnet_ray.config_layers import load_config
from gpnet_ray.data.dataset import MaterialsDataset
from gpnet_ray.data.splits import Split
from gpnet_ray.errors import InputError
from gpnet_ray.progress import LogProgress, NullProgress


def problem(n: int) -> Any:
    return SimpleNamespace(dataset=range(n))


def config(**overrides: int):  # type: ignore[no-untyped-def]
    return load_config(overrides={k.replace("__", "."): v for k, v in overrides.items()})


def test_exactly_the_whole_pool_may_be_asked_for() -> None:
    settings = config(
        split__n_train=10, split__n_test=5, selection__cycles=4, selection__batch_size=5
    )
    check_pool_is_large_enough(problem(35), settings)
    with pytest.raises(InputError, match="ask for 20 materials and the pool has 19"):
        check_pool_is_large_enough(problem(34), settings)


def test_an_oracle_beside_targets_or_in_another_unit_is_refused() -> None:
    oracle: Any = SimpleNamespace(name="vasp", unit="kJ/mol")
    known: Any = SimpleNamespace(targets=[1.0], unit="eV/atom", source="oxides.parquet")
    with pytest.raises(InputError, match="brings its own targets"):
        check_oracle(known, oracle, Config())
    unknown: Any = SimpleNamespace(targets=None, unit="eV/atom", source="oxides.parquet")
    with pytest.raises(InputError, match=r"answers in kJ/mol.*in eV/atom"):
        check_oracle(unknown, oracle, Config())
    check_oracle(known, None, Config())
    named = load_config(overrides={"oracle.kind": "ionic"})
    with pytest.raises(InputError, match=r"oracle\.kind is ionic and no oracle is given"):
        check_oracle(known, None, named)


def test_columns_named_without_a_dataset_are_refused() -> None:
    settings = load_config(overrides={"data.target": "band_gap"})
    with pytest.raises(InputError, match="target given without a dataset"):
        load_dataset(settings, NullProgress())


def test_train_and_test_must_leave_a_pool() -> None:
    with pytest.raises(InputError, match="10 train and 5 test rows leave nothing of 15"):
        check_pool_is_large_enough(problem(15), config(split__n_train=10, split__n_test=5))


def test_the_target_as_a_feature_and_a_feature_without_two_values_are_refused_before_labels() -> (
    None
):
    settings = load_config(
        overrides={"network.global_features": ["pressure_GPa"], "data.target": "something else"}
    )
    crystals = [Structure(Lattice.cubic(4.2), ["Mg", "O"], [[0] * 3, [0.5] * 3]) for _ in range(6)]
    for number, crystal in enumerate(crystals):
        # Differs by rounding among the train rows, and for good elsewhere.
        crystal.properties["pressure_GPa"] = (0.3, 0.1 + 0.2, 0.3, 0.3, 5.0, 6.0)[number]
    ids = tuple("abcdef")
    dataset = MaterialsDataset(ids, tuple(crystals), None, "energy", "eV/atom", "x", "y")
    problem = screen(dataset, settings, NullProgress())
    split = Split(train=ids[:4], pool=ids[4:5], test=ids[5:])
    with pytest.raises(InputError, match=r"pressure_GPa is 0\.3 for all"):
        check_features_vary(problem, split, settings)
    check_features_vary(problem, Split(ids[1:], pool=("a",), test=("x",)), settings)
    leaking = replace(dataset, target="pressure_GPa")
    with pytest.raises(InputError, match="'pressure_GPa', which is the target"):
        screen(leaking, settings, NullProgress())


@pytest.fixture
def oxides_at_pressures(tmp_path: Path) -> Path:
    made = [row | {"pressure_GPa": float(number)} for number, row in enumerate(rows(12))]
    return write_parquet(tmp_path / "oxides.parquet", made)


def test_the_configured_program_is_told_the_global_features(
    oxides_at_pressures: Path, tmp_path: Path
) -> None:
    program = (
        'import sys; print(\'{"status": "ok", "unit": "eV", "value": \' + sys.argv[1] + \'}\')'
    )
    argv = [sys.executable, "-c", program, "{pressure_GPa}", "{structure}"]
    overrides = {
        "data": {"dataset": oxides_at_pressures, "target": "h", "unit": "eV"},
        "network.global_features": ["pressure_GPa"],
        "oracle": {"kind": "command", "command": {"argv": argv}, "files_dir": tmp_path / "files"},
    }
    said = io.StringIO()
    progress = LogProgress(said)
    dataset, oracle = load_dataset(load_config(overrides=overrides), progress)
    assert oracle is not None
    some = oracle.label(dataset.ids[3:5], dataset.structures[3:5])
    assert [outcome.value for outcome in some] == [3.0, 4.0]
    assert "Warning" not in said.getvalue()
    overrides["oracle"] = {"kind": "ionic"}
    overrides["data"] = {"dataset": oxides_at_pressures, "target": "h", "unit": "eV/atom"}
    load_dataset(load_config(overrides=overrides), progress)
    assert "do not depend on the global features pressure_GPa" in said.getvalue()


def test_a_campaign_buys_no_label_for_a_feature_that_teaches_nothing(
    small_ray: None, tmp_path: Path
) -> None:
    config = tiny_config(tmp_path / "runs", **{"network.global_features": ["pressure_GPa"]})
    dataset = hypothetical_dataset(90, seed=0, progress=NullProgress())
    for structure in dataset.structures:
        structure.properties["pressure_GPa"] = 0.0
    oracle = LoggedOracle(tmp_path / "asked")
    with pytest.raises(InputError, match="pressure_GPa is 0 for all"):
        Campaign(dataset, config, oracle=oracle).run()
    assert oracle.calls() == []


def test_labels_bought_ahead_and_never_picked_are_in_the_runs_surrogate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(records, "_about", lambda *_: {})
    written: dict[str, Any] = {}
    folder = SimpleNamespace(
        labelled="labelled",
        run="run",
        write_table=lambda path, table, unit: written.update({path: table}),
        write_json=lambda path, content: None,
    )
    context: Any = SimpleNamespace(folder=folder, timings={}, history=SimpleNamespace(timings={}))
    ids = tuple("abcd")
    problem: Any = SimpleNamespace(dataset=SimpleNamespace(unit="eV"))
    split = Split(train=("a",), pool=("b", "c"), test=("d",))
    latents = Latents(ids, np.zeros((4, 2), np.float32), np.zeros(4))
    first: Any = SimpleNamespace(latents=latents, network=SimpleNamespace(kept=None))
    known = {"a": 1.0, "d": 4.0}
    records.write_run(context, [], problem, split, known, first, {"c": 3.0, "d": 4.0})
    table = written["labelled"].to_pydict()
    assert (table["material_id"], table["label"]) == (["a", "c"], [1.0, 3.0])
