"""Every label has a folder of its own, whatever its id is."""

from __future__ import annotations

import shutil

import pytest

from gpnet_ray.oracles.label_folders import LabelFolders


def test_an_id_cannot_lead_out_of_the_place_of_the_folders(tmp_path):
    folders = LabelFolders(tmp_path / "labels")
    for odd in ("../../etc", "/etc", "..", "", "a/b", "x" * 300):
        assert folders.make(odd).resolve().parent == (tmp_path / "labels").resolve()


def test_a_second_try_does_not_touch_what_the_first_left(tmp_path):
    folders = LabelFolders(tmp_path / "made when needed")
    first, second = folders.make("mp-1"), folders.make("mp-1")
    assert (first.name, second.name) == ("mp-1", "mp-1.2")


@pytest.mark.parametrize(
    ("keep", "ok_stays", "failed_stays"),
    [("always", True, True), ("on-failure", False, True), ("never", False, False)],
)
def test_folders_are_kept_as_asked(tmp_path, keep, ok_stays, failed_stays):
    folders = LabelFolders(tmp_path, keep)
    ok, failed = folders.make("ok"), folders.make("failed")
    (ok / "file").touch()
    folders.close(ok, ok=True)
    folders.close(failed, ok=False)
    assert (ok.exists(), failed.exists()) == (ok_stays, failed_stays)


def test_a_folder_that_cannot_be_removed_costs_no_label(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path / "wavefunctions"))

    monkeypatch.setattr(shutil, "rmtree", refuse)
    folders = LabelFolders(tmp_path)
    folder = folders.make("mp-1")
    with pytest.warns(UserWarning, match=r"mp-1 could not be removed .*Permission denied"):
        folders.close(folder, ok=True)
    assert folder.exists()
