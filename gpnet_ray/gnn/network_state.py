"""A trained network as plain arrays: how it is kept in memory, on disk and between processes.

On disk a network is a folder with ``network.json`` (format, configuration, scaling of the target,
checksum) and the weights beside it as ``.npz``. Nothing is pickled.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from gpnet_ray.config import NetworkConfig
from gpnet_ray.errors import InputError
from gpnet_ray.gnn.architecture import weight_shapes
from gpnet_ray.gnn.global_state import StateScaling
from gpnet_ray.gnn.records import KeptEpoch
from gpnet_ray.gnn.trained_rows import TrainedRows
from gpnet_ray.types import BoolArray

__all__ = ["NETWORK_FILE", "NetworkState", "load_network_state"]

NETWORK_FILE = "network.json"

_FORMAT = "gpnet_ray network"
_VERSION = 1

Weights = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class NetworkState:
    """Everything that is needed to predict with a trained network.

    Attributes:
        config: the architecture.
        weights: float32 arrays by the names of :func:`~gpnet_ray.gnn.architecture.weight_shapes`.
        target_mean: what was subtracted from the target before training, in its unit.
        target_scale: what it was divided by then, in its unit; positive.
        target: name of the property.
        unit: its unit.
        state_scaling: what was done to the global features before training, in the order of
            ``config.global_features``.
        held_out_ids: the materials that its training set aside; on them σ is recalibrated. No weight was fitted to
            them, unless ``trained_rows`` has them: then the network that it began from had learned from them.
            Predictions do not depend on them.
        kept: the epoch of its training that these weights are of, with their error; ``None``: not known.
        trained_rows: the rows that its weights were fitted to, as far as that is known. Predictions do not depend on
            them.

    Raises:
        InputError: weights that do not fit the configuration, or a scaling that is not a number.
    """

    config: NetworkConfig
    weights: Weights
    target_mean: float
    target_scale: float
    target: str
    unit: str
    held_out_ids: tuple[str, ...] = ()
    state_scaling: StateScaling = field(default_factory=StateScaling)
    trained_rows: TrainedRows = field(default_factory=TrainedRows)
    kept: KeptEpoch | None = None

    def __post_init__(self) -> None:
        _check_weights(self.weights, self.config)
        if not (np.isfinite(self.target_mean) and 0 < self.target_scale < float("inf")):
            raise InputError(
                f"the target's scaling (mean {self.target_mean}, scale {self.target_scale}) must be "
                "finite and its scale positive; train the network again"
            )

        if len(self.state_scaling.mean) != len(self.config.global_features):
            raise InputError(
                f"{len(self.state_scaling.mean)} global features are scaled and the network has"
                f" {list(self.config.global_features)}; train the network again"
            )

    def fingerprint(self) -> str:
        """Hash all that predictions depend on: the same for equal networks, on every machine."""
        digest = sha256(json.dumps(self._description(), sort_keys=True).encode())
        for name in sorted(self.weights):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(self.weights[name], dtype="<f4").tobytes())
        return digest.hexdigest()

    def held_out(self, ids: Sequence[str]) -> BoolArray:
        """Which of some materials the training set aside, bool (n,) in their order."""
        kept = set(self.held_out_ids)
        return np.array([i in kept for i in ids], dtype=np.bool_)

    def save(self, folder: Path) -> None:
        """Write the network into ``folder``; what was there before stays whole until the last moment.

        Raises:
            InputError: the folder cannot be written.
        """
        content = BytesIO()
        np.savez(content, **self.weights)  # type: ignore[arg-type]
        checksum = sha256(content.getvalue()).hexdigest()
        weights_file = f"weights-{checksum[:12]}.npz"
        description = {
            "format": _FORMAT,
            "version": _VERSION,
            **self._description(),
            "held_out_ids": list(self.held_out_ids),
            "trained_rows": self.trained_rows.to_json(),
            "kept": asdict(self.kept) if self.kept else None,
            "weights_file": weights_file,
            "weights_sha256": checksum,
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write_atomically(folder / weights_file, content.getvalue())
            text = json.dumps(description, indent=2) + "\n"
            _write_atomically(folder / NETWORK_FILE, text.encode())
            for stale in folder.glob("weights-*.npz"):
                if stale.name != weights_file:
                    stale.unlink()
        except OSError as error:
            raise InputError(f"cannot write the network into {folder}: {error}") from error

    def _description(self) -> dict[str, Any]:
        description = {
            "config": self.config.content(),
            "target_mean": self.target_mean,
            "target_scale": self.target_scale,
            "target": self.target,
            "unit": self.unit,
        }
        if self.config.global_features:
            scaling = self.state_scaling
            description |= {"state_mean": scaling.mean, "state_scale": scaling.scale}
        return description


def load_network_state(folder: Path) -> NetworkState:
    """Read a network that :meth:`NetworkState.save` wrote; no pickle is ever read.

    Raises:
        InputError: a file is missing, damaged, of another version, or the weights do not fit the
            configuration; the message names the file.
    """
    path = Path(folder) / NETWORK_FILE
    description = _read_description(path)
    weights_path = path.parent / Path(str(description["weights_file"])).name
    content = _read_bytes(weights_path)
    if sha256(content).hexdigest() != description["weights_sha256"]:
        raise InputError(
            f"{weights_path} is damaged or belongs to another network: its checksum is not the one in "
            f"{path}; copy the folder again or train anew"
        )
    try:
        with np.load(BytesIO(content), allow_pickle=False) as arrays:
            weights = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{weights_path} is not a file of weights: {error}") from error
    try:
        return NetworkState(
            config=NetworkConfig.model_validate(description["config"]),
            weights=weights,
            target_mean=float(description["target_mean"]),
            target_scale=float(description["target_scale"]),
            target=str(description["target"]),
            unit=str(description["unit"]),
            # Networks that were saved before these three were kept do not have them.
            kept=_kept(description.get("kept")),
            trained_rows=TrainedRows.from_json(description.get("trained_rows")),
            held_out_ids=tuple(map(str, description.get("held_out_ids", ()))),
            state_scaling=StateScaling(
                *(
                    tuple(map(float, description.get(key, ())))
                    for key in ("state_mean", "state_scale")
                )
            ),
        )
    except ValidationError as error:
        raise InputError(f"{path} holds no valid network configuration: {error}") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"{path} holds a scaling that is not a number: {error}") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _read_description(path: Path) -> dict[str, Any]:
    try:
        description = json.loads(_read_bytes(path))
    except ValueError as error:
        raise InputError(f"{path} is damaged, it is not valid JSON: {error}") from error
    if not isinstance(description, dict) or description.get("format") != _FORMAT:
        raise InputError(
            f"{path} is not a network of gpnet_ray; name a folder written by 'train' or 'run'"
        )
    if description.get("version") != _VERSION:
        raise InputError(
            f"{path} has format version {description.get('version')!r}, this program reads version "
            f"{_VERSION}; use the gpnet_ray that wrote it or train anew"
        )
    needed = (
        "config",
        "target_mean",
        "target_scale",
        "target",
        "unit",
        "weights_file",
        "weights_sha256",
    )
    missing = [key for key in needed if key not in description]
    if missing:
        raise InputError(f"{path} is damaged, it lacks {', '.join(missing)}")
    return description


def _kept(content: Any) -> KeptEpoch | None:
    if content is None:
        return None
    try:
        return KeptEpoch(int(content["epoch"]), float(content["validation_mae"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"kept is damaged ({error!r}); copy the network again") from None


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"there is no {path}; name the folder of a saved network") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error}") from error


def _check_weights(weights: Mapping[str, npt.NDArray[np.float32]], config: NetworkConfig) -> None:
    expected = weight_shapes(config)
    missing, unknown = expected.keys() - weights.keys(), weights.keys() - expected.keys()
    if missing or unknown:
        raise InputError(
            "weights and configuration do not fit: "
            + "; ".join(
                f"{what} {', '.join(sorted(names)[:3])}{' …' if len(names) > 3 else ''}"
                for what, names in (("missing", missing), ("not expected", unknown))
                if names
            )
        )
    for name, shape in expected.items():
        array = weights[name]
        if array.shape != shape or array.dtype != np.float32:
            raise InputError(
                f"weight {name} must be float32 of shape {shape} for this configuration; "
                f"got {array.dtype} {array.shape}"
            )
        if not np.isfinite(array).all():
            raise InputError(f"weight {name} holds NaN or infinity; train the network again")


def _write_atomically(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
