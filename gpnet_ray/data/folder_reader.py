"""A folder of CIF or POSCAR files beside ``id_prop.csv``, as users of CGCNN have it.

Format: https://github.com/txie-93/cgcnn, Xie and Grossman, Phys. Rev. Lett. 120, 145301 (2018).
"""

from __future__ import annotations

import csv
from pathlib import Path

from gpnet_ray.data.dataset import name_some
from gpnet_ray.data.raw_materials import ColumnNames, RawMaterials, raw_materials
from gpnet_ray.errors import DataError

__all__ = ["ID_PROP", "read_folder"]

ID_PROP = "id_prop.csv"


def read_folder(folder: Path, columns: ColumnNames) -> RawMaterials:
    """Read a folder of ``ID.cif``, ``ID.poscar``, ``ID.vasp`` or ``POSCAR_ID`` files.

    ``id_prop.csv`` has no header; its first column is the id and its second the target, whatever
    the target is called. Where no targets are read, or one may be empty, the first column is enough.

    Raises:
        DataError: no ``id_prop.csv``, global features, for which it has no columns, a row of fewer than two columns, a target that is no finite
            number, duplicate ids, or an id without a structure file.
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
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            rows = [row for row in csv.reader(stream) if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} cannot be read as CSV: {error}") from None
    for number, row in enumerate(rows, start=1):
        if len(row) < 2 and columns.target is not None and not columns.target_may_be_empty:
            raise DataError(f"{table}, row {number}: {row[0]!r} has no value; write id,value")
    ids = [row[0].strip() for row in rows]
    files = [_structure_file(folder, material_id) for material_id in ids]
    without = [material_id for material_id, file in zip(ids, files, strict=True) if file is None]
    materials = raw_materials(
        ids=ids,
        structures=files,
        numbers={name: [(*row, "")[1] for row in rows] for name in columns.numeric()},
        columns=columns,
        file=str(table),
    )
    if without:
        raise DataError(
            f"{table} lists ids without a structure file: {name_some(without)}; add ID.cif, "
            "ID.poscar, ID.vasp or POSCAR_ID beside it, or remove the rows"
        )
    return materials


def _structure_file(folder: Path, material_id: str) -> Path | None:
    names = (
        f"{material_id}.cif",
        f"{material_id}.poscar",
        f"{material_id}.vasp",
        f"POSCAR_{material_id}",
    )
    return next((folder / name for name in names if (folder / name).is_file()), None)
