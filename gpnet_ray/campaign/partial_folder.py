"""A folder that is made beside its place and moved there once it is whole.

Beside ``NAME`` lies ``.NAME.partial-…`` meanwhile, with a file ``lock`` that is locked as long as its process lives, and
with what is being made. Whoever makes the same folder next removes what a killed process has left.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["made_beside", "moved_to"]

LOCK = "lock"
CONTENT = "content"
OCCUPIED = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


@contextmanager
def made_beside(folder: Path) -> Iterator[Path]:
    """Give a new folder, on the same disk as ``folder``, in which to make what will lie there.

    What has not been moved away at the end is removed. The name is never one that was used before, since processes in
    containers have the same number again and again.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{folder.name}.partial-"
    for left in folder.parent.iterdir():
        if left.name.startswith(prefix):
            _remove_abandoned(left)
    place, lock = _own_place(folder.parent, prefix)
    try:
        content = place / CONTENT
        content.mkdir()
        yield content
    finally:
        shutil.rmtree(place, ignore_errors=True)
        lock.close()


def moved_to(folder: Path, content: Path) -> bool:
    """Move what was made to its place; ``False`` where something lies there already, which is left alone."""
    try:
        content.rename(folder)
    except OSError as error:
        if error.errno in OCCUPIED:
            return False
        raise
    return True


def _own_place(parent: Path, prefix: str) -> tuple[Path, BinaryIO]:
    while True:
        place = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        try:
            lock = (place / LOCK).open("xb")
            if _is_locked_here(lock, place):
                return place, lock
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        # Another process took it for abandoned before it was locked, and removes it.
        lock.close()


def _is_locked_here(lock: BinaryIO, place: Path) -> bool:
    """Lock a file that is open; ``False`` where another process has locked or removed it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return (place / LOCK).stat().st_ino == os.fstat(lock.fileno()).st_ino
    except (BlockingIOError, FileNotFoundError):
        return False


def _remove_abandoned(place: Path) -> None:
    """Remove what a process has left that no longer lives; one that lives holds its lock."""
    try:
        lock = (place / LOCK).open("r+b")
    except OSError:
        return  # not locked yet, of somebody else, or removed meanwhile
    with lock:
        if _is_locked_here(lock, place):
            shutil.rmtree(place, ignore_errors=True)
