"""Tables with one material a row: Parquet, and CSV with a column of CIF text."""

from __future__ import annotations

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
        head = pd.read_csv(path, dtype=str, nrows=0).columns
        refuse_semicolons(head, path)
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as error:
        why = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read as CSV: {why}") from None
    if not isinstance(table.index, pd.RangeIndex):
        # To pandas the first cells are names of the rows then, and every other one belongs to the column before.
        raise DataError(
            f"{path}: rows have more cells than the head has names; write numbers with a point, quote cells"
            " that hold a comma, and give every column a name"
        )
    check_columns([str(name) for name in table.columns], columns, file=str(path))
    return raw_materials(
        ids=table[columns.material_id].tolist(),
        structures=table[columns.structure].tolist(),
        numbers={name: table[name].tolist() for name in columns.numeric()},
        columns=columns,
        file=str(path),
    )
