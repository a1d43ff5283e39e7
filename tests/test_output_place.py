"""A place for a result is looked at beforehand, and nothing that is there is replaced."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gpnet_ray.commands.predict import first_free
from gpnet_ray.errors import RunFolderError
from gpnet_ray.output_place import check_new_file, check_new_folder, new_file


def not_writable(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    # The superuser, as whom tests may run, may write anywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != place)


def test_a_new_file_in_a_folder_is_fine_and_one_that_is_there_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "table.csv"
    check_new_file(out, endings=(".csv", ".parquet"))
    out.write_text("material_id\n")
    with pytest.raises(RunFolderError, match=r"table\.csv exists already; name another"):
        check_new_file(out)
    with pytest.raises(RunFolderError, match=r"has to end in \.csv or \.parquet"):
        check_new_file(tmp_path / "table.txt", endings=(".csv", ".parquet"))
    with pytest.raises(RunFolderError, match="there is no folder"):
        check_new_file(tmp_path / "none" / "table.csv")


def test_a_folder_may_be_empty_or_missing(tmp_path: Path) -> None:
    check_new_folder(tmp_path)
    check_new_folder(tmp_path / "a" / "b")
    (tmp_path / "a").touch()
    with pytest.raises(RunFolderError, match="exists already"):
        check_new_folder(tmp_path)
    with pytest.raises(RunFolderError, match="exists already"):
        check_new_folder(tmp_path / "a")
    with pytest.raises(RunFolderError, match="a is a file, so there can be no folder"):
        check_new_folder(tmp_path / "a" / "b")


def test_where_nothing_can_be_written_it_is_said_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    not_writable(monkeypatch, tmp_path)
    with pytest.raises(RunFolderError, match="is not writable; name a file"):
        check_new_file(tmp_path / "table.csv")
    with pytest.raises(RunFolderError, match="is not writable, so there can be no folder"):
        check_new_folder(tmp_path / "a" / "b")


def write_half(out: Path, then: BaseException) -> None:
    with new_file(out) as file:
        file.write(b"half")
        raise then


def test_a_file_is_written_whole_or_not_at_all_and_one_that_came_meanwhile_is_kept(
    tmp_path: Path,
) -> None:
    out = tmp_path / "table.csv"
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(RunFolderError, match=r"table\.csv cannot be written \(.*No space left"):
        write_half(out, full)
    with pytest.raises(KeyboardInterrupt):
        write_half(out, KeyboardInterrupt())
    assert not out.exists()
    out.write_text("somebody else's")
    with pytest.raises(RunFolderError, match="File exists"), new_file(out):
        pass
    assert out.read_text() == "somebody else's"


def test_predictions_lie_beside_a_table_and_reasons_that_came_meanwhile(tmp_path: Path) -> None:
    out = tmp_path / "table.csv"
    assert first_free(out) == out
    out.touch()
    assert first_free(out) == tmp_path / "table-2.csv"
    (tmp_path / "table-2.rejected.csv").touch()
    assert first_free(out) == tmp_path / "table-3.csv"
