"""First bounds of a pool's files on disk, so that an interrupted computation goes on and a second one reads them.

One file holds the SHA-256 of what comes after it, a hash that stands for the pool's file as it was found to be the
manifest's, and float32 numbers. It is named after all that the bounds depend on, and is either whole or not there.
"""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import numpy as np

from gpnet_ray.data.pool_folder import MappedLatents
from gpnet_ray.errors import DataError, InputError
from gpnet_ray.types import BoundArray

__all__ = ["load_bounds", "save_bounds"]

_DIGEST_BYTES = 32


def save_bounds(folder: Path, key: str, latents: MappedLatents, bounds: BoundArray) -> None:
    """Write the bounds of one file of a pool, under a key of all that they depend on.

    Args:
        folder: Where; made if need be.
        key: What the bounds depend on, the SHA-256 that the manifest says of the file among it.
        latents: The file, whose content has been checked.
        bounds: float32 (m,), of its points, as shares of the prior variance.

    Raises:
        InputError: they cannot be written there.
    """
    content = _digest(latents.stamp) + np.ascontiguousarray(bounds, dtype="<f4").tobytes()
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


def load_bounds(folder: Path, key: str, latents: MappedLatents) -> BoundArray | None:
    """Read the bounds of one file of a pool, float32 (m,); ``None`` where there are none yet.

    The pool's file is read only where it is not as it was when its content was checked: copied, moved, written again, or
    seen from another machine.

    Raises:
        DataError: the bounds are damaged, or the pool's file is not what the manifest says.
    """
    path = _path(folder, key)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, stamp = content[:_DIGEST_BYTES], content[_DIGEST_BYTES : 2 * _DIGEST_BYTES]
    numbers = content[2 * _DIGEST_BYTES :]
    if sha256(content[_DIGEST_BYTES:]).digest() != digest or len(numbers) != 4 * len(latents):
        raise DataError(f"{path} is damaged; remove it, and these bounds are computed again")
    bounds = np.frombuffer(numbers, dtype="<f4").astype(np.float32)
    if stamp != _digest(latents.stamp):
        latents.check_content()
        # A folder that is only read serves as well; the file is then checked again the next time.
        with suppress(InputError):
            save_bounds(folder, key, latents, bounds)
    return bounds


def _digest(text: str) -> bytes:
    return sha256(text.encode()).digest()


def _path(folder: Path, key: str) -> Path:
    return folder / f"{_digest(key).hex()[:32]}.bounds"
