"""What programs leave in a run folder: what can be sent is sent, the rest is told, and no run ends by it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gpnet_ray.campaign.journal import Journal
from gpnet_ray.campaign.storage import stored_run
from gpnet_ray.errors import StorageError
from gpnet_ray.storage.folder_copy import FolderCopy
from gpnet_ray.storage.mirror import Mirror, MirrorSettings
from gpnet_ray.storage.objects import Objects
from gpnet_ray.storage.ownership import Ownership, Signs
from gpnet_ray.storage.settings import StorageConfig
from gpnet_ray.storage.uri import StorageUri

SETTINGS = MirrorSettings(patience_seconds=0.0, signs=Signs(1e9))


@pytest.fixture
def objects(address: str) -> Objects:
    return Objects(StorageUri.parse(address))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "run" / "label_files" / "mp-1").mkdir(parents=True)
    return tmp_path / "run"


@contextmanager
def a_run(
    place: Path, address: str, said: list[str], settings: MirrorSettings = SETTINGS
) -> Iterator[tuple[Journal, Mirror]]:
    """A stored run in a folder that is there already, as after a stop."""
    parent = address.replace("/run", "", 1) if "://" in address else address.removesuffix("/run")
    with stored_run(
        place,
        StorageConfig(uri=parent),
        resume=True,
        overwrite=False,
        settings=settings,
        notify=said.append,
    ) as mirror:
        assert mirror is not None
        with Journal(place / "journal.jsonl", mirror=mirror) as journal:
            yield journal, mirror


def stored(objects: Objects) -> set[str]:
    return {key for key in objects.list() if not key.startswith(("owner/", "journal/"))}


def is_free(objects: Objects) -> bool:
    """Whether the next process need not wait."""
    said: list[str] = []
    quick = Signs(dead_after_seconds=2.0, look_every_seconds=0.3)
    Ownership.take(objects, signs=quick, notify=said.append)
    return not said


@contextmanager
def a_pipe(path: Path) -> Iterator[None]:
    """A named pipe; who opens it finds a writer that has nothing to say, and so does not wait for ever."""
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.open("wb").close(), daemon=True)
    writer.start()
    yield
    os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    writer.join()


def test_a_run_ends_as_ever_whatever_an_oracle_leaves_in_its_folder(
    objects: Objects, address: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, said = folder / "label_files" / "mp-1", []
    monkeypatch.chdir(left)
    (left / "loop").symlink_to("loop")
    (left / os.fsdecode(b"na\xefve")).write_text("")
    with (
        socket.socket(socket.AF_UNIX) as server,
        a_pipe(left / "pipe"),
        a_run(folder, address, said) as (journal, _),
    ):
        server.bind("ipi")
        (left / "OUTCAR").write_text("energy")
        journal.append({"event": "label", "id": "mp-1"})
    assert stored(objects) == {"label_files/mp-1/OUTCAR"}
    (warning,) = said
    for name in (
        "ipi (no regular file)",
        "pipe (no regular file)",
        "loop (",
        "na\\udcefve (its name",
    ):
        assert f"label_files/mp-1/{name}" in warning
    assert is_free(objects)


def test_what_cannot_be_read_is_told_once_and_what_was_sent_of_it_before_stays(
    objects: Objects, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    copy = FolderCopy(objects, folder, check=lambda: None, notify=said.append)
    (folder / "network").mkdir()
    (folder / "network" / "weights.npz").write_bytes(b"1")
    (folder / "split.json").write_text("{}")
    copy.bring_up_to_date()
    everything = stored(objects)
    (folder / "split.json").write_text("{} ")
    scan, read = os.scandir, Path.read_bytes

    def scan_refused(path: str) -> object:
        if Path(path).name == "network":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    def read_refused(path: Path) -> bytes:
        if path.name == "split.json":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scan_refused)
        patch.setattr(Path, "read_bytes", read_refused)
        copy.bring_up_to_date()
        copy.bring_up_to_date()
    (warning,) = said
    assert "network (Permission denied), split.json (Permission denied)" in warning
    assert stored(objects) == everything
    copy.bring_up_to_date()
    assert objects.read("split.json") == b"{} "


def test_label_files_that_were_sent_stay_when_others_follow(objects: Objects, folder: Path) -> None:
    copy = FolderCopy(objects, folder, check=lambda: None)
    (folder / "label_files" / "mp-1" / "OUTCAR").write_text("energy")
    copy.bring_up_to_date(with_label_files=True)
    (folder / "split.json").write_text("{}")
    copy.bring_up_to_date()
    assert stored(objects) == {"label_files/mp-1/OUTCAR", "split.json"}


def test_a_disk_that_cannot_be_looked_through_keeps_no_label_from_the_storage(
    objects: Objects, address: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    said: list[str] = []
    signs = Signs(every_seconds=0.01)
    with a_run(folder, address, said, replace(SETTINGS, signs=signs)) as (journal, mirror):
        monkeypatch.setattr(os, "walk", broken)
        journal.append({"event": "network", "fingerprint": "0f"})
        # What may lag comes with the signs of life, so that these go on too.
        journal.append({"event": "cycle", "cycle": 1})
        while mirror._lines:
            assert mirror._thread.is_alive()
    assert sum("Input/output error" in line for line in said) == 1
    content = b"".join(objects.read(key) or b"" for key in sorted(objects.list("journal")))
    assert content == (folder / "journal.jsonl").read_bytes()
    assert is_free(objects)


def test_a_run_whose_rest_cannot_be_sent_is_released_all_the_same(
    objects: Objects, address: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Objects._put_file if "://" not in address else Objects._put_object

    def full(self: Objects, path: str, content: bytes) -> None:
        if "label_files" in path:
            raise OSError(28, "No space left on device")
        write(self, path, content)

    monkeypatch.setattr(Objects, write.__name__, full)
    (folder / "label_files" / "mp-1" / "WAVECAR").write_bytes(b"0")
    with (
        pytest.raises(StorageError, match="No space left"),
        a_run(folder, address, []) as (journal, _),
    ):
        journal.append({"event": "label", "id": "mp-1"})
    assert is_free(objects)


def test_no_sign_of_life_comes_after_the_release(
    address: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[bool] = []
    release = Ownership.release
    with a_run(folder, address, []) as (_, mirror):

        def watched(self: Ownership) -> None:
            alive.append(mirror._thread.is_alive())
            release(self)

        monkeypatch.setattr(Ownership, "release", watched)
    assert alive == [False]
