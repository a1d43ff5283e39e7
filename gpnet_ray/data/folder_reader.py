"""A folder of CIF or POSCAR files beside ``id_prop.csv``, as users of CGCNN have it.

Format: https://github.com/txie-93/cgcnn, Xie and Grossman, Phys. Rev. Lett. 120, 145301 (2018).
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from gpnet_ray.data.dataset import name_some
from gpnet_ray.data.raw_materials import ColumnNames, RawMaterials, raw_materials
from gpnet_ray.errors import DataError

__all__ = ["ID_PROP", "read_folder"]

ID_PROP = "id_prop.csv"


def read_folder(folder: Path, columns: ColumnNames) -> RawMaterials:
    """Read a folder of ``ID.cif``, ``ID.poscar``, ``ID.vasp`` or ``POSCAR_ID`` files.

    ``id_prop.csv`` has no header and two columns: the id, and the target, whatever it is called. Where
    no targets are read, or one may be empty, the first column is enough.

    Raises:
        DataError: no ``id_prop.csv``, global features, for which it has no columns, a row of fewer or more than two columns, a target that
            is no finite number, duplicate ids, or an id without a structure file.
    """
    if columns.global_features:
        raise DataError(
            f"folder {folder}: {ID_PROP} has no columns for the global features"
            f" {', '.join(columns.global_features)}; put crystals and features into a table (Parquet, CSV"
            " or JSON)"
        )
    table = folder / ID_PROP
    if not table.is_file():
        raise DataError(
            f"folder {folder} has no {ID_PROP}; it must list id,value for every structure file"
        )
    needs_value = columns.target is not None and not columns.target_may_be_empty
    rows = [_two_cells(table, line, row, needs_value) for line, row in _rows(table)]
    ids = [material_id for material_id, _ in rows]
    files = [_structure_file(folder, material_id) for material_id in ids]
    without = [material_id for material_id, file in zip(ids, files, strict=True) if file is None]
    materials = raw_materials(
        ids=ids,
        structures=files,
        numbers={name: [value for _, value in rows] for name in columns.numeric()},
        columns=columns,
        file=str(table),
    )
    if without:
        raise DataError(
            f"{table} lists ids without a structure file: {name_some(without)}; add ID.cif, "
            "ID.poscar, ID.vasp or POSCAR_ID beside it, or remove the rows"
        )
    return materials


def _rows(table: Path) -> list[tuple[int, list[str]]]:
    """Every row that is not blank, with the line on which it ends."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} cannot be read as CSV: {error}") from None


def _two_cells(table: Path, line: int, row: Sequence[str], needs_value: bool) -> tuple[str, str]:
    """The id and the value of a row, the value empty where there is none."""
    if len(row) < 2 and needs_value:
        raise DataError(f"{table}, line {line}: {row[0]!r} has no value; write id,value")
    if any(cell.strip() for cell in row[2:]):
        # -3,06 would be -3, and 1,234.5 would be 1.
        raise DataError(
            f"{table}, line {line}: {','.join(row)[:80]!r} has {len(row)} cells and must have two; write"
            " id,value, the value with a point and without commas"
        )
    return row[0].strip(), (*row, "")[1]


def _structure_file(folder: Path, material_id: str) -> Path | None:
    names = (
        f"{material_id}.cif",
        f"{material_id}.poscar",
        f"{material_id}.vasp",
        f"POSCAR_{material_id}",
    )
    return next((folder / name for name in names if (folder / name).is_file()), None)
