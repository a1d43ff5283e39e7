"""Training that can be interrupted: all that the next epoch depends on, in memory and in a file.

Free of TensorFlow: the actor that trains may be on another node, so the driver writes the file. It is one
``.npz`` of plain arrays, of which one holds the rest as JSON and one a checksum; nothing is pickled.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpnet_ray.errors import InputError
from gpnet_ray.gnn.records import EpochRecord
from gpnet_ray.types import LatentArray

__all__ = ["TrainingCheckpoint", "load_checkpoint"]

_FORMAT = "gpnet_ray training checkpoint"
_VERSION = 1
_ARRAYS = ("weights", "first_moment", "second_moment", "best_weights")


@dataclass(frozen=True, eq=False)
class TrainingCheckpoint:
    """The state of a training between two epochs.

    Attributes:
        fingerprint: hash of settings, data and first weights; another training refuses the checkpoint.
        history: a record of every epoch so far.
        best_epoch: the epoch with the smallest validation MAE so far; 0: the weights that training
            started from.
        best_validation_mae: target's unit.
        weights, first_moment, second_moment: float32 (p,), packed weights and Adam's moments.
        best_weights: float32 (p,).
    """

    fingerprint: str
    history: tuple[EpochRecord, ...]
    best_epoch: int
    best_validation_mae: float
    weights: LatentArray
    first_moment: LatentArray
    second_moment: LatentArray
    best_weights: LatentArray

    def save(self, path: Path) -> None:
        """Write the file; what was there before stays whole until the last moment.

        Raises:
            InputError: it cannot be written.
        """
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        description = {
            "format": _FORMAT,
            "version": _VERSION,
            "fingerprint": self.fingerprint,
            "history": [asdict(record) for record in self.history],
            "best_epoch": self.best_epoch,
            "best_validation_mae": self.best_validation_mae,
        }
        text = json.dumps(description).encode()
        content = BytesIO()
        np.savez(
            content,
            description=np.frombuffer(text, dtype=np.uint8),
            checksum=np.frombuffer(_checksum(text, arrays), dtype=np.uint8),
            **arrays,
        )
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                file.write(content.getvalue())
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            raise InputError(f"cannot write the training checkpoint {path}: {error}") from error


def load_checkpoint(path: Path) -> TrainingCheckpoint:
    """Read what :meth:`TrainingCheckpoint.save` wrote; no pickle is ever read.

    Raises:
        InputError: the file is missing, damaged, or of another version; the message names it.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            content = {name: file[name] for name in file.files}
        text, checksum = content["description"].tobytes(), content["checksum"].tobytes()
        arrays = {name: content[name] for name in _ARRAYS}
        description = json.loads(text)
    except FileNotFoundError:
        raise InputError(f"there is no training checkpoint {path}; train from the start") from None
    except (
        OSError,
        ValueError,
        EOFError,
        KeyError,
        zipfile.BadZipFile,
        NotImplementedError,
    ) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(description, dict) or description.get("format") != _FORMAT:
        raise _damaged(path, "it is not a checkpoint of gpnet_ray")
    if description.get("version") != _VERSION:
        raise InputError(
            f"{path} has format version {description.get('version')!r}, this program reads version "
            f"{_VERSION}; use the gpnet_ray that wrote it, or remove it to train from the start"
        )
    if _checksum(text, arrays) != checksum:
        raise _damaged(path, "its checksum does not match")
    return _from_description(description, arrays)


def _from_description(
    description: Mapping[str, Any], arrays: Mapping[str, LatentArray]
) -> TrainingCheckpoint:
    return TrainingCheckpoint(
        fingerprint=description["fingerprint"],
        history=tuple(EpochRecord(**record) for record in description["history"]),
        best_epoch=description["best_epoch"],
        best_validation_mae=description["best_validation_mae"],
        weights=arrays["weights"],
        first_moment=arrays["first_moment"],
        second_moment=arrays["second_moment"],
        best_weights=arrays["best_weights"],
    )


def _checksum(text: bytes, arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    digest = sha256(text)
    for name in _ARRAYS:
        digest.update(np.ascontiguousarray(arrays[name], dtype="<f4").tobytes())
    return digest.digest()


def _damaged(path: Path, why: str) -> InputError:
    return InputError(
        f"the training checkpoint {path} is damaged ({why}); restore it from a copy, or remove it to "
        "train from the start"
    )
