"""The run folder: never overwritten by surprise, never half a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gpnet_ray.campaign.journal import Journal
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
    (tmp_path / "run" / "config.yaml").write_text("title: my thesis\n")
    with pytest.raises(RunFolderError, match="not overwritten"):
        folder.check_free(resume=False, overwrite=True)
    with pytest.raises(RunFolderError, match="no run to resume"):
        folder.check_free(resume=True, overwrite=False)
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
    folder.write_rejected([RejectedMaterial("mp-1", "disordered", 'site 1, "Fe0.5"', "row 3")])
    assert folder.rejected.read_text().splitlines() == [
        "material_id,category,where,reason",
        'mp-1,disordered,row 3,"site 1, ""Fe0.5"""',
    ]


def test_a_place_that_cannot_hold_a_folder_is_found_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="is a file"):
        RunFolder(tmp_path / "file" / "run").check_free(resume=False, overwrite=False)


@pytest.mark.parametrize("left", ["split.json", "labelled.parquet", "label_files/mp-1"])
@pytest.mark.parametrize("journal", [None, ""])
def test_a_run_whose_journal_is_lost_is_not_gone_on_with(
    tmp_path: Path, left: str, journal: str | None
) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create(Config(), overwrite=False)
    # Of a driver that died before it had written a line: there is nothing to lose.
    folder.check_journal()
    if journal is not None:
        folder.journal.write_text(journal)
    folder.check_journal()
    (folder.path / left).parent.mkdir(exist_ok=True)
    (folder.path / left).touch()
    with pytest.raises(
        RunFolderError, match=r"journal\.jsonl is missing or empty, but .*Restore it"
    ):
        folder.check_journal()
    folder.journal.write_text("something\n")
    folder.check_journal()


@pytest.mark.parametrize("is_seen", [True, False])
def test_a_run_that_another_process_began_after_the_first_look_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_seen: bool
) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.check_free(resume=False, overwrite=False)
    if is_seen:
        RunFolder(folder.path).create(Config(seed=7), overwrite=False)
    else:
        make = Path.mkdir

        def late(path: Path, **how: Any) -> None:
            monkeypatch.undo()
            RunFolder(folder.path).create(Config(seed=7), overwrite=False)
            make(path, **how)

        monkeypatch.setattr(Path, "mkdir", late)
    with pytest.raises(RunFolderError, match="exists already"):
        folder.create(Config(), overwrite=False)
    assert yaml.safe_load(folder.config.read_text("utf-8"))["seed"] == 7


def test_what_came_after_the_first_look_and_is_no_run_is_not_overwritten(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.check_free(resume=False, overwrite=True)
    folder.path.mkdir()
    (folder.path / "thesis.tex").touch()
    with pytest.raises(RunFolderError, match="not overwritten"):
        folder.create(Config(), overwrite=True)
    assert (folder.path / "thesis.tex").is_file()


def test_a_run_that_is_being_written_is_not_overwritten(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create(Config(), overwrite=False)
    with Journal(folder.journal), pytest.raises(RunFolderError, match="another process"):
        folder.create(Config(), overwrite=True)
    assert folder.journal.is_file()


def test_nobody_can_begin_to_write_a_run_until_it_has_left_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create(Config(), overwrite=False)
    Journal(folder.journal).close()
    leave = Path.rename

    def watched(path: Path, target: Path) -> Path:
        with pytest.raises(RunFolderError, match="another process"):
            Journal(folder.journal)
        return leave(path, target)

    monkeypatch.setattr(Path, "rename", watched)
    folder.remove()
    assert not list(tmp_path.iterdir())


def test_an_unreadable_table_is_named_with_a_way_out(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.latents.write_bytes(b"PAR1")
    with pytest.raises(RunFolderError, match=r"latents\.parquet cannot be read.*--resume"):
        folder.read_table(folder.latents)
