"""A folder of its own for every label, where programs and calculators leave their files."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from gpnet_ray.data.structure_files import file_stem
from gpnet_ray.oracles.settings import KeepFiles

__all__ = ["LabelFolders"]


@dataclass(frozen=True)
class LabelFolders:
    """Makes the folders of labels, and removes those that need not be kept.

    Attributes:
        root: absolute path of the folder that holds them; made when it is needed.
        keep: whether folders of failed labels, all or none stay.
    """

    root: Path
    keep: KeepFiles = "on-failure"

    def make(self, material_id: str) -> Path:
        """Make a new folder named after the id: ``mp-1265``, or ``mp-1265.2`` where an earlier try left the first."""
        self.root.mkdir(parents=True, exist_ok=True)
        name = file_stem(material_id)
        for number in count(1):
            folder = self.root / (name if number == 1 else f"{name}.{number}")
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
        raise AssertionError("unreachable: count() does not end")

    def close(self, folder: Path, *, ok: bool) -> None:
        """Remove the folder unless it is to be kept; ``ok``: it holds a label that succeeded.

        What cannot be removed (files of another user, or on NFS still open) stays, with a warning: the label is
        there, and hours of computing are worth more than a tidy folder.
        """
        if self.keep == "never" or (self.keep == "on-failure" and ok):
            try:
                shutil.rmtree(folder)
            except OSError as error:
                warnings.warn(
                    f"the label's folder {folder} could not be removed ({error}); remove what is left by hand",
                    stacklevel=2,
                )
