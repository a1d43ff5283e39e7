"""The journal: nothing that was written is lost, nothing that is damaged is believed."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from gpnet_ray.campaign.journal import Journal, read_journal
from gpnet_ray.errors import RunFolderError

EVENTS = [{"event": "label", "id": f"mp-{n}", "value": 0.1 * n, "text": "σ\n"} for n in range(5)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append(*EVENTS[:2])
        journal.append(*EVENTS[2:])
    return path


def strip(events: list[dict[str, object]]) -> list[dict[str, object]]:
    return [{k: v for k, v in event.items() if k != "number"} for event in events]


def test_what_was_written_is_read_back_and_goes_on_with_its_number(path: Path) -> None:
    with Journal(path) as journal:
        assert strip(journal.events) == EVENTS
        journal.append({"event": "finished"})
    events = read_journal(path)
    assert strip(events) == [*EVENTS, {"event": "finished"}]
    assert [event["number"] for event in events] == list(range(6))


def test_cut_at_every_byte_of_the_last_line_the_rest_is_kept(path: Path) -> None:
    content = path.read_bytes()
    start_of_last = content[:-1].rfind(b"\n") + 1
    for end in range(start_of_last, len(content)):
        path.write_bytes(content[:end])
        assert strip(read_journal(path, repair=True)) == EVENTS[:-1]
        assert path.read_bytes() == content[:start_of_last]


@pytest.mark.parametrize("line", [0, 2, 4])
def test_a_changed_value_is_found_and_its_line_named(path: Path, line: int) -> None:
    lines = path.read_text().splitlines(keepends=True)
    lines[line] = lines[line].replace(f"mp-{line}", "mp-9")
    path.write_text("".join(lines))
    with pytest.raises(RunFolderError, match=rf"line {line + 1} is damaged"):
        read_journal(path)


def test_a_missing_line_is_found(path: Path) -> None:
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:1] + lines[2:]))
    with pytest.raises(RunFolderError, match="line 2 has number 2 where 1 is due"):
        read_journal(path)


def test_no_journal_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="holds no run"):
        read_journal(tmp_path / "journal.jsonl")


@pytest.mark.parametrize("after", ["the sync", "the write"])
def test_an_interrupted_append_was_none_and_the_next_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    path = tmp_path / "journal.jsonl"

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    with Journal(path) as journal:
        journal.append({"event": "label", "id": "a"})
        with monkeypatch.context() as patch:
            if after == "the sync":
                patch.setattr(os, "fsync", interrupted)
            else:
                write = journal._write
                patch.setattr(journal, "_write", lambda content: (write(content), interrupted()))
            with pytest.raises(KeyboardInterrupt):
                journal.append({"event": "label", "id": "b"})
        journal.append({"event": "label", "id": "b again"}, {"event": "label", "id": "c"})
    assert [event["id"] for event in read_journal(path)] == ["a", "b again", "c"]


def test_nan_never_enters_the_journal(path: Path) -> None:
    with Journal(path) as journal, pytest.raises(ValueError, match="not JSON"):
        journal.append({"event": "label", "value": float("nan")})
    assert strip(read_journal(path)) == EVENTS


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_journal_that_is_removed_while_it_is_opened_takes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, *, is_replaced: bool
) -> None:
    lock = fcntl.flock

    def late(*arguments: Any) -> None:
        path.rename(path.with_name("removed"))
        if is_replaced:
            path.touch()
        lock(*arguments)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(RunFolderError, match="removed or replaced by another process"):
        Journal(path)
    assert strip(read_journal(path.with_name("removed"))) == EVENTS


def test_a_second_writer_is_refused_and_writes_nothing(path: Path) -> None:
    before = path.read_bytes()
    with Journal(path), pytest.raises(RunFolderError, match="another process"):
        Journal(path)
    assert path.read_bytes() == before
    Journal(path).close()
