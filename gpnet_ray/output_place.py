"""Whether a result will have a place: looked at before anything is computed that it would take with it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from gpnet_ray.errors import RunFolderError

__all__ = ["check_folder_can_be_made", "check_new_file", "check_new_folder", "new_file"]


def check_folder_can_be_made(path: Path, *, what: str, advice: str) -> None:
    """See that a folder is there and can be written, or that it can be made.

    Args:
        path: The folder.
        what: What it is, for the message.
        advice: What to do where it cannot be, for the message.

    Raises:
        RunFolderError: a file is in the way, or the folder that it would lie in cannot be written.
    """
    place = path
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise RunFolderError(f"{place} is a file, so there can be no {what} {path}; {advice}")
    if not os.access(place, os.W_OK):
        raise RunFolderError(f"{place} is not writable, so there can be no {what} {path}; {advice}")


def check_new_folder(path: Path, *, option: str = "--out") -> None:
    """See that a folder is not there yet, or empty, and can be made.

    Raises:
        RunFolderError: it holds something, or cannot be made.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise RunFolderError(
            f"{path} exists already; remove it or name another folder with {option}"
        )
    check_folder_can_be_made(path, what="folder", advice=f"name another place with {option}")


def check_new_file(path: Path, *, endings: Collection[str] = (), option: str = "--out") -> None:
    """See that a file is not there yet and can be written.

    Args:
        path: The file.
        endings: What its name may end in, with the dot; anything where left out.
        option: By which it was named, for the message.

    Raises:
        RunFolderError: another ending; it exists, and somebody may need it; or it cannot be written.
    """
    if endings and path.suffix.lower() not in endings:
        raise RunFolderError(f"{option} {path}: the name has to end in {' or '.join(endings)}")
    if path.exists():
        raise RunFolderError(f"{option} {path} exists already; name another file")
    folder = path.resolve().parent
    if not folder.is_dir():
        raise RunFolderError(f"{option} {path}: there is no folder {folder}; make it first")
    if not os.access(folder, os.W_OK):
        raise RunFolderError(
            f"{option} {path}: {folder} is not writable; name a file somewhere else"
        )


@contextmanager
def new_file(path: Path, *, option: str = "--out") -> Iterator[BinaryIO]:
    """Open a file that is not there yet, for writing; half of one is not left behind.

    Raises:
        RunFolderError: it exists, and is left as it is; or it cannot be written.
    """
    try:
        with path.open("xb") as file:
            try:
                yield file
            except BaseException:
                path.unlink()
                raise
    except OSError as error:
        raise RunFolderError(
            f"{option} {path} cannot be written ({error}); name a file somewhere else"
        ) from error
