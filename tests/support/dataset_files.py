"""The same crystals in every format that is read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas as pd
from pymatgen.core import Structure

from gpnet_ray.data.dataset import MaterialsDataset
from gpnet_ray.data.readers import read_dataset


def write_parquet(path: Path, rows: list[dict[str, object]]) -> Path:
    pd.DataFrame(rows).to_parquet(path)
    return path


def json_rows(crystals: dict[str, Structure], energies: dict[str, float]) -> list[dict]:
    return [
        {"material_id": i, "structure": json.dumps(s.as_dict()), "energy": energies[i]}
        for i, s in crystals.items()
    ]


def read(path: Path, **options: object) -> MaterialsDataset:
    return read_dataset(path, target="energy", unit="eV/atom", **options)


def write_parquet_json(folder: Path, crystals: dict, energies: dict) -> Path:
    return write_parquet(folder / "d.parquet", json_rows(crystals, energies))


def write_parquet_cif(folder: Path, crystals: dict, energies: dict) -> Path:
    rows = json_rows(crystals, energies)
    for row in rows:
        row["structure"] = crystals[row["material_id"]].to(fmt="cif")
    return write_parquet(folder / "d.parquet", rows)


def write_csv(folder: Path, crystals: dict, energies: dict) -> Path:
    rows = [
        {"material_id": i, "structure": s.to(fmt="cif"), "energy": energies[i], "note": "a, b"}
        for i, s in crystals.items()
    ]
    path = folder / "d.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def write_folder(folder: Path, crystals: dict, energies: dict) -> Path:
    root = folder / "cgcnn"
    root.mkdir()
    names = iter(["{}.cif", "{}.poscar", "POSCAR_{}"])
    for material_id, structure in crystals.items():
        name = next(names).format(material_id)
        fmt = "cif" if name.endswith(".cif") else "poscar"
        (root / name).write_text(structure.to(fmt=fmt))
    lines = [f"{material_id},{energies[material_id]}\n" for material_id in crystals]
    (root / "id_prop.csv").write_text("".join(lines))
    return root


def matbench(crystals: dict, energies: dict) -> dict:
    return {
        "index": list(crystals),
        "columns": ["structure", "energy"],
        "data": [[s.as_dict(), energies[i]] for i, s in crystals.items()],
    }


def write_matbench(folder: Path, crystals: dict, energies: dict) -> Path:
    path = folder / "d.json"
    path.write_text(json.dumps(matbench(crystals, energies)))
    return path


def write_matbench_gz(folder: Path, crystals: dict, energies: dict) -> Path:
    path = folder / "d.json.gz"
    with gzip.open(path, "wt") as stream:
        json.dump(matbench(crystals, energies), stream)
    return path


def write_records(folder: Path, crystals: dict, energies: dict) -> Path:
    path = folder / "records.json"
    path.write_text(json.dumps(json_rows(crystals, energies)))
    return path


def write_columns(folder: Path, crystals: dict, energies: dict) -> Path:
    path = folder / "columns.json"
    table = {
        "structure": {i: s.as_dict() for i, s in crystals.items()},
        "energy": {i: energies[i] for i in crystals},
    }
    path.write_text(json.dumps(table))
    return path


def with_pressures(crystals: dict, energies: dict, pressures: list) -> list[dict]:
    made = json_rows(crystals, energies)
    return [{**row, "pressure_GPa": p} for row, p in zip(made, pressures, strict=True)]
