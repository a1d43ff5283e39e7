"""The files of a run folder in the storage: what has changed is written, what has gone is removed."""

from __future__ import annotations

import errno
import os
import stat
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
NAMED = 10
"""How many files a warning names."""
State = tuple[int, int, int]


class FolderCopy:
    """Keeps the copy of one folder, as the only writer.

    What is no regular file (a socket, a pipe), or cannot be read, is left out, and told once.
    """

    def __init__(
        self,
        objects: Objects,
        folder: Path,
        *,
        check: Callable[[], None],
        notify: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``check`` is called before anything is changed, and raises where others write the copy now."""
        self._objects, self._folder = objects, folder
        self._check, self._notify = check, notify
        self._known: dict[str, State] = {}
        self._told: set[str] = set()

    def bring_up_to_date(self, *, with_label_files: bool = False) -> None:
        """Write what is new, in the order in which it was made, then remove what has gone.

        So the copy is at every moment what a folder may be whose program was stopped.

        Raises:
            StorageError: the storage does not answer, or others write the copy now.
        """
        left_out: dict[str, str] = {}
        now = dict(self._scan(with_label_files, left_out))
        unseen = tuple(left_out) if with_label_files else (*left_out, LABEL_FILES)
        changed = [key for key, state in now.items() if self._known.get(key) != state]
        gone = [key for key in sorted(self._known.keys() - now.keys()) if not _below(key, unseen)]
        if changed or gone:
            self._check()
        for key in sorted(changed, key=lambda key: now[key]):
            self._write(key, now[key], left_out)
        for key in gone:
            self._objects.delete(key)
            del self._known[key]
        self._tell(left_out)

    def _write(self, key: str, state: State, left_out: dict[str, str]) -> None:
        try:
            content = (self._folder / key).read_bytes()
        except FileNotFoundError:
            # Gone since the folder was looked through; the next time it is removed.
            return
        except OSError as error:
            left_out[key] = _why(error)
            return
        self._objects.put(key, content)
        self._known[key] = state

    def _scan(
        self, with_label_files: bool, left_out: dict[str, str]
    ) -> Iterator[tuple[str, State]]:
        """Finished files with what tells one content from another; why others are left out goes there."""

        def folder_is_left_out(error: OSError) -> None:
            # The folder itself may not be there yet, and others may have gone since.
            if not isinstance(error, FileNotFoundError):
                left_out[Path(error.filename).relative_to(self._folder).as_posix()] = _why(error)

        for place, folders, files in os.walk(self._folder, onerror=folder_is_left_out):
            below = Path(place).relative_to(self._folder)
            if below == Path() and not with_label_files and LABEL_FILES in folders:
                folders.remove(LABEL_FILES)
            for name in files:
                key = (below / name).as_posix()
                if name.startswith(".") or name.endswith(".tmp") or key.startswith(JOURNAL_FILE):
                    continue
                try:
                    # No storage takes a name that is no Unicode.
                    key.encode()
                    state = _state(Path(place) / name)
                except FileNotFoundError:
                    # A draft that has just been moved to its place.
                    continue
                except (OSError, UnicodeEncodeError) as error:
                    left_out[key] = _why(error)
                    continue
                yield key, state

    def _tell(self, left_out: dict[str, str]) -> None:
        new = sorted(left_out.keys() - self._told)
        if not new:
            return
        self._told.update(new)
        named = ", ".join(f"{key} ({left_out[key]})" for key in new[:NAMED])
        more = f" and {len(new) - NAMED} more" if len(new) > NAMED else ""
        text = (
            f"Warning: {self._objects.uri} does not get {named}{more}; everything else is sent. What is needed of"
            f" it, copy by hand from {self._folder}"
        )
        # A name that is no Unicode cannot be printed either.
        self._notify(text.encode(errors="backslashreplace").decode())


def _state(path: Path) -> State:
    """Time, size, place on the disk.

    Raises:
        OSError: it cannot be looked at, or is no regular file. Opening a pipe would wait for who writes it.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "no regular file")
    return status.st_mtime_ns, status.st_size, status.st_ino


def _why(error: OSError | UnicodeEncodeError) -> str:
    if isinstance(error, UnicodeEncodeError):
        return "its name is no Unicode"
    return error.strerror or str(error)


def _below(key: str, places: Iterable[str]) -> bool:
    """Whether a key is one of these or lies below one; ``.`` is the whole folder."""
    return any(place in (".", key) or key.startswith(f"{place}/") for place in places)


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
