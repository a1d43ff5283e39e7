"""The files of a run folder in the storage: what has changed is written, what has gone is removed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from gpnet_ray.errors import StorageError
from gpnet_ray.storage.journal_copy import JOURNAL
from gpnet_ray.storage.objects import Objects
from gpnet_ray.storage.ownership import OWNER

__all__ = ["JOURNAL_FILE", "FolderCopy", "fetch_files", "stored_files"]

JOURNAL_FILE = "journal.jsonl"
LABEL_FILES = "label_files"
"""What oracles leave there may still be being written; it follows at the end of the run."""

TRANSFERS = 8
State = tuple[int, int, int]


class FolderCopy:
    """Keeps the copy of one folder, as the only writer."""

    def __init__(self, objects: Objects, folder: Path, *, check: Callable[[], None]) -> None:
        """``check`` is called before anything is changed, and raises where others write the copy now."""
        self._objects, self._folder, self._check = objects, folder, check
        self._known: dict[str, State] = {}

    def bring_up_to_date(self, *, with_label_files: bool = False) -> None:
        """Write what is new, in the order in which it was made, then remove what has gone.

        So the copy is at every moment what a folder may be whose program was stopped.
        """
        now = dict(self._scan(with_label_files))
        changed = [key for key, state in now.items() if self._known.get(key) != state]
        gone = sorted(self._known.keys() - now.keys())
        if changed or gone:
            self._check()
        for key in sorted(changed, key=lambda key: now[key]):
            self._write(key, now[key])
        for key in gone:
            self._objects.delete(key)
            del self._known[key]

    def _write(self, key: str, state: State) -> None:
        try:
            content = (self._folder / key).read_bytes()
        except FileNotFoundError:
            # Gone since the folder was looked through; the next time it is removed.
            return
        self._objects.put(key, content)
        self._known[key] = state

    def _scan(self, with_label_files: bool) -> Iterator[tuple[str, State]]:
        """Finished files with what tells one content from another: time, size, place on the disk."""
        for place, folders, files in os.walk(self._folder):
            below = Path(place).relative_to(self._folder)
            if below == Path() and not with_label_files and LABEL_FILES in folders:
                folders.remove(LABEL_FILES)
            for name in files:
                key = (below / name).as_posix()
                if name.startswith(".") or name.endswith(".tmp") or key.startswith(JOURNAL_FILE):
                    continue
                try:
                    status = (Path(place) / name).stat()
                except FileNotFoundError:
                    # A draft that has just been moved to its place.
                    continue
                yield key, (status.st_mtime_ns, status.st_size, status.st_ino)


def stored_files(objects: Objects) -> list[str]:
    """Keys of all files of a stored run but its journal.

    Raises:
        StorageError: the storage does not answer.
    """
    own = (f"{OWNER}/", f"{JOURNAL}/")
    return [key for key in objects.list() if not key.startswith(own)]


def fetch_files(objects: Objects, keys: Iterable[str], folder: Path) -> None:
    """Copy files into a folder, over what stands there.

    Raises:
        StorageError: a key leads out of the folder, or the storage does not answer.
    """

    def fetch(key: str) -> None:
        content = objects.read(key)
        if content is None:
            # A run that goes on has just removed it.
            return
        place = folder / key
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_name(f".{place.name}.{os.getpid()}.tmp")
        draft.write_bytes(content)
        draft.replace(place)

    wanted = list(keys)
    for key in wanted:
        if PurePosixPath(key).is_absolute() or ".." in PurePosixPath(key).parts:
            raise StorageError(
                f"{objects.uri} has an object {key!r}, which leads out of the run folder; it is no run of"
                " gpnet-ray, or somebody has changed it"
            )
    with ThreadPoolExecutor(TRANSFERS) as pool:
        list(pool.map(fetch, wanted))
