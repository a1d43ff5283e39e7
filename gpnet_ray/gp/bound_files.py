"""First bounds of a pool's files on disk, so that an interrupted computation goes on and a second one reads them.

One file holds the SHA-256 of its content and then float32 numbers. It is named after all that the bounds depend
on, and is either whole or not there.
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import numpy as np

from gpnet_ray.errors import DataError
from gpnet_ray.types import BoundArray

__all__ = ["load_bounds", "save_bounds"]

_DIGEST_BYTES = 32


def save_bounds(folder: Path, key: str, bounds: BoundArray) -> None:
    """Write the bounds of one file of a pool, under a key of all that they depend on."""
    folder.mkdir(parents=True, exist_ok=True)
    content = np.ascontiguousarray(bounds, dtype="<f4").tobytes()
    path = _path(folder, key)
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    partial.write_bytes(sha256(content).digest() + content)
    partial.replace(path)


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
