"""Every format that the field has its crystals in, and what is wrong with some."""

from __future__ import annotations

import gzip
import json
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Composition, Structure
from support.dataset_files import (
    json_rows,
    matbench,
    read,
    with_pressures,
    write_columns,
    write_csv,
    write_folder,
    write_matbench,
    write_matbench_gz,
    write_parquet,
    write_parquet_cif,
    write_parquet_json,
    write_records,
)
from support.kept_lines import KeptLines

from gpnet_ray.data.readers import read_dataset
from gpnet_ray.errors import DataError


@pytest.mark.parametrize(
    "write",
    [
        write_parquet_json,
        write_parquet_cif,
        write_csv,
        write_folder,
        write_matbench,
        write_matbench_gz,
        write_records,
        write_columns,
    ],
)
def test_every_format_gives_the_same_crystals_and_targets(write, tmp_path, crystals, energies):
    dataset = read(write(tmp_path, crystals, energies))
    assert dataset.ids == tuple(crystals)
    assert dataset.targets is not None
    assert dataset.targets.tolist() == list(energies.values())
    assert dataset.unit == "eV/atom"
    assert dataset.rejected == ()
    for read_back, structure in zip(dataset.structures, crystals.values(), strict=True):
        assert StructureMatcher(scale=False).fit(read_back, structure)


@pytest.mark.parametrize("write", [write_parquet_json, write_csv, write_folder, write_matbench])
def test_crystals_are_read_without_targets_where_labels_are_still_to_be_computed(
    write, tmp_path, crystals, energies
):
    # Values that would be refused as targets are not looked at.
    path = write(tmp_path, crystals, dict.fromkeys(energies, float("nan")))
    dataset = read(path, with_targets=False)
    assert dataset.ids == tuple(crystals)
    assert dataset.targets is None
    assert read_dataset(path, target="not there", unit="eV", with_targets=False).targets is None


def test_matbench_index_numbers_become_ids_as_text(tmp_path, crystals, energies):
    content = matbench(crystals, energies)
    content["index"] = [0, 1, 2]
    path = tmp_path / "d.json"
    path.write_text(json.dumps(content))
    assert read(path).ids == ("0", "1", "2")


@pytest.mark.parametrize("orient", ["split", "columns"])
def test_row_numbers_never_become_ids_of_a_json_table_because_a_name_was_mistyped(
    orient, tmp_path, crystals, energies
):
    made = json_rows(crystals, energies)
    path = tmp_path / "d.json"
    pd.DataFrame(made).rename(columns={"material_id": "mpid"}).to_json(path, orient=orient)
    with pytest.raises(DataError, match=r"(?s)'mp_id'.*did you mean 'mpid'.*leave that out"):
        read(path, id_column="mp_id")
    assert read(path, id_column="mpid").ids == tuple(crystals)
    assert read(path).ids == ("0", "1", "2")


def test_columns_can_be_named(tmp_path, crystals, energies):
    table = pd.DataFrame(json_rows(crystals, energies))
    path = tmp_path / "d.csv"
    table.rename(columns={"material_id": "name", "structure": "cif"}).to_csv(path, index=False)
    with pytest.raises(DataError, match="--id-column"):
        read(path)
    with pytest.raises(DataError, match=r"(?s)Valid: name, cif, energy.*--structure-column"):
        read(path, id_column="name")
    assert read(path, id_column="name", structure_column="cif").ids == tuple(crystals)


def test_missing_file_and_unknown_kind_say_what_is_known(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.parquet does not exist"):
        read(tmp_path / "nowhere.parquet")
    (tmp_path / "d.xlsx").write_text("")
    with pytest.raises(DataError, match=r"d\.xlsx is of no known kind.*\.parquet"):
        read(tmp_path / "d.xlsx")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("d.parquet", "no parquet"),
        ("d.json", "{"),
        ("d.json", "3"),
        ("d.json", '{"index": [1], "columns": ["structure", "energy"], "data": [[1]]}'),
        ("d.json", '{"index": [1, 2], "columns": ["structure", "energy"], "data": []}'),
        ("d.json", "[3]"),
        ("d.json.gz", "not gzipped"),
        ("d.csv", ""),
        ("d.csv", "material_id,structure,energy\n"),
    ],
)
def test_a_damaged_file_is_named(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=name):
        read(tmp_path / name)


@pytest.mark.parametrize("write", [write_csv, write_matbench])
@pytest.mark.parametrize("harm", ["cut off", "damaged"])
def test_a_gzipped_file_that_is_cut_off_or_damaged_is_named(
    write, harm, tmp_path, crystals, energies
):
    plain = write(tmp_path, crystals, energies)
    packed = bytearray(gzip.compress(plain.read_bytes()))
    if harm == "cut off":
        del packed[len(packed) // 2 :]
    else:
        # The first block, behind the 10 bytes of the head, is of a type that there is none of: zlib.error.
        packed[10] |= 0b110
    path = plain.with_name(f"{plain.name}.gz")
    path.write_bytes(packed)
    with pytest.raises(DataError, match=rf"{path.name} cannot be read as"):
        read(path)


@pytest.mark.parametrize("kind", ["parquet", "csv", "json"])
@pytest.mark.parametrize("doubled", ["energy", "structure", "material_id"])
def test_a_column_that_is_there_twice_is_refused_where_it_is_read(
    kind, doubled, tmp_path, crystals, energies
):
    table = pd.DataFrame(json_rows(crystals, energies))
    path = tmp_path / f"d.{kind}"

    def write(twice: str) -> None:
        both = pd.concat([table.assign(note=""), pd.DataFrame({twice: ["x", "y", "z"]})], axis=1)
        if kind == "parquet":
            arrays = [pa.array(both.iloc[:, n]) for n in range(both.shape[1])]
            pq.write_table(pa.Table.from_arrays(arrays, names=list(both.columns)), path)
        elif kind == "csv":
            both.to_csv(path)
        else:
            content = {"index": [0, 1, 2], "columns": list(both.columns)}
            path.write_text(json.dumps({**content, "data": both.to_numpy().tolist()}))

    write(doubled)
    with pytest.raises(DataError, match=f"more than one column '{doubled}'.*rename"):
        read(path)
    write("note")
    assert read(path).ids == tuple(crystals)


def test_missing_target_column_names_the_nearest(tmp_path, crystals, energies):
    path = write_parquet_json(tmp_path, crystals, energies)
    with pytest.raises(DataError, match=r"(?s)'enrgy'.*did you mean 'energy'.*--target"):
        read_dataset(path, target="enrgy", unit="eV/atom")


def test_duplicate_ids_are_named_before_any_structure_is_parsed(tmp_path, crystals, energies):
    rows = json_rows(crystals, energies)
    rows[0]["structure"] = "neither"
    path = write_parquet(tmp_path / "d.parquet", [*rows, rows[1]])
    with pytest.raises(DataError, match=r"duplicate ids: mp-2"):
        read(path, on_bad_structure="error")


def bad_structures(good: Structure) -> dict[str, tuple[str, str | None]]:
    disordered = Structure(good.lattice, [{"Mg": 0.5, "Ca": 0.5}, "O"], [[0, 0, 0], [0.5] * 3])
    heavy = Structure(good.lattice, ["Am", "O"], [[0, 0, 0], [0.5] * 3])
    unknown = json.dumps(good.as_dict()).replace('"Mg"', '"Qq"')
    return {
        "garbage": ("does not parse", "garbage"),
        "empty": ("does not parse", None),
        "cut": ("does not parse", json.dumps(good.as_dict())[:200]),
        "cut-cif": ("does not parse", good.to(fmt="cif")[:300]),
        "nan": ("does not parse", json.dumps(good.as_dict()).replace("0.5", "NaN")),
        "flat": ("does not parse", json.dumps(good.as_dict()).replace("4.21", "0.0")),
        "disordered": ("disordered", json.dumps(disordered.as_dict())),
        "disordered-cif": ("disordered", disordered.to(fmt="cif")),
        "unknown": ("unknown element", unknown),
        "unknown-cif": ("unknown element", good.to(fmt="cif").replace("Mg", "Qq")),
        "heavy": ("unknown element", json.dumps(heavy.as_dict())),
    }


def test_bad_structures_are_set_aside_with_their_reason(tmp_path, crystals, energies):
    bad = bad_structures(crystals["mp-9"])
    rows = json_rows(crystals, energies)
    rows += [{"material_id": i, "structure": text, "energy": 0.0} for i, (_, text) in bad.items()]
    path = write_parquet(tmp_path / "d.parquet", rows)
    dataset = read(path)
    assert dataset.ids == tuple(crystals)
    assert dataset.targets is not None
    assert dataset.targets.tolist() == list(energies.values())
    assert [r.material_id for r in dataset.rejected] == list(bad)
    for rejected, (category, _) in zip(dataset.rejected, bad.values(), strict=True):
        assert rejected.category == category, rejected
        assert rejected.reason
        assert not rejected.reason.startswith(category), rejected
    assert dataset.rejected[0].where == f"{path}, row 4"
    with pytest.raises(DataError, match=r"garbage \(.*row 4\): does not parse"):
        read(path, on_bad_structure="error")


def test_no_usable_structure_at_all_is_an_error(tmp_path, crystals, energies):
    rows = json_rows(crystals, energies)
    for row in rows:
        row["structure"] = "garbage"
    with pytest.raises(DataError, match="none of the 3 structures"):
        read(write_parquet(tmp_path / "d.parquet", rows))


def test_folder_without_list_or_with_missing_files(tmp_path, crystals, energies):
    root = write_folder(tmp_path, crystals, energies)
    (root / "mp-9.cif").unlink()
    with pytest.raises(DataError, match="without a structure file: mp-9"):
        read(root)
    (root / "id_prop.csv").write_text("mp-2\n")
    with pytest.raises(DataError, match=r"line 1: 'mp-2' has no value"):
        read(root)
    (root / "id_prop.csv").unlink()
    with pytest.raises(DataError, match=r"has no id_prop\.csv"):
        read(root)


def test_parser_warnings_become_one_line_a_kind_with_the_count_and_ids(tmp_path, crystals):
    # 0.3333 is rounded to 1/3 by pymatgen's CIF parser, which warns of it for every file.
    cif = crystals["mp-5"].to(fmt="cif").replace("0.50000000", "0.3333")
    rows = [{"material_id": f"m{i}", "structure": cif, "energy": 0.0} for i in range(9)]
    # A crystal that lacks what its formula has is told apart from those, however few there are.
    rows[7]["structure"] = cif.replace("'Sr1 Ti1 O3'", "'Sr1 Ti1 O4'")
    path = write_parquet(tmp_path / "d.parquet", rows)
    progress = KeptLines()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(path, progress=progress)
    assert len(progress.lines) == 2
    assert "1 crystal (m7): Incorrect stoichiometry: CIF={" in progress.lines[0]
    assert "9 crystals (m0, m1, m2, m3, m4 and 4 more): " in progress.lines[1]
    assert "fractional coordinates rounded" in progress.lines[1]


@pytest.mark.skipif(
    "GPNET_RAY_TEST_DATA" not in os.environ,
    reason="GPNET_RAY_TEST_DATA, the folder with mp_oxides_10455.parquet, is not set",
)
def test_the_real_oxides_are_read_whole():
    path = Path(os.environ["GPNET_RAY_TEST_DATA"]) / "mp_oxides_10455.parquet"
    dataset = read_dataset(path, target="formation_energy_per_atom", unit="eV/atom")
    assert len(dataset) == 10455
    table = pd.read_parquet(path, columns=["material_id", "formula", "n_sites"])
    assert [len(s) for s in dataset.structures] == table["n_sites"].tolist()
    # Compared as compositions: pymatgen releases differ in where they put a noble gas.
    found = [Composition(formula) for formula in dataset.formulas().values()]
    assert found == [Composition(formula) for formula in table["formula"]]


@pytest.mark.parametrize("kind", ["parquet", "csv", "json"])
def test_global_features_are_read_into_the_crystals(kind, crystals, energies, tmp_path):
    pressures = [float(n) - 0.5 for n in range(len(crystals))]
    table = pd.DataFrame(with_pressures(crystals, energies, pressures))
    path = tmp_path / f"d.{kind}"
    if kind == "json":
        table.to_json(path, orient="split", index=True)
    else:
        getattr(table, f"to_{kind}")(path, index=False)
    dataset = read(path, global_features=["pressure_GPa"])
    found = [structure.properties["pressure_GPa"] for structure in dataset.structures]
    assert dict(zip(dataset.ids, found, strict=True)) == dict(zip(crystals, pressures, strict=True))
    assert "pressure_GPa" not in read(path).structures[0].properties


@pytest.mark.parametrize("value", [None, np.nan, np.inf, "much"])
def test_a_global_feature_that_is_no_number_is_named_with_its_row(
    value, crystals, energies, tmp_path
):
    pressures: list[object] = [float(n) for n in range(len(crystals))]
    pressures[1] = value
    path = tmp_path / "d.json"
    path.write_text(json.dumps(with_pressures(crystals, energies, pressures)))
    with pytest.raises(DataError, match=rf"'pressure_GPa' is .*{list(crystals)[1]} \(row 2"):
        read(path, global_features=["pressure_GPa"])


@pytest.mark.parametrize(("name", "holds"), [("material_id", "ids"), ("structure", "structures")])
def test_ids_and_crystals_are_no_global_features(name, holds, crystals, energies, tmp_path):
    path = write_parquet(tmp_path / "d.parquet", json_rows(crystals, energies))
    with pytest.raises(DataError, match=f"'{name}' is named as a global feature.*{holds}"):
        read(path, global_features=[name])


def test_a_missing_global_feature_and_a_folder_which_has_none_are_refused(
    crystals, energies, tmp_path
):
    made = with_pressures(crystals, energies, [0.0] * len(crystals))
    table = write_parquet(tmp_path / "d.parquet", made)
    with pytest.raises(DataError, match=r"did you mean 'pressure_GPa'.*--global-feature"):
        read(table, global_features=["presure_GPa"])
    folder = write_folder(tmp_path, crystals, energies)
    with pytest.raises(DataError, match="no columns for the global features pressure_GPa"):
        read(folder, global_features=["pressure_GPa"])
