"""The folder of an ask-and-tell campaign: a run folder with the crystals in it, and a stricter door."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from gpnet_ray.campaign.ask_tell_state import AskTellState
from gpnet_ray.campaign.folder_kinds import ASK_TELL_HEADER, has_header
from gpnet_ray.campaign.identity import science_of
from gpnet_ray.campaign.journal import Journal, read_journal
from gpnet_ray.campaign.run_folder import RunFolder
from gpnet_ray.campaign.surrogate import LABELLED_FILE
from gpnet_ray.config import Config
from gpnet_ray.data.plain_columns import refuse_objects
from gpnet_ray.data.structure_parsing import structure_from_dict, structure_text
from gpnet_ray.errors import RunFolderError

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["UNUSED_SECTIONS", "AskTellFolder"]

UNUSED_SECTIONS = {"split", "retraining", "oracle", "labels", "storage"}
"""Of the configuration: they concern runs that have an oracle."""


class AskTellFolder(RunFolder):
    """Paths, writers and readers of one ask-and-tell campaign."""

    # Nothing is computed again: picks would not follow from what is in the journal.
    unreadable_advice = "restore it from a copy"
    place_advice = "name another folder"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.structures = path / "structures.parquet"
        self.labelled = path / LABELLED_FILE
        self.requests = path / "requests"

    def check_can_begin(self, *, overwrite: bool) -> None:
        """Refuse to begin where something lies, above all labels that somebody has told.

        Raises:
            RunFolderError: the folder is occupied, by something else or by told labels, or cannot be
                made.
        """
        self._check_place()
        if not (self.path.is_dir() and any(self.path.iterdir())):
            return
        if not self.is_own():
            raise RunFolderError(
                f"{self.path} holds something that is no ask-and-tell campaign; name another folder"
            )
        if self.journal.is_file() and AskTellState.of(read_journal(self.journal)).outcomes:
            raise RunFolderError(
                f"{self.path} is a campaign with labels that were told, so it is never overwritten; name"
                " another folder, or remove this one by hand"
            )
        if self.requests.exists() and not self.has_journal():
            raise self._no_journal()
        if not overwrite:
            raise RunFolderError(
                f"{self.path} is a campaign already; replace it by --overwrite or name another folder"
            )

    def begin(self, config: Config, *, overwrite: bool) -> None:
        """Make the folder with the resolved configuration in it.

        Raises:
            RunFolderError: the folder is occupied, or another process is writing the campaign that is to
                be overwritten.
        """
        # Minutes have passed since the first look, and labels may have been told in them.
        self.check_can_begin(overwrite=overwrite)
        if overwrite and self.path.exists():
            self.remove()
        self.path.mkdir(parents=True, exist_ok=True)
        content = config.model_dump(mode="json", exclude=UNUSED_SECTIONS)
        self.write_text(self.config, ASK_TELL_HEADER + yaml.safe_dump(content, sort_keys=False))

    def read_config(self) -> Config:
        """Read the configuration back.

        Raises:
            RunFolderError: the folder holds no ask-and-tell campaign.
        """
        if not self.is_own():
            raise RunFolderError(
                f"{self.path} holds no ask-and-tell campaign; name the folder that `gpnet-ray init` made"
            )
        return Config.model_validate(yaml.safe_load(self.config.read_text("utf-8")))

    def read_state(self, events: Sequence[Mapping[str, Any]], config: Config) -> AskTellState:
        """Replay a journal and check that it belongs to the configuration.

        Raises:
            RunFolderError: the campaign was not set up to its end, or its settings were changed since.
        """
        state = AskTellState.of(events)
        if not state.is_ready:
            raise RunFolderError(
                f"{self.path} was not set up to its end; run `gpnet-ray init` again with --overwrite"
            )
        now, then = science_of(config.science()), science_of(state.run["identity"])
        differ = sorted(key for key in then.keys() & now.keys() if then[key] != now[key])
        if differ:
            listing = "; ".join(f"{key}: {then[key]} then, {now[key]} now" for key in differ)
            raise RunFolderError(
                f"{self.config} was changed after the campaign was made ({listing}); set it back. Only"
                " resources may change"
            )
        return state

    def open_journal(self) -> Journal:
        """Open the journal for writing.

        Raises:
            RunFolderError: there is none, another process has it open, or it is damaged.
        """
        if not self.has_journal():
            raise self._no_journal()
        return Journal(self.journal, advice="see by `gpnet-ray status` what was taken")

    def _no_journal(self) -> RunFolderError:
        if self.requests.exists():
            return RunFolderError(
                f"{self.journal} is missing or empty, and what was told stood in it; restore it from a copy. What"
                f" {self.requests} holds can be told again to a campaign in another folder"
            )
        return RunFolderError(
            f"{self.path} was not set up to its end; run `gpnet-ray init` again with --overwrite"
        )

    def add_structures(self, structures: Mapping[str, Structure], *, unit: str) -> None:
        """Keep crystals beside those that are there; one that is there already is replaced."""
        new = pa.table(
            {
                "material_id": list(structures),
                "structure": [structure_text(s) for s in structures.values()],
            }
        )
        if self.structures.is_file():
            old = self.read_table(self.structures)
            kept = [i not in structures for i in old.column("material_id").to_pylist()]
            new = pa.concat_tables([old.filter(pa.array(kept)), new], promote_options="default")
        self.write_table(self.structures, new, unit=unit)

    def read_structures(self, ids: Sequence[str]) -> dict[str, Structure]:
        """Crystals of some materials, by id.

        Raises:
            RunFolderError: the file is missing, damaged or lacks one.
        """
        try:
            table = pq.read_table(self.structures, filters=[("material_id", "in", list(ids))])
            refuse_objects(table.schema)
        except (OSError, pa.ArrowInvalid) as error:
            raise RunFolderError(
                f"{self.structures} cannot be read ({error}); restore it from a copy"
            ) from None
        text_of = dict(
            zip(
                table.column("material_id").to_pylist(),
                table.column("structure").to_pylist(),
                strict=True,
            )
        )
        missing = [i for i in ids if i not in text_of]
        if missing:
            raise RunFolderError(
                f"{self.structures} lacks {missing[0]!r} and {len(missing) - 1} more; restore it from a copy"
            )
        return {i: structure_from_dict(json.loads(text_of[i])) for i in ids}

    def is_own(self) -> bool:
        """Whether an ask-and-tell campaign lies here."""
        return has_header(self.config, ASK_TELL_HEADER)
