"""First bounds of a pool's files on disk, so that an interrupted computation goes on and a second one reads them.

One file holds the SHA-256 of its content and then float32 numbers. It is named after all that the bounds depend
on, and is either whole or not there.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import numpy as np

from gpnet_ray.errors import DataError, InputError
from gpnet_ray.types import BoundArray

__all__ = ["load_bounds", "save_bounds"]

_DIGEST_BYTES = 32


def save_bounds(folder: Path, key: str, bounds: BoundArray) -> None:
    """Write the bounds of one file of a pool, under a key of all that they depend on.

    Raises:
        InputError: they cannot be written there.
    """
    content = np.ascontiguousarray(bounds, dtype="<f4").tobytes()
    path = _path(folder, key)
    # Shards on several machines may write the same bounds.
    partial = path.with_name(f"{path.name}.partial-{uuid4().hex}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_bytes(sha256(content).digest() + content)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"first bounds cannot be kept in {folder}: {error}; make room, or name another folder (--bounds-dir)"
        ) from None


def load_bounds(folder: Path, key: str, *, rows: int) -> BoundArray | None:
    """Read the bounds of ``rows`` points, float32 (rows,); ``None`` where there are none yet.

    Raises:
        DataError: the file is damaged.
    """
    path = _path(folder, key)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, numbers = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if sha256(numbers).digest() != digest or len(numbers) != 4 * rows:
        raise DataError(f"{path} is damaged; remove it, and these bounds are computed again")
    return np.frombuffer(numbers, dtype="<f4").astype(np.float32)


def _path(folder: Path, key: str) -> Path:
    return folder / f"{sha256(key.encode()).hexdigest()[:32]}.bounds"
