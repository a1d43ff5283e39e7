"""Tables with one material a row: Parquet, and CSV with a column of CIF text."""

from __future__ import annotations

import zlib
from pathlib import Path

from gpnet_ray.data.csv_head import refuse_semicolons
from gpnet_ray.data.plain_columns import refuse_objects
from gpnet_ray.data.raw_materials import ColumnNames, RawMaterials, check_columns, raw_materials
from gpnet_ray.errors import DataError

__all__ = ["read_csv", "read_parquet"]


def read_parquet(path: Path, columns: ColumnNames) -> RawMaterials:
    """Read a Parquet table whose structure column holds pymatgen JSON or CIF text.

    Raises:
        DataError: not a Parquet file, or ids, columns or targets that cannot be used.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        refuse_objects(file.schema_arrow)
        check_columns(file.schema_arrow.names, columns, file=str(path))
        table = file.read(columns=list(columns.all()))
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from None
    return raw_materials(
        ids=table.column(columns.material_id).to_pylist(),
        structures=table.column(columns.structure).to_pylist(),
        numbers={name: table.column(name).to_pylist() for name in columns.numeric()},
        columns=columns,
        file=str(path),
    )


def read_csv(path: Path, columns: ColumnNames) -> RawMaterials:
    """Read a CSV table (``.csv`` or ``.csv.gz``) whose structure column holds CIF text or pymatgen JSON.

    Rows in messages are counted from 1 below the header; CIF text spans many lines of the file.

    Raises:
        DataError: not a CSV file, rows of more cells than its head, or ids, columns or targets that cannot
            be used.
    """
    import pandas as pd

    try:
        head = _names(path)
        refuse_semicolons(head, path)
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (
        *(pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError),
        *(EOFError, zlib.error),  # a .csv.gz that is cut off or damaged
    ) as error:
        why = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read as CSV: {why}") from None
    if not isinstance(table.index, pd.RangeIndex):
        # To pandas the first cells are names of the rows then, and every other one belongs to the column before.
        raise DataError(
            f"{path}: rows have more cells than the head has names; write numbers with a point, quote cells"
            " that hold a comma, and give every column a name"
        )
    check_columns(head, columns, file=str(path))
    return raw_materials(
        ids=table[columns.material_id].tolist(),
        structures=table[columns.structure].tolist(),
        numbers={name: table[name].tolist() for name in columns.numeric()},
        columns=columns,
        file=str(path),
    )


def _names(path: Path) -> list[str]:
    """The names of the columns as the file has them: where two are one, pandas would make up others."""
    import pandas as pd

    given = pd.read_csv(path, dtype=str, header=None, nrows=1, keep_default_na=False).iloc[0]
    # A column without a name, such as the index that pandas writes, goes by what pandas calls it.
    made_up = pd.read_csv(path, dtype=str, nrows=0).columns
    return [name or str(other) for name, other in zip(given, made_up, strict=True)]
