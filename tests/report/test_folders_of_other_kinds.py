"""Folders of ours that are no runs: the error says what they are and what to use instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpnet_ray.campaign.ask_tell_folder import AskTellFolder
from gpnet_ray.campaign.repeats import RepeatsFolder
from gpnet_ray.campaign.run_folder import RunFolder
from gpnet_ray.campaign.surrogate import load_network
from gpnet_ray.campaign.validation_folder import ValidationFolder
from gpnet_ray.commands.status import status
from gpnet_ray.config import Config
from gpnet_ray.errors import InputError, RunFolderError
from gpnet_ray.report.finished_run import read_finished_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "my folder"


def refused(folder: Path, *said: str) -> None:
    for read, error in (
        (read_finished_run, RunFolderError),
        (load_network, InputError),
    ):
        with pytest.raises(error) as raised:
            read(folder)
        assert all(text in str(raised.value) for text in said), str(raised.value)
        assert "--overwrite" not in str(raised.value)


def test_of_repeats_one_seed_is_named(folder) -> None:
    RepeatsFolder(folder).create(Config(), overwrite=False)
    refused(folder, str(folder / "seed-0"), str(folder / "comparison.html"))
    for seed in (4, 3):
        (folder / f"seed-{seed}").mkdir()
    refused(folder, str(folder / "seed-3"))
    with pytest.raises(RunFolderError, match="seed-3"):
        status(str(folder))


def test_of_a_validation_its_tables_are_named(folder) -> None:
    ValidationFolder(folder).create(Config(), overwrite=False)
    refused(folder, str(folder / "summary.json"), str(folder / "predictions.parquet"))


def test_of_an_ask_and_tell_campaign_its_status_is_named(folder) -> None:
    AskTellFolder(folder).begin(Config(), overwrite=False)
    refused(folder, f"`gpnet-ray status '{folder}'`")


def test_a_run_that_has_only_begun_is_told_to_go_on(folder) -> None:
    RunFolder(folder).create(Config(), overwrite=False)
    with pytest.raises(RunFolderError, match="--resume"):
        read_finished_run(folder)
    with pytest.raises(InputError, match=r"network\.json"):
        load_network(folder)
