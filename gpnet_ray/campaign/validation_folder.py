"""The folder of a validation: every finished fold is a file of its own, which the journal vouches for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpnet_ray.campaign.folder_kinds import VALIDATION_HEADER
from gpnet_ray.campaign.run_folder import RunFolder
from gpnet_ray.data.structure_files import file_stem
from gpnet_ray.errors import RunFolderError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FoldKey", "FoldRecord", "ValidationFolder"]

FoldKey = tuple[str, int]
"""Target, and number of the fold (from 1)."""


@dataclass(frozen=True)
class FoldRecord:
    """How a fold went; its predictions lie in a file.

    Attributes:
        target: Name of the property.
        fold: Number of the fold, from 1.
        n_train: Rows that were learned from.
        n_test: Rows that were held out.
        epochs: Epochs of the network's training.
        validation_mae: Error of the kept network on what training itself held out of the train rows, target's unit.
        hyperparameters: Of the Gaussian process, as JSON.
        recalibration: Of its σ, as JSON.
        warnings: Of their fit.
        seconds: Wall time.
        file: Its predictions, seen from the folder.
        sha256: Of that file.
        best_epoch: The epoch whose weights were kept; 0: those that training began from; ``None``: written before that
            was noted.
    """

    target: str
    fold: int
    n_train: int
    n_test: int
    epochs: int
    validation_mae: float
    hyperparameters: Mapping[str, Any]
    recalibration: Mapping[str, Any]
    warnings: tuple[str, ...]
    seconds: float
    file: str
    sha256: str
    best_epoch: int | None = None

    @property
    def key(self) -> FoldKey:
        """Which fold it is."""
        return self.target, self.fold

    def event(self) -> dict[str, Any]:
        """The record as an event of the journal."""
        return {"event": "fold", **dataclasses.asdict(self), "warnings": list(self.warnings)}

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> FoldRecord:
        """Read an event of the journal back."""
        fields = {f.name: event[f.name] for f in dataclasses.fields(cls) if f.name in event}
        return cls(**{**fields, "warnings": tuple(event["warnings"])})


class ValidationFolder(RunFolder):
    """Paths, writers and readers of one validation."""

    config_header = VALIDATION_HEADER

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.folds = path / "folds"

    def write_fold(self, key: FoldKey, table: pa.Table, *, unit: str) -> tuple[str, str]:
        """Write the predictions of a fold; gives the file, seen from here, and its SHA-256."""
        target, number = key
        path = self.folds / f"{file_stem(target)}-{number}.parquet"
        path.parent.mkdir(exist_ok=True)
        self.write_table(path, table, unit=unit)
        return path.relative_to(self.path).as_posix(), _digest(path)

    def read_fold(self, record: FoldRecord) -> pa.Table:
        """Read the predictions of a finished fold.

        Raises:
            RunFolderError: the file is missing, or is not what was written.
        """
        path = self.path / record.file
        if path.is_file() and _digest(path) != record.sha256:
            raise RunFolderError(
                f"{path} is damaged: it is not what fold {record.fold} of {record.target} wrote; remove"
                " it and go on with --resume, then this fold is done again"
            )
        return self.read_table(path)

    def finished_folds(self, events: Iterable[Mapping[str, Any]]) -> dict[FoldKey, FoldRecord]:
        """Folds that the journal speaks of and whose files are whole; those without a file are to be done again.

        Raises:
            RunFolderError: a file is damaged.
        """
        records = [FoldRecord.of(event) for event in events if event["event"] == "fold"]
        latest = {record.key: record for record in records}
        there = {key: r for key, r in latest.items() if (self.path / r.file).is_file()}
        for record in there.values():
            self.read_fold(record)
        return there


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
