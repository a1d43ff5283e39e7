"""The copy of a run in the storage while the run goes on: what the program acts upon is there first."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from gpnet_ray.errors import StorageAwayError, StorageError
from gpnet_ray.storage.folder_copy import FolderCopy
from gpnet_ray.storage.journal_copy import JournalCopy
from gpnet_ray.storage.objects import Objects
from gpnet_ray.storage.ownership import Ownership, Signs

__all__ = ["MAY_LAG", "Mirror", "MirrorSettings"]

MAY_LAG = frozenset({"asked", "fault", "cycle", "measured again", "stage"})
"""Events of a run that replay makes again or that only count tries; they go with the next one that must not
lag, or with the next sign of life."""

REST_ON_NO_FILE = frozenset({"label", "measured"})
"""Events that must not lag and speak of no file; tables and curves that follow the loop need no copy a label."""

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0


@dataclass(frozen=True)
class MirrorSettings:
    """How a mirror behaves.

    Attributes:
        patience_seconds: For how long a storage that is away is tried again before the run stops.
        may_lag: Kinds of events that the storage may get later.
        signs: Signs of life.
        first_pause_seconds: Before the second try; it doubles before every further one.
    """

    patience_seconds: float = 600.0
    may_lag: frozenset[str] = MAY_LAG
    signs: Signs = field(default_factory=Signs)
    first_pause_seconds: float = FIRST_PAUSE_SECONDS


class Mirror:
    """Takes the journal's lines and the folder's files; a ``with`` block of the only writer.

    A thread gives signs of life and sends what may lag. Where the storage is away for longer than
    patience lasts, :meth:`take` raises, once after having waited and from then on at once: the run
    ends, and its own folder has everything.
    """

    def __init__(
        self,
        objects: Objects,
        ownership: Ownership,
        journal: JournalCopy,
        folder: Path,
        *,
        settings: MirrorSettings,
        notify: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._objects, self._ownership, self._journal = objects, ownership, journal
        self._folder, self._settings, self._notify = folder, settings, notify
        self._files = FolderCopy(objects, folder, check=ownership.check, notify=notify)
        self._lines: list[bytes] = []
        self._failure: StorageError | None = None
        self._removed, self._disk_fault = False, ""
        self._sending, self._end = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._live, name="storage", daemon=True)

    def __enter__(self) -> Mirror:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Send the rest, label files too, and let others write, also where the rest cannot be sent.

        An error that comes then, after another one, is told in a line, so that the first is the one
        that is raised.
        """
        if self._removed:
            return
        # After Ctrl-C, or when it has been waited for already, nobody waits for a storage that is away.
        patient = self._failure is None and (kind is None or issubclass(kind, Exception))
        try:
            self._send_rest(patient=patient)
        except StorageError as second:
            if error is None:
                raise
            if str(second) not in str(error):
                self._notify(f"Warning: {second}")

    def _send_rest(self, *, patient: bool) -> None:
        """Send the rest and, whatever comes of that, release the run."""
        with self._ownership.released_after_error():
            try:
                if patient:
                    self._send_patiently(last=True)
                else:
                    self._send(last=True)
            finally:
                # A sign of life after the release would take it back.
                self._stop()
        self._ownership.release()

    def take(self, content: bytes, kinds: Collection[str], *, later: bool = False) -> None:
        """Take whole lines of the journal that are in the folder's already.

        Returns once the storage has them, unless all are of kinds that may lag.

        Args:
            content: The lines.
            kinds: The kinds of the events in them.
            later: Only keep them for the next time that something is sent, for the end at the latest.

        Raises:
            StorageError: the storage does not answer, or another process has taken the run over.
        """
        self._lines.append(content)
        if later or self._settings.may_lag.issuperset(kinds):
            return
        rest_on_files = set(kinds) - REST_ON_NO_FILE - self._settings.may_lag
        self._send_patiently(files=bool(rest_on_files))

    def remove(self) -> None:
        """Remove the run from the storage, with the claim to it; nothing more is taken.

        Raises:
            StorageError: the storage does not answer.
        """
        self._stop()
        self._removed = True
        self._objects.delete_below()

    def _stop(self) -> None:
        self._end.set()
        self._thread.join()

    def _send(self, *, files: bool = True, last: bool = False) -> None:
        """Files first, then the lines that speak of them; then look whether the run is still ours.

        Raises:
            StorageAwayError: the storage does not answer; what was not sent is sent the next time.
            StorageError: another process has taken the run over.
        """
        with self._sending:
            if files:
                self._send_files(last=last)
            # Others may be appended meanwhile.
            lines = tuple(self._lines)
            if lines:
                self._journal.add(b"".join(lines))
                del self._lines[: len(lines)]
            self._journal.merge(at_least=2 if last else None)
            self._ownership.check()

    def _send_files(self, *, last: bool) -> None:
        """Send what has changed; a fault of the driver's own disk keeps no label from the storage."""
        try:
            self._files.bring_up_to_date(with_label_files=last)
        except OSError as error:
            if str(error) != self._disk_fault:
                self._notify(
                    f"Warning: files of {self._folder} cannot be read for the storage ({error}); labels are"
                    " sent all the same"
                )
            self._disk_fault = str(error)

    def _send_patiently(self, *, files: bool = True, last: bool = False) -> None:
        if self._failure is not None:
            raise self._failure
        began, pause, told = time.monotonic(), self._settings.first_pause_seconds, False
        while True:
            try:
                self._send(files=files, last=last)
            except StorageAwayError as error:  # noqa: PERF203 - what is tried takes seconds
                waited = time.monotonic() - began
                if waited + pause > self._settings.patience_seconds:
                    self._failure = self._gave_up(waited, error)
                    raise self._failure from error
                if not told:
                    self._notify(f"Warning: {error}. Trying again; {self._nothing_is_lost}")
                told = True
                # Woken by nobody: the end of the run comes from this very thread.
                self._end.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            except StorageError as error:
                self._failure = error
                raise
            else:
                if told:
                    self._notify(f"{self._objects.uri} answers again")
                return

    def _gave_up(self, waited: float, error: StorageAwayError) -> StorageError:
        return StorageError(
            f"{error}; tried for {waited:.0f} s. Nothing is lost: {self._nothing_is_lost}. Once the storage"
            " answers, give the same command with --resume on this machine; leave out --storage to go on"
            " without it"
        )

    @property
    def _nothing_is_lost(self) -> str:
        return f"labels and picks are in {self._folder}"

    def _live(self) -> None:
        """Give signs of life until the end, and send what may lag."""
        told = False
        while not self._end.wait(self._settings.signs.every_seconds):
            try:
                self._ownership.show_life()
                # Whoever is sending sends all there is.
                if not self._sending.locked():
                    self._send()
                told = False
            except StorageAwayError as error:  # noqa: PERF203 - what is tried takes seconds
                # The run itself finds out when there is something that must not lag, and waits there.
                if not told and self._failure is None:
                    self._notify(f"Warning: {error}; {self._nothing_is_lost}")
                told = True
            except StorageError as error:
                self._failure = error
                self._notify(f"Warning: {error}")
                return
