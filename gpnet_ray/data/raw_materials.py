"""What a file holds before any crystal is parsed: checked as a whole first, since parsing is long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gpnet_ray.data.dataset import check_finite, check_unique_ids, name_some
from gpnet_ray.data.structure_parsing import RawStructure
from gpnet_ray.errors import DataError, nearest_name_hint
from gpnet_ray.types import FloatArray

__all__ = [
    "DEFAULT_ID_COLUMN",
    "ColumnNames",
    "RawMaterials",
    "check_columns",
    "id_text",
    "number_or_none",
    "raw_materials",
    "refuse_doubled",
]

DEFAULT_ID_COLUMN = "material_id"
"""The id column where a user names none."""


@dataclass(frozen=True)
class ColumnNames:
    """The names under which a table holds ids, structures, the target and global features.

    ``target`` is ``None`` where no targets are to be read; ``target_may_be_empty`` where a row without
    one is a material that is still to be labelled. Every row has all ``global_features``.
    """

    material_id: str
    structure: str
    target: str | None
    target_may_be_empty: bool = False
    # Not in what is printed, which pools keep a hash of.
    global_features: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        taken = {self.material_id: "ids", self.structure: "structures"}
        for name in self.global_features:
            if name in taken:
                raise DataError(
                    f"the column {name!r} is named as a global feature and holds the {taken[name]}; name"
                    " another one"
                )

    def numeric(self) -> tuple[str, ...]:
        """The columns of numbers that are to be read."""
        return (*(() if self.target is None else (self.target,)), *self.global_features)

    def all(self) -> tuple[str, ...]:
        """All columns that are to be read, each once."""
        return tuple(dict.fromkeys((self.material_id, self.structure, *self.numeric())))


@dataclass(frozen=True)
class RawMaterials:
    """Ids and targets that are checked, with structures that are not parsed yet.

    Attributes:
        ids: n distinct ids.
        structures: n unparsed structures.
        targets: float64 array of shape (n,), finite, or NaN where a target may be empty and is; ``None``
            where none were to be read.
        features: float64 arrays of shape (n,) by the names of the global features, all finite.
        file: the file that they come from.
    """

    ids: tuple[str, ...]
    structures: tuple[RawStructure, ...]
    targets: FloatArray | None
    features: Mapping[str, FloatArray]
    file: str


def check_columns(present: Sequence[str], columns: ColumnNames, *, file: str) -> None:
    """Check that a table has the columns that are to be read, each once.

    Raises:
        DataError: naming the column that is missing, the nearest name, all columns and the option
            that says which one to use; or the column that is there several times.
    """
    refuse_doubled(present, columns, file=file)
    for kind, name, option in (
        ("id", columns.material_id, "--id-column"),
        ("structure", columns.structure, "--structure-column"),
        ("target", columns.target, "--target"),
        *(("numeric", name, "--global-feature") for name in columns.global_features),
    ):
        if name is not None and name not in present:
            raise DataError(
                f"{file} has no {kind} column {name!r}: {nearest_name_hint(name, present)}. "
                f"Name the right one with {option}"
            )


def refuse_doubled(present: Sequence[str], columns: ColumnNames, *, file: str) -> None:
    """Refuse a table in which two columns have a name that is to be read; others may be there as often as they like.

    Raises:
        DataError: naming the columns.
    """
    doubled = [repr(name) for name in columns.all() if present.count(name) > 1]
    if doubled:
        raise DataError(
            f"{file} has more than one column {' and more than one '.join(doubled)}, and which is meant is not"
            " known; remove or rename all but one"
        )


def id_text(value: object) -> str:
    """The id that a value of a file stands for, empty where it is none; the same in whatever reads ids.

    >>> id_text(1), id_text(1.0), id_text(" mp-1 "), id_text(b"mp-1")
    ('1', '1.0', 'mp-1', 'mp-1')

    Raises:
        DataError: bytes that are no UTF-8 text.
    """
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError:
            raise DataError(f"the id {value!r} is no UTF-8 text; save the ids as text") from None
    return "" if value is None else str(value).strip()


def raw_materials(
    *,
    ids: Sequence[object],
    structures: Sequence[RawStructure],
    numbers: Mapping[str, Sequence[object]],
    columns: ColumnNames,
    file: str,
) -> RawMaterials:
    """Check the ids, targets and global features of a whole file.

    Args:
        ids: n ids; numbers become their text.
        structures: n unparsed structures.
        numbers: n values as the file holds them, numbers or text of numbers, for every one of
            ``columns.numeric()``.
        columns: which of these is the target, and whether a row may be without one.
        file: the file, for messages.

    Raises:
        DataError: no rows, a row without id, ids that are duplicates or no text, a target or global feature that is no
            number, is NaN or infinite; the message names file, row (counted from 1) and id.
    """
    if not ids:
        raise DataError(f"{file} has no rows; at least one material is needed")
    try:
        names = tuple(map(id_text, ids))
    except DataError as error:
        raise DataError(f"{file}: {error}") from None
    check_unique_ids(names, where=file)
    target = None
    if columns.target is not None:
        may_be_empty, column = columns.target_may_be_empty, numbers[columns.target]
        what = f"target {columns.target!r}"
        target = _finite(names, column, what, may_be_empty=may_be_empty, file=file)
    features = {
        name: _finite(
            names, numbers[name], f"global feature {name!r}", may_be_empty=False, file=file
        )
        for name in columns.global_features
    }
    return RawMaterials(names, tuple(structures), target, features, file)


def _finite(
    names: Sequence[str], values: Sequence[object], what: str, *, may_be_empty: bool, file: str
) -> FloatArray:
    numbers = np.full(len(names), np.nan)
    not_numbers = []
    for row, (material_id, value) in enumerate(zip(names, values, strict=True), start=1):
        if may_be_empty and _is_empty(value):
            continue
        number = number_or_none(value)
        if number is None:
            not_numbers.append(f"{material_id} (row {row}: {_shown(value)})")
        else:
            numbers[row - 1] = number
    if not_numbers:
        raise DataError(
            f"{file}: {what} is not a number for {name_some(not_numbers)}; "
            "give every row a number or remove the row"
        )
    # NaN is what tables of floating-point numbers hold where a cell is empty.
    given = np.where(np.isnan(numbers), 0.0, numbers) if may_be_empty else numbers
    check_finite(names, given, what=what, where=file)
    return numbers


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def number_or_none(value: object) -> float | None:
    """What a file holds as a number: a number itself or text of one, finite or not; else nothing."""
    # bool is a subclass of int, but a column of true and false is no target to regress on.
    if isinstance(value, bool | np.bool_ | Mapping) or value is None:
        return None
    # Python would pass over an underscore: -1_25 is -125 to it, in text as in bytes.
    if isinstance(value, str | bytes) and "_" in str(value):
        return None
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None


def _shown(value: object) -> str:
    return "empty" if value is None or value == "" else repr(value)[:40]
