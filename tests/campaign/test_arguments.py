"""A driver script that gives something else than what is wanted is told what is, in a line."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.ask_tell import crystals, small_config
from support.pools import hand_made_surrogate

from gpnet_ray import Campaign, PoolSession, run_repeats, train_network, validate
from gpnet_ray.errors import InputError
from gpnet_ray.oracles.ionic import IonicOracle

ANY: Any = {"seed": 1}
PATH: Any = "oxides.parquet"
READ = "'oxides.parquet' .str.; read one with read_dataset"
MADE = "a Config, not {'seed': 1} .dict.; make one with load_config"
ENTRANCES: dict[str, tuple[Callable[[], Any], str]] = {
    "a path": (lambda: Campaign(PATH), READ),
    "a path to repeat": (lambda: run_repeats(PATH, repeats=2), READ),
    "a path to validate": (lambda: validate(PATH, folds=2), READ),
    "paths to validate": (lambda: validate([PATH], folds=2), READ),
    "a path to train on": (lambda: train_network(PATH), READ),
    "a path of candidates": (
        lambda: Campaign.create("runs/a", crystals(0, 12, labelled=True), PATH),
        f"a dataset of candidates is wanted, not {READ}",
    ),
    "a mapping": (lambda: Campaign(crystals(0, 12, labelled=True), ANY), MADE),
    "a mapping to repeat": (lambda: run_repeats(None, ANY, repeats=2), MADE),
    "a mapping to pick": (lambda: PoolSession(hand_made_surrogate(), ["pool"], ANY), MADE),
    "a folder": (lambda: PoolSession(PATH, ["pool"]), "read one with load_surrogate"),
    "a function": (
        lambda: Campaign(crystals(0, 12, labelled=False), oracle=len),  # type: ignore[arg-type]
        "is no oracle: it lacks name and unit and label",
    ),
    "half an oracle": (
        lambda: Campaign(
            crystals(0, 12, labelled=False),
            oracle=SimpleNamespace(name="vasp", label=len),  # type: ignore[arg-type]
        ),
        "is no oracle: it lacks unit",
    ),
}


@pytest.mark.parametrize("given", ENTRANCES)
def test_what_is_no_dataset_settings_surrogate_or_oracle_is_refused(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    enter, said = ENTRANCES[given]
    with pytest.raises(InputError, match=said):
        enter()
    assert list(tmp_path.iterdir()) == []


class WithLock(IonicOracle):
    unit = "eV/atom"

    def __init__(self) -> None:
        self.lock = threading.Lock()


def test_an_oracle_that_cannot_be_sent_is_named_with_what_to_do(
    small_ray: None, tmp_path: Path
) -> None:
    settings = {
        "runs_dir": tmp_path,
        "name": "small",
        "split.n_train": 10,
        "split.n_test": 3,
        "selection.cycles": 2,
        "resources.labellers": 1,
    }
    dataset = replace(crystals(0, 30, labelled=False), target="energy")
    campaign = Campaign(dataset, small_config(**settings), oracle=WithLock())
    with pytest.raises(InputError) as refused:
        campaign.run()
    said = str(refused.value)
    assert "cannot pickle '_thread.lock' object. Make what cannot be copied" in said
    assert "\n" not in said
    assert list(tmp_path.iterdir()) == []
