"""The dataset that every other room works on: ids, crystals, and targets where they are known."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gpnet_ray.errors import DataError, InputError
from gpnet_ray.types import FloatArray

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = [
    "NO_LABELS",
    "MaterialsDataset",
    "RejectedMaterial",
    "check_finite",
    "check_unique_ids",
    "name_some",
    "several_ids",
]


NO_LABELS = "none yet"
"""The ``label_note`` of crystals that were read without targets."""


@dataclass(frozen=True)
class RejectedMaterial:
    """A material that was set aside.

    Attributes:
        material_id: its id.
        category: the kind of reason, short and the same for all such materials, such as
            ``disordered``: what they are counted by.
        reason: the detail for this material.
        where: where it stands (file and row), or what found the fault.
    """

    material_id: str
    category: str
    reason: str
    where: str


@dataclass(frozen=True)
class MaterialsDataset:
    """Crystals with ids and, where a dataset brings them, targets.

    Attributes:
        ids: n distinct, non-empty ids.
        structures: n ordered crystals.
        targets: float64 array of shape (n,), in ``unit``, all finite and read-only; ``None`` when
            an oracle computes them.
        target: name of the target quantity.
        unit: unit of the target, such as ``eV/atom``.
        source: where the crystals come from, in plain words.
        label_note: what the labels are, in plain words.
        rejected: materials that were read and set aside.

    Raises:
        DataError: no materials, lengths that differ, empty or duplicate ids, targets of the wrong
            shape, NaN or infinite; the ids are named.
    """

    ids: tuple[str, ...]
    structures: tuple[Structure, ...]
    targets: FloatArray | None
    target: str
    unit: str
    source: str
    label_note: str
    rejected: tuple[RejectedMaterial, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.ids)
        if n == 0:
            raise DataError(f"{self.source}: no materials are left; give at least one valid row")
        if len(self.structures) != n:
            raise DataError(f"{self.source}: {n} ids but {len(self.structures)} structures")
        check_unique_ids(self.ids, where=self.source)
        if self.targets is None:
            return
        targets = np.array(self.targets, dtype=np.float64)
        if targets.shape != (n,):
            raise DataError(
                f"{self.source}: targets have shape {targets.shape}, expected ({n},): one an id"
            )
        check_finite(self.ids, targets, what=f"target {self.target!r}", where=self.source)
        targets.setflags(write=False)
        object.__setattr__(self, "targets", targets)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        labels = "no targets" if self.targets is None else "with targets"
        aside = f", {len(self.rejected)} set aside" if self.rejected else ""
        return (
            f"MaterialsDataset({len(self)} materials, {self.target} in {self.unit}, {labels}{aside},"
            f" source {self.source!r})"
        )

    def select(self, ids: Iterable[str]) -> MaterialsDataset:
        """Return the materials with these ids, in the order of ``ids``.

        Raises:
            DataError: an id that the dataset does not have, or one that is named twice.
            InputError: a single text instead of several ids, or ids that are no text.
        """
        wanted = several_ids(ids)
        rows = [self._row_of(material_id) for material_id in wanted]
        return MaterialsDataset(
            ids=wanted,
            structures=tuple(self.structures[row] for row in rows),
            targets=None if self.targets is None else self.targets[rows],
            target=self.target,
            unit=self.unit,
            source=self.source,
            label_note=self.label_note,
            rejected=self.rejected,
        )

    def formulas(self) -> dict[str, str]:
        """Return the reduced formula (elements only, no charges) of every material by its id."""
        with warnings.catch_warnings():
            # Ordering the elements of a formula asks for electronegativities, which noble gases lack.
            warnings.filterwarnings("ignore", message="No Pauling electronegativity")
            return {
                material_id: structure.composition.element_composition.reduced_formula
                for material_id, structure in zip(self.ids, self.structures, strict=True)
            }

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {material_id: row for row, material_id in enumerate(self.ids)}

    def _row_of(self, material_id: str) -> int:
        try:
            return self._rows[material_id]
        except KeyError:
            raise DataError(f"{self.source}: no material has the id {material_id!r}") from None


def name_some(names: Sequence[str], *, limit: int = 5) -> str:
    """List the first few names and say how many more there are.

    >>> name_some(["a", "b", "c"], limit=2)
    'a, b and 1 more'
    """
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def several_ids(ids: Iterable[str]) -> tuple[str, ...]:
    """Ids that a caller has given, none of them a text that would be read letter by letter.

    >>> several_ids(["mp-353", "mp-1265"])
    ('mp-353', 'mp-1265')

    Raises:
        InputError: a single text, or something that is no text among them.
    """
    if isinstance(ids, str | bytes):
        raise InputError(f"several ids are wanted, not the text {ids!r}; give a list: [{ids!r}]")
    if not isinstance(ids, Iterable):
        raise InputError(f"several ids are wanted, not {ids!r}; give a list of texts")
    given = tuple(ids)
    wrong = next((i for i in given if not isinstance(i, str)), None)
    if wrong is not None:
        raise InputError(
            f"an id is a text, not {wrong!r} ({type(wrong).__name__}); give a list of texts"
        )
    return given


def check_unique_ids(ids: Sequence[str], *, where: str) -> None:
    """Check that ids are non-empty and distinct.

    Raises:
        DataError: naming the rows (counted from 1) without an id, or the duplicate ids.
    """
    empty = [str(row) for row, material_id in enumerate(ids, start=1) if not material_id]
    if empty:
        raise DataError(f"{where}: no id in row {name_some(empty)}; give every material an id")
    repeated = [material_id for material_id, n in Counter(ids).items() if n > 1]
    if repeated:
        raise DataError(
            f"{where}: duplicate ids: {name_some(repeated)}; every material needs an id of its "
            "own, so remove or rename the duplicates"
        )


def check_finite(ids: Sequence[str], values: FloatArray, *, what: str, where: str) -> None:
    """Check that no value is NaN or infinite.

    Args:
        ids: n ids.
        values: float64 array of shape (n,).
        what: what the values are, for the message.
        where: the file, for the message.

    Raises:
        DataError: naming the ids, their rows (counted from 1) and values.
    """
    bad = np.flatnonzero(~np.isfinite(values)).tolist()
    if bad:
        named = [f"{ids[row]} (row {row + 1}: {values[row]})" for row in bad]
        raise DataError(
            f"{where}: {what} is NaN or infinite for {name_some(named)}; "
            "remove these rows or give them numbers"
        )
