"""The run folder: never overwritten by surprise, never half a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gpnet_ray.campaign.run_folder import RunFolder
from gpnet_ray.config import Config
from gpnet_ray.data.dataset import RejectedMaterial
from gpnet_ray.errors import RunFolderError


def test_an_occupied_folder_is_refused_naming_the_ways_out(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.check_free(resume=False, overwrite=False)
    folder.create(Config(), overwrite=False)
    with pytest.raises(RunFolderError, match=r"--resume.*--overwrite.*--name"):
        folder.check_free(resume=False, overwrite=False)
    folder.check_free(resume=True, overwrite=False)
    folder.check_free(resume=False, overwrite=True)
    with pytest.raises(RunFolderError, match="contradict"):
        folder.check_free(resume=True, overwrite=True)


def test_nothing_to_resume_and_a_folder_of_somebody_else(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(RunFolderError, match="no run to resume"):
        folder.check_free(resume=True, overwrite=False)
    (tmp_path / "run").mkdir()
    thesis = tmp_path / "run" / "thesis.tex"
    thesis.write_text("years of work")
    with pytest.raises(RunFolderError, match="not overwritten"):
        folder.check_free(resume=False, overwrite=True)
    assert thesis.read_text() == "years of work"


def test_overwriting_leaves_nothing_of_the_old_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create(Config(), overwrite=False)
    folder.journal.write_text("old")
    folder.create(Config(seed=5), overwrite=True)
    assert sorted(p.name for p in folder.path.iterdir()) == ["config.yaml"]
    assert Config.model_validate(yaml.safe_load(folder.config.read_text())) == Config(seed=5)


def test_json_is_strict_and_a_damaged_file_is_named(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_json(folder.gp, {"a": 1.5})
    assert folder.read_json(folder.gp) == {"a": 1.5}
    with pytest.raises(ValueError, match="not JSON"):
        folder.write_json(folder.gp, {"a": float("nan")})
    assert folder.read_json(folder.gp) == {"a": 1.5}
    folder.gp.write_text('{"a": ')
    with pytest.raises(RunFolderError, match=r"gp\.json cannot be read"):
        folder.read_json(folder.gp)


def test_rejected_materials_are_listed_with_their_reasons(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_rejected([RejectedMaterial("mp-1", 'disordered, "Fe0.5"', "row 3")])
    assert folder.rejected.read_text().splitlines() == [
        "material_id,where,reason",
        'mp-1,row 3,"disordered, ""Fe0.5"""',
    ]
