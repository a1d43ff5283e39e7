"""What a file holds before any crystal is parsed: checked as a whole first, since parsing is long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gpnet_ray.data.dataset import check_finite_targets, check_unique_ids, name_some
from gpnet_ray.data.structure_parsing import RawStructure
from gpnet_ray.errors import DataError, nearest_name_hint
from gpnet_ray.types import FloatArray

__all__ = ["ColumnNames", "RawMaterials", "check_columns", "raw_materials"]


@dataclass(frozen=True)
class ColumnNames:
    """The names under which a table holds ids, structures and the target.

    ``target`` is ``None`` where no targets are to be read; ``target_may_be_empty`` where a row without
    one is a material that is still to be labelled.
    """

    material_id: str
    structure: str
    target: str | None
    target_may_be_empty: bool = False


@dataclass(frozen=True)
class RawMaterials:
    """Ids and targets that are checked, with structures that are not parsed yet.

    Attributes:
        ids: n distinct ids.
        structures: n unparsed structures.
        targets: float64 array of shape (n,), finite, or NaN where a target may be empty and is; ``None``
            where none were to be read.
        file: the file that they come from.
    """

    ids: tuple[str, ...]
    structures: tuple[RawStructure, ...]
    targets: FloatArray | None
    file: str


def check_columns(present: Sequence[str], columns: ColumnNames, *, file: str) -> None:
    """Check that a table has the columns that are to be read.

    Raises:
        DataError: naming the column that is missing, the nearest name, all columns and the option
            that says which one to use.
    """
    for kind, name, option in (
        ("id", columns.material_id, "--id-column"),
        ("structure", columns.structure, "--structure-column"),
        ("target", columns.target, "--target"),
    ):
        if name is not None and name not in present:
            raise DataError(
                f"{file} has no {kind} column {name!r}: {nearest_name_hint(name, present)}. "
                f"Name the right one with {option}"
            )


def raw_materials(
    *,
    ids: Sequence[object],
    structures: Sequence[RawStructure],
    targets: Sequence[object] | None,
    columns: ColumnNames,
    file: str,
) -> RawMaterials:
    """Check the ids and targets of a whole file.

    Args:
        ids: n ids; numbers become their text.
        structures: n unparsed structures.
        targets: n values as the file holds them: numbers, or text of numbers; ``None``: none are read.
        columns: name of the target, for messages, and whether a row may be without one.
        file: the file, for messages.

    Raises:
        DataError: no rows, a row without id, duplicate ids, a target that is no number, is NaN or
            infinite; the message names file, row (counted from 1) and id.
    """
    if not ids:
        raise DataError(f"{file} has no rows; at least one material is needed")
    names = tuple("" if value is None else str(value).strip() for value in ids)
    check_unique_ids(names, where=file)
    numbers = None if targets is None else _finite(names, targets, columns, file=file)
    return RawMaterials(ids=names, structures=tuple(structures), targets=numbers, file=file)


def _finite(
    names: Sequence[str], targets: Sequence[object], columns: ColumnNames, *, file: str
) -> FloatArray:
    target, may_be_empty = str(columns.target), columns.target_may_be_empty
    numbers = np.full(len(names), np.nan)
    not_numbers = []
    for row, (material_id, value) in enumerate(zip(names, targets, strict=True), start=1):
        if may_be_empty and _is_empty(value):
            continue
        number = _number(value)
        if number is None:
            not_numbers.append(f"{material_id} (row {row}: {_shown(value)})")
        else:
            numbers[row - 1] = number
    if not_numbers:
        raise DataError(
            f"{file}: target {target!r} is not a number for {name_some(not_numbers)}; "
            "give every row a number or remove the row"
        )
    # NaN is what tables of floating-point numbers hold where a cell is empty.
    given = np.where(np.isnan(numbers), 0.0, numbers) if may_be_empty else numbers
    check_finite_targets(names, given, target=target, where=file)
    return numbers


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _number(value: object) -> float | None:
    # bool is a subclass of int, but a column of true and false is no target to regress on.
    if isinstance(value, bool | np.bool_ | Mapping) or value is None:
        return None
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def _shown(value: object) -> str:
    return "empty" if value is None or value == "" else repr(value)[:40]
