"""The journal: an append-only file of JSON lines that is the truth about a run.

Each line is one event with a running number and a CRC-32 of its content, flushed and fsynced before
the program goes on. Replaying it gives every pick and every label; all other files are caches.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from gpnet_ray.errors import RunFolderError

__all__ = ["Event", "Journal", "read_journal"]

Event = Mapping[str, Any]


def _encode(event: Event) -> str:
    body = json.dumps(event, sort_keys=True, allow_nan=False)
    return json.dumps({"crc": f"{zlib.crc32(body.encode()):08x}", "event": json.loads(body)})


RESERVE_BYTES = 64 * 1024
"""Room kept free beside the journal for what is in flight when the disk is full: some 200 labels."""


class JournalMirror(Protocol):
    """Where the lines go besides the file; see :class:`gpnet_ray.storage.mirror.Mirror`."""

    def take(self, content: bytes, kinds: Collection[str], *, later: bool = False) -> None:
        """Take whole lines with events of these kinds; what must not lag is safe when it returns."""


class Journal:
    """The one writer of a journal file; opens at its end and goes on with the numbering.

    ``advice`` ends the errors of a full disk: what to do once there is room. ``mirror`` takes every line once
    the disk has it.

    Raises:
        RunFolderError: another process writes this journal or removes it, or it is damaged, or the disk is full.
    """

    def __init__(
        self,
        path: Path,
        *,
        advice: str = "go on with --resume",
        mirror: JournalMirror | None = None,
    ) -> None:
        self._path, self._advice, self._mirror = path, advice, mirror
        # Unbuffered, so that what could not be written is not written later behind something else.
        self._file = path.open("ab", buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise RunFolderError(
                f"{path} is being written by another process; wait until that run has ended or stop it"
            ) from None
        if not _is_at(self._file, path):
            self._file.close()
            raise RunFolderError(
                f"{path} was removed or replaced by another process just now; look at what lies there and begin again"
            )
        try:
            self.events = read_journal(path, repair=True)
            """The events that were there when it was opened."""
        except RunFolderError:
            self._file.close()
            raise
        self._known = len(self.events), os.fstat(self._file.fileno()).st_size
        """How many lines and bytes there are of which whoever appended them was told so."""
        self._reserve = path.with_name(path.name + ".reserve")
        self.takes_events = True
        """False once an event could not be written, even with the room that is kept for it."""
        try:
            _write_whole(self._reserve, b"\0" * RESERVE_BYTES)
        except OSError as error:
            self.close()
            raise self._full(error, "nothing was begun") from error

    def append(self, *events: Event) -> None:
        """Write events, in order, and return once the disk has them, and the mirror those that must not lag.

        Raises:
            StorageError: the mirror could not take them; they are in the journal all the same.
            RunFolderError: the disk is full or broken. Where room that is kept for this was enough
                (``takes_events`` is still true), the events are in the journal all the same.
        """
        if not events:
            return
        n_lines, n_bytes = self._known
        if os.fstat(self._file.fileno()).st_size > n_bytes:
            # Ctrl-C came between the writing and the return; for the caller it was not written.
            self._file.truncate(n_bytes)
        lines = [_encode({"number": n, **e}) + "\n" for n, e in enumerate(events, n_lines)]
        content = "".join(lines).encode()
        written = n_lines + len(events), n_bytes + len(content)
        kinds = {str(event["event"]) for event in events}
        try:
            self._write(content)
        except OSError as error:
            self._reserve.unlink(missing_ok=True)
            try:
                self._write(content)
            except OSError as second:
                self.takes_events = False
                raise self._full(second, "the last events were not written") from second
            self._known = written
            if self._mirror is not None:
                # The run ends anyhow, and of the two errors that of the disk is told.
                self._mirror.take(content, kinds, later=True)
            raise self._full(error, "all that was bought is in it") from error
        self._known = written
        if self._mirror is not None:
            self._mirror.take(content, kinds)

    def _write(self, content: bytes) -> None:
        """Write all or nothing, also where Ctrl-C ends it."""
        try:
            written = 0
            while written < len(content):
                written += os.write(self._file.fileno(), content[written:])
            os.fsync(self._file.fileno())
        except BaseException:
            self._file.truncate(self._known[1])
            raise

    def _full(self, error: OSError, state: str) -> RunFolderError:
        return RunFolderError(
            f"{self._path} cannot be written ({error.strerror}); {state}. Make room on the disk and"
            f" {self._advice}"
        )

    def close(self) -> None:
        """Close the file."""
        self._reserve.unlink(missing_ok=True)
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _is_at(file: FileIO, path: Path) -> bool:
    """Whether the path still leads to the open file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _write_whole(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def read_journal(path: Path, *, repair: bool = False) -> list[dict[str, Any]]:
    """Read all events, checking the number and the checksum of every line.

    A last line without its end (a power cut in the middle of a write) holds nothing that the
    program had relied on: it is left out and, with ``repair``, cut off the file.

    Raises:
        RunFolderError: the file is missing, or a line other than a torn last one is damaged.
    """
    if not path.is_file():
        raise RunFolderError(f"{path} does not exist; this folder holds no run to go on with")
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if repair and len(whole) < len(content):
        with path.open("rb+") as file:
            file.truncate(len(whole))
            os.fsync(file.fileno())
    return list(_decode(whole.decode("utf-8", errors="replace").splitlines(), path))


def _decode(lines: Iterable[str], path: Path) -> Iterator[dict[str, Any]]:
    for line_number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            event, crc = record["event"], record["crc"]
        except (ValueError, KeyError, TypeError):
            event, crc = None, None
        body = json.dumps(event, sort_keys=True)
        if not isinstance(event, dict) or crc != f"{zlib.crc32(body.encode()):08x}":
            raise RunFolderError(
                f"{path}, line {line_number} is damaged (its checksum does not match); restore the"
                " file from a copy, or cut it before this line and accept that what follows is lost"
            )
        if event.get("number") != line_number - 1:
            raise RunFolderError(
                f"{path}, line {line_number} has number {event.get('number')} where"
                f" {line_number - 1} is due: lines are missing or doubled; restore the file from a copy"
            )
        yield event
