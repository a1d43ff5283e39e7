"""JSON tables as matbench and pandas write them, plain or gzipped.

Format: https://matbench.materialsproject.org, Dunn et al., npj Comput. Mater. 6, 138 (2020).
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpnet_ray.data.raw_materials import (
    DEFAULT_ID_COLUMN,
    ColumnNames,
    RawMaterials,
    check_columns,
    raw_materials,
    refuse_doubled,
)
from gpnet_ray.errors import DataError, nearest_name_hint

__all__ = ["read_json"]


def read_json(path: Path, columns: ColumnNames) -> RawMaterials:
    """Read a JSON table whose structures are pymatgen dictionaries, their JSON text or CIF text.

    Three layouts of ``pandas.DataFrame.to_json`` are known: ``split`` (matbench: ``index``,
    ``columns``, ``data``), ``records`` (a list of rows) and ``columns`` (a mapping of columns).
    Where a table of the first or last kind has no column ``material_id``, its index gives the ids; an id column
    of another name was asked for and has to be there.

    Raises:
        DataError: not JSON, none of these layouts, or ids, columns or targets that cannot be used.
    """
    content = _load(path)
    if isinstance(content, list):
        table = _from_records(content, file=str(path))
    elif isinstance(content, Mapping) and {"index", "columns", "data"} <= set(content):
        table = _from_split(content, columns, file=str(path))
    elif isinstance(content, Mapping) and all(isinstance(v, Mapping) for v in content.values()):
        table = _from_columns(content, columns, file=str(path))
    else:
        raise DataError(
            f"{path} is not a JSON table: expected index, columns and data as in matbench, a list "
            "of records, or a mapping of columns"
        )
    check_columns(list(table), columns, file=str(path))
    return raw_materials(
        ids=table[columns.material_id],
        structures=table[columns.structure],
        numbers={name: table[name] for name in columns.numeric()},
        columns=columns,
        file=str(path),
    )


def _load(path: Path) -> Any:
    try:
        if path.suffix.lower() == ".gz":
            with gzip.open(path, "rt", encoding="utf-8") as stream:
                return json.load(stream)
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, EOFError, zlib.error, OSError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}") from None


def _from_records(content: list[Any], *, file: str) -> dict[str, list[Any]]:
    for row, record in enumerate(content, start=1):
        if not isinstance(record, Mapping):
            raise DataError(f"{file}, row {row}: a {type(record).__name__}, expected a record")
    names = dict.fromkeys(name for record in content for name in record)
    return {name: [record.get(name) for record in content] for name in names}


def _from_split(
    content: Mapping[str, Any], columns: ColumnNames, *, file: str
) -> dict[str, list[Any]]:
    index, names, data = content["index"], content["columns"], content["data"]
    if not all(isinstance(part, list) for part in (index, names, data)):
        raise DataError(f"{file}: index, columns and data must be lists")
    if len(index) != len(data):
        raise DataError(f"{file}: {len(index)} index entries but {len(data)} rows of data")
    for row, cells in enumerate(data, start=1):
        if not isinstance(cells, list) or len(cells) != len(names):
            raise DataError(f"{file}, row {row}: expected one value for each of {names}")
    refuse_doubled([str(name) for name in names], columns, file=file)
    table = {str(name): [cells[i] for cells in data] for i, name in enumerate(names)}
    return _with_ids(table, index, columns, file=file)


def _from_columns(
    content: Mapping[str, Mapping[str, Any]], columns: ColumnNames, *, file: str
) -> dict[str, list[Any]]:
    keys = list(next(iter(content.values()), {}))
    for name, cells in content.items():
        if list(cells) != keys:
            raise DataError(f"{file}: column {name!r} has other rows than the first column")
    table = {name: list(cells.values()) for name, cells in content.items()}
    return _with_ids(table, keys, columns, file=file)


def _with_ids(
    table: dict[str, list[Any]], index: list[Any], columns: ColumnNames, *, file: str
) -> dict[str, list[Any]]:
    wanted = columns.material_id
    if wanted in table:
        return table
    if wanted != DEFAULT_ID_COLUMN:
        # The index of a table with an id column is mostly the number of the row, which would pass for an id.
        raise DataError(
            f"{file} has no id column {wanted!r}: {nearest_name_hint(wanted, list(table))}. Name the right one"
            " with --id-column, or leave that out: the index of the table gives the ids then"
        )
    return {wanted: index, **table}
