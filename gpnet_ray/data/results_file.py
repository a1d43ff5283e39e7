"""The CSV file in which a user writes down what became of the labels that were asked for.

Columns: ``material_id``, ``formula``, ``sigma``, ``predicted``, ``unit``, ``file``, ``request`` and the global features come filled in;
``value``, or ``status`` (failed, unconverged) and ``reason``, are for the user. A row with neither
is one that is still open. Only ``material_id`` and ``value`` have to be there when it is read.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from gpnet_ray.data.csv_head import refuse_semicolons
from gpnet_ray.errors import DataError, nearest_name_hint

__all__ = [
    "FormRow",
    "RefusedRow",
    "Result",
    "ResultStatus",
    "Results",
    "form_text",
    "read_ids",
    "read_results",
]

ResultStatus: TypeAlias = Literal["ok", "failed", "unconverged"]

_STATUSES: tuple[ResultStatus, ...] = ("ok", "failed", "unconverged")
_REQUIRED = ("material_id", "value")
_KNOWN = ("material_id", "formula", "sigma", "predicted", "unit", "file", "request")
_ASKED = ("value", "status", "reason")
_WHOLE = re.compile(r"[+-]?[0-9]+")
# A table program may have made a decimal of it.
_REQUEST = re.compile(r"[0-9]+(\.0*)?")
# What may stand behind a comma in a number: decimals, or thousands, of which there are three digits.
_DECIMALS = re.compile(r"[0-9]+([eE][+-]?[0-9]+)?")
_THOUSANDS = re.compile(r"[0-9]{3}(\.[0-9]*)?([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class FormRow:
    """A label that is asked for; ``sigma`` and ``predicted`` are in the target's unit.

    ``request`` is the number of the request that it belongs to, where they are counted; ``features`` are the
    crystal's global features, by name.
    """

    material_id: str
    formula: str
    sigma: float
    predicted: float
    file: str
    request: int | None = None
    features: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """A row that was filled in; ``value`` is ``None`` unless ``status`` is ok.

    ``request`` is the number of the request that a failure answers, where the file says so.
    """

    line: int
    material_id: str
    status: ResultStatus
    value: float | None
    reason: str
    request: int | None = None


@dataclass(frozen=True)
class RefusedRow:
    """A row that cannot be believed, by its line in the file (the head is line 1)."""

    line: int
    material_id: str
    reason: str


@dataclass(frozen=True)
class Results:
    """What a file says: one result an id, the rows that are refused, and the ids of those still open."""

    rows: tuple[Result, ...]
    refused: tuple[RefusedRow, ...]
    open_ids: tuple[str, ...]

    @property
    def n_open(self) -> int:
        """How many rows are still open."""
        return len(self.open_ids)


class _RefusedError(Exception):
    """Why a row is refused."""


class _Row(NamedTuple):
    """A row as it stands in the file; ``fault`` says what is wrong with how it is cut into cells."""

    line: int
    cells: Mapping[str, str]
    fault: str


def form_text(rows: Iterable[FormRow], *, unit: str, global_features: Sequence[str] = ()) -> str:
    """The text of a CSV file for a user to fill in; every row has the features that are named."""
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow([*_KNOWN, *global_features, *_ASKED])
    for row in rows:
        numbers = (f"{row.sigma:.6g}", f"{row.predicted:.6g}")
        features = [repr(row.features[name]) for name in global_features]
        request = "" if row.request is None else row.request
        known = [row.material_id, row.formula, *numbers, unit, row.file, request, *features]
        table.writerow([*known, *("" for _ in _ASKED)])
    return text.getvalue()


def read_results(path: Path, *, unit: str, stated_unit: str | None = None) -> Results:
    """Read a file that was filled in, wholly or partly.

    Args:
        path: the CSV file (UTF-8, commas, a head with at least ``material_id`` and ``value``).
        unit: the unit that values must have.
        stated_unit: what the user says the unit is, for a file or rows that say nothing.

    Raises:
        DataError: the file cannot be read or has no such head, names a known column twice, or its unit
            is stated to be another. Nothing of it can be taken then. What is wrong in one row is in
            ``refused`` instead.
    """
    if stated_unit is not None and stated_unit != unit:
        raise DataError(
            f"the labels of this campaign are in {unit}, not in {stated_unit}; convert the values"
        )
    rows: list[Result] = []
    refused: list[RefusedRow] = []
    open_ids: list[str] = []
    for row in _rows(path, required=_REQUIRED, once=(*_KNOWN, *_ASKED)):
        try:
            result = _result(row, unit=unit, stated_unit=stated_unit)
        except _RefusedError as error:
            refused.append(RefusedRow(row.line, row.cells.get("material_id", ""), str(error)))
            continue
        if result is None:
            open_ids.append(row.cells["material_id"])
        else:
            rows.append(result)
    rows, contradictions = _one_an_id(rows)
    refused = sorted(refused + contradictions, key=lambda r: r.line)
    return Results(tuple(rows), tuple(refused), tuple(open_ids))


def read_ids(path: Path) -> tuple[str, ...]:
    """Read the ids of a CSV file, each once, in their order; other columns are passed over.

    Raises:
        DataError: the file cannot be read, has no column ``material_id``, or a row without one.
    """
    ids: dict[str, None] = {}
    for line, cells, _ in _rows(path, required=("material_id",)):
        if not cells.get("material_id"):
            raise DataError(f"{path}, line {line}: no material_id; correct the row or remove it")
        ids[cells["material_id"]] = None
    return tuple(ids)


def _rows(path: Path, *, required: Sequence[str], once: Sequence[str] = ()) -> Iterator[_Row]:
    """Every row that is not blank; each column of ``required`` is there, none of ``once`` is twice."""
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a CSV file in UTF-8: {error}") from None
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    try:
        head = [name.strip().lower() for name in next(reader, [])]
        _check_head(head, path, required, once)
        end = reader.line_num
        for row in reader:
            # A quoted cell may span lines; a row is named by its first.
            line, end = end + 1, reader.line_num
            if any(cell.strip() for cell in row):
                cells = [cell.strip() for cell in row]
                fault = _fault(head, cells)
                yield _Row(line, dict(zip(head, cells, strict=False)), fault)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num} is no CSV: {error}") from None


def _check_head(
    head: Sequence[str], path: Path, required: Sequence[str], once: Sequence[str]
) -> None:
    refuse_semicolons(head, path)
    for name in required:
        if head.count(name) != 1:
            raise DataError(
                f"{path}, line 1: {head.count(name)} columns are called {name!r} and one has to be:"
                f" {nearest_name_hint(name, head)}. Use a file that `gpnet-ray ask` or `gpnet-ray pool pick` wrote"
            )
    for name in once:
        if head.count(name) > 1:
            raise DataError(
                f"{path}, line 1: {head.count(name)} columns are called {name!r}, and only one can be"
                " believed; rename or remove the others"
            )


def _fault(head: Sequence[str], cells: Sequence[str]) -> str:
    """What is wrong with how a row is cut into cells; empty where nothing is."""
    if len(cells) > len(head):
        return (
            f"{len(cells)} cells where the head names {len(head)}; write numbers with a point, not a"
            " comma"
        )
    by_name = dict(zip(head, cells, strict=False))
    absent = [name for name in _REQUIRED if name in head and name not in by_name]
    if absent:
        return (
            f"{len(cells)} cells where the head names {len(head)}, so {absent[0]} is missing; add it,"
            " or commas for cells that stay empty"
        )
    return _comma_in_number(head, cells) if "value" in head else ""


def _comma_in_number(head: Sequence[str], cells: Sequence[str]) -> str:
    """What is wrong where a comma in the value made two cells of it; empty where it did not."""
    place = head.index("value") + 1
    value, after = cells[place - 1], "".join(cells[place : place + 1])
    if not _WHOLE.fullmatch(value):
        return ""
    readings = [f"{value}.{after}"] if _DECIMALS.fullmatch(after) else []
    readings += [f"{value}{after}"] if _THOUSANDS.fullmatch(after) else []
    if not readings:
        return ""
    return (
        f"{after} right after the value {value} looks like the rest of a number with a comma in it; write"
        f" {', '.join(readings)}, or {value}.0 where {after} is the cell of the column {head[place]!r}"
    )


def _result(row: _Row, *, unit: str, stated_unit: str | None) -> Result | None:
    if row.fault:
        raise _RefusedError(row.fault)
    line, cells = row.line, row.cells
    material_id, value = cells["material_id"], cells["value"]
    status, reason = cells.get("status", "").lower(), cells.get("reason", "")
    if not material_id:
        raise _RefusedError("no material_id")
    if not value and not status:
        if reason:
            raise _RefusedError("a reason without a status; write failed or unconverged beside it")
        return None
    known: ResultStatus | None = next((s for s in _STATUSES if s == (status or "ok")), None)
    if known is None:
        raise _RefusedError(f"unknown status {status!r}: {nearest_name_hint(status, _STATUSES)}")
    if known != "ok":
        if value:
            raise _RefusedError(f"status {status} and the value {value}; leave one of them empty")
        if not reason:
            raise _RefusedError(f"status {status} without a reason; say in a few words why")
        return Result(line, material_id, known, None, reason, _request(cells.get("request", "")))
    if value and reason:
        raise _RefusedError(
            f"the value {value} and the reason {reason!r}; leave one of them empty, or write the remark"
            " into a column of its own"
        )
    return Result(line, material_id, "ok", _value(value, cells, unit, stated_unit), "")


def _request(text: str) -> int | None:
    if text and not _REQUEST.fullmatch(text):
        raise _RefusedError(
            f"the request {text!r} is no whole number; leave the cell as `gpnet-ray ask` wrote it, or empty"
        )
    return int(text.partition(".")[0]) if text else None


def _value(text: str, cells: Mapping[str, str], unit: str, stated_unit: str | None) -> float:
    if not text:
        raise _RefusedError("status ok without a value")
    if "_" in text:
        # Python would pass over it: -3_06 is -306 to it.
        raise _RefusedError(f"the value {text!r} has an underscore in it; write it with a point")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _RefusedError(
            f"the value {text!r} is not a finite number; report a label that could not be computed"
            " with status failed and a reason"
        )
    row_unit = cells.get("unit") or stated_unit
    if row_unit is None:
        raise _RefusedError(f"no unit; write {unit} into the column unit, or say --unit '{unit}'")
    if row_unit != unit:
        raise _RefusedError(f"the unit is {row_unit} and has to be {unit}; convert the value")
    return value


def _one_an_id(rows: Sequence[Result]) -> tuple[list[Result], list[RefusedRow]]:
    """Rows that repeat each other count once, as the latest request's; of those that contradict each other none is believed."""
    by_id: dict[str, list[Result]] = defaultdict(list)
    for row in rows:
        by_id[row.material_id].append(row)
    agreed: list[Result] = []
    refused: list[RefusedRow] = []
    for material_id, same in by_id.items():
        if len({(row.status, row.value) for row in same}) == 1:
            agreed.append(max(same, key=lambda row: row.request or 0))
            continue
        for row in same:
            others = ", ".join(str(r.line) for r in same if r is not row)
            refused.append(
                RefusedRow(
                    row.line, material_id, f"another answer stands in line {others}; keep one"
                )
            )
    return agreed, refused
