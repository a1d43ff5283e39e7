"""Whole objects under one address, on any of pyarrow's file systems: put, read, list, delete.

An object appears whole or not at all, and is safe when :meth:`Objects.put` returns. pyarrow tries three times what
fails on the way to a server; waiting for one that is away is the business of who calls.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gpnet_ray.errors import StorageAwayError
from gpnet_ray.storage.uri import StorageUri

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

__all__ = ["Objects", "StoredObject"]

T = TypeVar("T")

DRAFT = ".draft"


@dataclass(frozen=True)
class StoredObject:
    """What a listing says of an object: its size in bytes, and when it was written by the storage's clock."""

    size: int
    written: datetime


class Objects:
    """The objects below one address, by keys such as ``report/index.html``.

    Attributes:
        uri: The address.
    """

    def __init__(self, uri: StorageUri) -> None:
        """Reach the file system; nothing is written.

        Raises:
            StorageAwayError: pyarrow cannot reach it.
        """
        self.uri = uri
        self._system, self._root = self._explained("reached", lambda: _file_system(uri))

    def put(self, key: str, content: bytes) -> None:
        """Write an object, over what stood there.

        Raises:
            StorageAwayError: it could not be written.
        """
        write = self._put_file if not self.uri.scheme else self._put_object
        self._explained(f"written ({key})", lambda: write(self._path(key), content))

    def read(self, key: str) -> bytes | None:
        """Read an object; ``None`` where there is none.

        Raises:
            StorageAwayError: the storage does not answer.
        """

        def work() -> bytes | None:
            try:
                with self._system.open_input_stream(self._path(key), compression=None) as stream:
                    content: bytes = stream.read()
            except FileNotFoundError:
                return None
            return content

        return self._explained(f"read ({key})", work)

    def list(self, below: str = "") -> dict[str, StoredObject]:
        """All objects, or those below a key.

        Raises:
            StorageAwayError: the storage does not answer.
        """
        from pyarrow.fs import FileSelector, FileType

        selector = FileSelector(self._path(below), recursive=True, allow_not_found=True)
        found = self._explained("listed", lambda: self._system.get_file_info(selector))
        return {
            info.path[len(self._root) + 1 :]: StoredObject(info.size, info.mtime)
            for info in found
            if info.type == FileType.File and not info.base_name.endswith(DRAFT)
        }

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error.

        Raises:
            StorageAwayError: the storage does not answer.
        """
        self._delete(key, self._system.delete_file)

    def delete_below(self, key: str = "") -> None:
        """Remove all objects below a key, or all there are, in few requests.

        Raises:
            StorageAwayError: the storage does not answer.
        """
        self._delete(key, self._system.delete_dir)

    def _delete(self, key: str, work: Callable[[str], None]) -> None:
        def delete() -> None:
            with suppress(FileNotFoundError):
                work(self._path(key))

        self._explained(f"changed ({key} removed)", delete)

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}".rstrip("/")

    def _put_object(self, path: str, content: bytes) -> None:
        # Without compression=None a name that ends in .gz would be compressed on the way.
        with self._system.open_output_stream(path, compression=None) as stream:
            stream.write(content)

    def _put_file(self, path: str, content: bytes) -> None:
        """A file is written beside its place and moved there, once the disk or the NFS server has it."""
        place = Path(path)
        draft = place.with_name(f".{place.name}.{os.getpid()}{DRAFT}")
        self._system.create_dir(str(place.parent), recursive=True)
        with self._system.open_output_stream(str(draft), compression=None) as stream:
            stream.write(content)
        _to_disk(draft)
        self._system.move(str(draft), str(place))
        _to_disk(place.parent)

    def _explained(self, what: str, work: Callable[[], T]) -> T:
        try:
            return work()
        except OSError as error:
            raise StorageAwayError(f"{self.uri} cannot be {what}: {error}") from error


def _file_system(uri: StorageUri) -> tuple[FileSystem, str]:
    from pyarrow.fs import FileSystem, LocalFileSystem

    if not uri.scheme:
        return LocalFileSystem(), str(Path(uri.path).absolute())
    # One request an object instead of three.
    more = (("allow_delayed_open", "true"),) if uri.scheme == "s3" else ()
    system, root = FileSystem.from_uri(str(StorageUri(uri.scheme, uri.path, uri.query + more)))
    return system, root


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
