"""The run folder: where every file of a run lies, and how it is made, refused or gone on with."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from gpnet_ray.campaign.folder_kinds import RUN_HEADER, has_header
from gpnet_ray.campaign.journal import Journal
from gpnet_ray.campaign.rejected import rejected_csv
from gpnet_ray.campaign.surrogate import (
    GP_FILE,
    JOURNAL_FILE,
    LABELLED_FILE,
    NETWORK_FOLDER,
    RETRAINED_FOLDER,
)
from gpnet_ray.config import Config
from gpnet_ray.data.dataset import RejectedMaterial
from gpnet_ray.data.plain_columns import refuse_objects
from gpnet_ray.errors import RunFolderError
from gpnet_ray.output_place import check_folder_can_be_made

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["LABEL_FILES", "NetworkFiles", "RunFolder"]

LABEL_FILES = "label_files"
"""Where what oracles leave of labels is kept, unless the configuration names another place."""


class NetworkFiles:
    """Where one network lies, with its history, the latents that it makes, and the GP on them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.network = path / NETWORK_FOLDER
        self.training_history = path / "training_history.parquet"
        self.training_checkpoint = path / "training_checkpoint.npz"
        self.tensorboard = path / "tensorboard"
        self.latents = path / "latents.parquet"
        self.gp = path / GP_FILE
        self.labelled = path / LABELLED_FILE


class RunFolder(NetworkFiles):
    """Paths and small writers of one run; files are replaced whole, never half-written.

    The network that all strategies start from lies in the folder itself.
    """

    unreadable_advice = "remove it and go on with --resume"
    """What errors say of a file of its own that cannot be read."""

    place_advice = "name another place with --runs-dir or --name"
    """What errors say where the folder cannot be made."""

    config_header = RUN_HEADER
    """First line of its config.yaml: a folder without it is of another kind, or somebody else's."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.config = path / "config.yaml"
        self.split = path / "split.json"
        self.rejected = path / "rejected.csv"
        self.reference = path / "reference.parquet"
        self.materials = path / "materials.parquet"
        self.journal = path / JOURNAL_FILE
        self.metrics = path / "metrics.parquet"
        self.picks = path / "picks.parquet"
        self.retrainings = path / "retrainings.parquet"
        self.predictions = path / "predictions.parquet"
        self.run = path / "run.json"
        self.summary = path / "summary.json"

    def retrained(self, strategy: str, number: int) -> NetworkFiles:
        """The files of an arm's further network; the folder is made."""
        files = NetworkFiles(self.path / RETRAINED_FOLDER / f"{strategy}-{number}")
        files.path.mkdir(parents=True, exist_ok=True)
        return files

    def remove_networks(self, strategy: str, *, after: int) -> None:
        """Remove an arm's networks above a number: what they were trained on no longer holds."""
        for path in (self.path / RETRAINED_FOLDER).glob(f"{strategy}-*"):
            if int(path.name.rpartition("-")[2]) > after:
                shutil.rmtree(path)

    def check_free(self, *, resume: bool, overwrite: bool, stored: str | None = None) -> None:
        """Refuse to touch a folder that holds something, unless the user said what to do with it.

        Args:
            resume: Go on with the run.
            overwrite: Replace it.
            stored: Where the storage has a copy of it, if it has one.

        Raises:
            RunFolderError: the folder holds files and neither option is given; both are given;
                ``resume`` without a run to go on with; ``overwrite`` of what is not a run.
        """
        if resume and overwrite:
            raise RunFolderError("--resume and --overwrite contradict each other; give one of them")
        self._check_place()
        occupied = self.path.is_dir() and any(self.path.iterdir())
        if resume and not self._is_run() and (occupied or stored is None):
            raise RunFolderError(f"{self.path} holds no run to resume; leave out --resume")
        if occupied and not (resume or overwrite):
            raise RunFolderError(
                f"{self.path} exists already; go on with it by --resume, replace it by --overwrite,"
                " or name another run with --name"
            )
        if stored is not None and not (resume or overwrite):
            raise RunFolderError(
                f"{stored} holds a run already; go on with it by --resume, replace it by --overwrite, or"
                " name another run with --name"
            )
        if occupied and overwrite and not self._is_run():
            raise RunFolderError(
                f"{self.path} does not look like a run of gpnet-ray, so it is not overwritten;"
                " remove it by hand or name another run with --name"
            )

    def check_journal(self) -> None:
        """See that there is a journal where a run has left anything that its journal speaks of.

        Raises:
            RunFolderError: it is missing or empty. To go on would buy every label again.
        """
        if self.has_journal():
            return
        of_a_run = (
            self.split,
            self.reference,
            self.labelled,
            self.network,
            self.path / LABEL_FILES,
        )
        found = [path.name for path in of_a_run if path.exists()]
        if found:
            raise RunFolderError(
                f"{self.journal} is missing or empty, but {self.path} holds {', '.join(found)}: what was bought stood"
                " in it. Restore it from a copy, or begin again with --overwrite or another --name"
            )

    def has_journal(self) -> bool:
        """Whether anything was ever written into the journal."""
        return self.journal.is_file() and self.journal.stat().st_size > 0

    def _check_place(self) -> None:
        """Check that the folder is there or can be made."""
        check_folder_can_be_made(self.path, what="run folder", advice=self.place_advice)

    def _is_run(self) -> bool:
        return has_header(self.config, self.config_header)

    def create(self, config: Config, *, overwrite: bool) -> None:
        """Make the folder with the resolved configuration in it.

        Raises:
            RunFolderError: another process has begun here since :meth:`check_free`, or is writing the run that
                is to be overwritten.
        """
        # Minutes may have passed since the first look.
        self.check_free(resume=False, overwrite=overwrite)
        if overwrite and self.path.exists():
            self.remove()
        try:
            self.path.mkdir(parents=True)
        except FileExistsError:
            self.check_free(resume=False, overwrite=False)
        text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
        self.write_text(self.config, self.config_header + text)

    def remove(self) -> None:
        """Remove the run; it leaves its place at once, whatever happens while it is deleted."""
        leaving = self.path.with_name(f".{self.path.name}.removed-{os.getpid()}")
        with ExitStack() as stack:
            for journal in self._journals():
                # Refused while another process writes it, and no other can begin to until the folder has left.
                stack.enter_context(Journal(journal))
            self.path.rename(leaving)
        shutil.rmtree(leaving)

    def _journals(self) -> Iterable[Path]:
        return [self.journal] if self.journal.is_file() else []

    def write_rejected(self, rejected: Iterable[RejectedMaterial]) -> None:
        """Write the table of materials that were left out, with the reasons."""
        self.write_text(self.rejected, rejected_csv(rejected))

    def write_json(self, path: Path, content: Mapping[str, Any]) -> None:
        """Write strict JSON (no NaN), whole or not at all."""
        self.write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")

    def read_json(self, path: Path) -> dict[str, Any]:
        """Read a JSON mapping that this package wrote."""
        try:
            content = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise RunFolderError(
                f"{path} cannot be read ({error}); {self.unreadable_advice}"
            ) from None
        if not isinstance(content, dict):
            raise RunFolderError(f"{path} is not a JSON mapping; {self.unreadable_advice}")
        return content

    def write_table(self, path: Path, table: pa.Table, *, unit: str) -> None:
        """Write a Parquet table with the target's unit in its metadata, whole or not at all."""
        import pyarrow.parquet as pq

        temporary = path.with_suffix(".tmp")
        metadata = {**(table.schema.metadata or {}), b"unit": unit.encode()}
        with temporary.open("wb") as file:
            pq.write_table(table.replace_schema_metadata(metadata), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    def read_table(self, path: Path) -> pa.Table:
        """Read a Parquet table that this package wrote."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path)
            refuse_objects(table.schema)
        except (OSError, pa.ArrowInvalid) as error:
            raise RunFolderError(
                f"{path} cannot be read ({error}); {self.unreadable_advice}"
            ) from None
        return table

    def write_text(self, path: Path, text: str) -> None:
        """Write a text file, whole or not at all."""
        temporary = path.with_name(path.name + ".tmp")
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
