"""A surrogate: a trained network with the Gaussian process on its latents, ready to predict with a σ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gpnet_ray.campaign.folder_kinds import instead_of_run
from gpnet_ray.campaign.journal import read_journal
from gpnet_ray.data.dataset import name_some
from gpnet_ray.data.plain_columns import refuse_objects
from gpnet_ray.errors import InputError
from gpnet_ray.gnn.network_state import NETWORK_FILE, NetworkState, load_network_state
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.recalibration import Recalibration
from gpnet_ray.gp.scaling import LatentScaler
from gpnet_ray.latent_columns import latent_column, latent_matrix
from gpnet_ray.types import FloatArray, LatentArray

if TYPE_CHECKING:
    from gpnet_ray.gp.fit_records import FitResult
    from gpnet_ray.gp.posterior import Posterior

__all__ = [
    "GP_FILE",
    "LABELLED_FILE",
    "NETWORK_FOLDER",
    "Surrogate",
    "gp_content",
    "labelled_table",
    "load_network",
    "load_surrogate",
    "networks_trained_again",
]

NETWORK_FOLDER, GP_FILE, LABELLED_FILE = "network", "gp.json", "labelled.parquet"
JOURNAL_FILE = "journal.jsonl"
RETRAINED_FOLDER = "networks"
"""In a run's folder: a surrogate for every time that a strategy trained the network again."""
MEGNET_SUFFIXES = (".hdf5", ".h5")


@dataclass(frozen=True, eq=False)
class Surrogate:
    """All that a prediction with its σ depends on.

    Attributes:
        network: the network.
        scaler: how its latents are scaled.
        hyperparameters: of the Gaussian process on the scaled latents.
        ids: the n labelled materials.
        latents: float32 (n, d), not scaled.
        labels: float64 (n,), target's unit.
        recalibration: how wide intervals are in units of σ; its scale is in the hyperparameters already.

    Raises:
        InputError: arrays that do not fit each other.
    """

    network: NetworkState
    scaler: LatentScaler
    hyperparameters: Hyperparameters
    ids: tuple[str, ...]
    latents: LatentArray
    labels: FloatArray
    recalibration: Recalibration

    def __post_init__(self) -> None:
        n, d = len(self.ids), len(self.scaler.offset)
        if self.latents.shape != (n, d) or self.labels.shape != (n,):
            raise InputError(
                f"{n} labelled materials with latents of shape {self.latents.shape} and labels of shape"
                f" {self.labels.shape}; expected ({n}, {d}) and ({n},)"
            )

    def __repr__(self) -> str:
        n, d = self.latents.shape
        kernel = self.hyperparameters.kernel
        return f"Surrogate({n} labelled materials, latents of width {d}, {kernel} kernel, {self.network!r})"

    def posterior(self) -> Posterior:
        """Factorise the labelled points (imports TensorFlow)."""
        from gpnet_ray.gp.posterior import Posterior

        X = self.scaler.transform(self.latents)
        return Posterior(self.hyperparameters, self.ids, X, self.labels)

    def save(self, folder: Path) -> None:
        """Write the surrogate into a folder: ``network/``, ``gp.json`` and ``labelled.parquet``."""
        self.network.save(folder / NETWORK_FOLDER)
        content = {
            "hyperparameters": self.hyperparameters.to_json(),
            "recalibration": self.recalibration.to_json(),
            "scaler": self.scaler.to_json(),
        }
        (folder / GP_FILE).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
        table = labelled_table(self.ids, self.latents, self.labels)
        unit = {b"unit": self.network.unit.encode()}
        pq.write_table(table.replace_schema_metadata(unit), folder / LABELLED_FILE)


def load_network(path: str | Path) -> NetworkState:
    """Read a network from wherever a user has one.

    Args:
        path: A network's folder, a surrogate's or a run's, or an ``.hdf5`` file that megnet wrote.

    Raises:
        InputError: there is no network, or it cannot be read.
    """
    path = Path(path)
    if path.suffix.lower() in MEGNET_SUFFIXES:
        from gpnet_ray.gnn.pretrained import load_pretrained

        return load_pretrained(path)
    if not path.is_dir():
        raise InputError(
            f"there is no network at {path}; name a folder written by 'train' or 'run', or an .hdf5 file"
            " written by megnet"
        )
    inner = path / NETWORK_FOLDER
    if (inner / NETWORK_FILE).is_file():
        return load_network_state(inner)
    instead = instead_of_run(path)
    if instead is not None:
        raise InputError(instead)
    return load_network_state(path)


def load_surrogate(path: str | Path) -> Surrogate | None:
    """Read the surrogate that ``train`` or a finished ``run`` left in a folder.

    A run's surrogate rests on all labels that the run has bought, whichever strategy asked for them, and on the
    network that all strategies began with; :func:`networks_trained_again` names the later ones.

    Returns:
        ``None`` where there is a network alone, so that no σ can be given.

    Raises:
        InputError: a file is missing or damaged, or the folder is of a run or campaign whose labels are not all in
            it yet.
        RunFolderError: its journal is damaged.
    """
    path = Path(path)
    network = load_network(path)
    if not (path / GP_FILE).is_file():
        return None
    try:
        content = json.loads((path / GP_FILE).read_bytes())
        hyperparameters = Hyperparameters.from_json(content["hyperparameters"])
        recalibration = Recalibration.in_gp_file(content)
        scaler = LatentScaler.from_json(content["scaler"])
        table = pq.read_table(path / LABELLED_FILE)
        refuse_objects(table.schema)
        ids = tuple(table.column("material_id").to_pylist())
        latents = latent_matrix(table.column("latent"))
        labels = np.asarray(table.column("label"), dtype=np.float64)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowInvalid) as error:
        raise InputError(
            f"{path} holds no whole surrogate ({error}); finish the run with --resume, or train again"
        ) from None
    _check_all_labels_are_there(path, ids)
    return Surrogate(network, scaler, hyperparameters, ids, latents, labels, recalibration)


def _check_all_labels_are_there(path: Path, ids: Sequence[str]) -> None:
    """Refuse what would be silently ignored: the table is written at the end, the journal label by label."""
    journal = path / JOURNAL_FILE
    events = read_journal(journal) if journal.is_file() else []
    if not events or events[-1]["event"] == "finished":
        return
    bought = {
        event["outcome"]["material_id"]: None
        for event in events
        if event["event"] == "label" and event["outcome"]["value"] is not None
    }
    there = set(ids)
    missing = [name for name in bought if name not in there]
    if missing:
        raise InputError(
            f"{len(missing)} of the labels in {journal} ({name_some(missing)}) are not in {LABELLED_FILE} yet, and"
            " would be left out: the run goes on or was interrupted. Let it end, or go on with --resume; of a"
            " campaign whose labels are told, end the session that has it open, or run `gpnet-ray ask`"
        )


def networks_trained_again(path: str | Path) -> tuple[Path, ...]:
    """The folders of the surrogates that a run made by training its network again; none elsewhere."""
    found = (Path(path) / RETRAINED_FOLDER).glob(f"*/{GP_FILE}")
    return tuple(sorted(file.parent for file in found))


def gp_content(fit: FitResult, scaler: LatentScaler) -> dict[str, Any]:
    """What the file of a Gaussian process holds: its numbers, and how they were found."""
    return {
        "hyperparameters": fit.hyperparameters.to_json(),
        "recalibration": fit.recalibration.to_json(),
        "scaler": scaler.to_json(),
        "trace": [asdict(step) for step in fit.trace],
        "seconds": fit.seconds,
        "warnings": list(fit.warnings),
    }


def labelled_table(ids: Sequence[str], latents: LatentArray, labels: FloatArray) -> pa.Table:
    """What the Gaussian process rests on: id, latent (n, d; not scaled) and label of every material."""
    columns = {"material_id": list(ids), "latent": latent_column(latents), "label": labels}
    return pa.table(columns)
