"""The run folder: where every file of a run lies, and how it is made, refused or gone on with."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from gpnet_ray.config import Config
from gpnet_ray.data.dataset import RejectedMaterial
from gpnet_ray.errors import RunFolderError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["RunFolder"]


class RunFolder:
    """Paths and small writers of one run; files are replaced whole, never half-written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.split = path / "split.json"
        self.rejected = path / "rejected.csv"
        self.network = path / "network"
        self.training_history = path / "training_history.parquet"
        self.reference = path / "reference.parquet"
        self.latents = path / "latents.parquet"
        self.gp = path / "gp.json"
        self.journal = path / "journal.jsonl"
        self.metrics = path / "metrics.parquet"
        self.picks = path / "picks.parquet"
        self.predictions = path / "predictions.parquet"
        self.run = path / "run.json"
        self.summary = path / "summary.json"

    def check_free(self, *, resume: bool, overwrite: bool) -> None:
        """Refuse to touch a folder that holds something, unless the user said what to do with it.

        Raises:
            RunFolderError: the folder holds files and neither option is given; both are given;
                ``resume`` without a run to go on with; ``overwrite`` of what is not a run.
        """
        if resume and overwrite:
            raise RunFolderError("--resume and --overwrite contradict each other; give one of them")
        if self.path.exists() and not self.path.is_dir():
            raise RunFolderError(f"{self.path} is a file; name another run with --name")
        occupied = self.path.is_dir() and any(self.path.iterdir())
        if resume and not self.config.is_file():
            raise RunFolderError(f"{self.path} holds no run to resume; leave out --resume")
        if occupied and not (resume or overwrite):
            raise RunFolderError(
                f"{self.path} exists already; go on with it by --resume, replace it by --overwrite,"
                " or name another run with --name"
            )
        if occupied and overwrite and not self.config.is_file():
            raise RunFolderError(
                f"{self.path} does not look like a run (no config.yaml), so it is not overwritten;"
                " remove it by hand or name another run with --name"
            )

    def create(self, config: Config, *, overwrite: bool) -> None:
        """Make the folder with the resolved configuration in it."""
        if overwrite and self.path.exists():
            shutil.rmtree(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
        self._write_text(self.config, text)

    def write_rejected(self, rejected: Iterable[RejectedMaterial]) -> None:
        """Write the table of materials that were left out, with the reasons."""
        temporary = self.rejected.with_suffix(".tmp")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["material_id", "where", "reason"])
            table.writerows([r.material_id, r.where, r.reason] for r in rejected)
        temporary.replace(self.rejected)

    def write_json(self, path: Path, content: Mapping[str, Any]) -> None:
        """Write strict JSON (no NaN), whole or not at all."""
        self._write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")

    def read_json(self, path: Path) -> dict[str, Any]:
        """Read a JSON mapping that this package wrote."""
        try:
            content = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise RunFolderError(
                f"{path} cannot be read ({error}); run again with --overwrite"
            ) from None
        if not isinstance(content, dict):
            raise RunFolderError(f"{path} is not a JSON mapping; run again with --overwrite")
        return content

    def write_table(self, path: Path, table: pa.Table, *, unit: str) -> None:
        """Write a Parquet table with the target's unit in its metadata, whole or not at all."""
        import pyarrow.parquet as pq

        temporary = path.with_suffix(".tmp")
        metadata = {**(table.schema.metadata or {}), b"unit": unit.encode()}
        pq.write_table(table.replace_schema_metadata(metadata), temporary)
        temporary.replace(path)

    def _write_text(self, path: Path, text: str) -> None:
        temporary = path.with_name(path.name + ".tmp")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
