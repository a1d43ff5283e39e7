"""Numbers in datasets: what is none is named by its place, and nothing is taken for another number."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.dataset_files import (
    json_rows,
    matbench,
    read,
    with_pressures,
    write_csv,
    write_folder,
    write_matbench,
    write_parquet,
    write_parquet_json,
)

from gpnet_ray.errors import DataError


@pytest.mark.parametrize("value", ["abc", None, True, {"a": 1}])
def test_non_numeric_target_names_row_and_id(value, tmp_path, crystals, energies):
    content = matbench(crystals, energies)
    content["data"][1][1] = value
    path = tmp_path / "d.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"d\.json.*not a number.*mp-2 \(row 2"):
        read(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_or_infinite_target_names_row_and_id(value, tmp_path, crystals, energies):
    energies["mp-5"] = value
    with pytest.raises(DataError, match=r"NaN or infinite.*mp-5 \(row 3"):
        read(write_matbench(tmp_path, crystals, energies))
    with pytest.raises(
        DataError, match=r"NaN or infinite.*mp-5 \(row 3|not a number.*mp-5 \(row 3"
    ):
        read(write_csv(tmp_path, crystals, energies))


@pytest.mark.parametrize("value", ["-3,06", "1,234.5", "-3.06,eV", "-3,,06"])
@pytest.mark.parametrize("with_targets", [True, False])
def test_a_comma_in_a_number_of_a_folder_is_refused_and_not_cut_off(
    value, with_targets, tmp_path, crystals, energies
):
    root = write_folder(tmp_path, crystals, energies)
    table = root / "id_prop.csv"
    table.write_text(f"mp-9,-3.05\n\nmp-5,{value}\n")
    said = rf"id_prop\.csv, line 3: 'mp-5,{value}' has . cells.*point"
    with pytest.raises(DataError, match=said):
        read(root, with_targets=with_targets)
    # Empty cells, as spreadsheets write them, say nothing.
    table.write_text("mp-2,-3.06,, \n")
    assert read(root).targets.tolist() == [-3.06]


@pytest.mark.parametrize(
    "columns", ["material_id,energy,structure", "material_id,structure,energy"]
)
def test_decimal_commas_in_a_table_shift_no_cell_into_another_column(
    columns, tmp_path, crystals, energies
):
    path = tmp_path / "d.csv"
    rows = []
    for number, (i, crystal) in enumerate(crystals.items()):
        quoted = crystal.to(fmt="cif").replace('"', "'")
        cells = {"material_id": i, "energy": f"-{number},06", "structure": f'"{quoted}"'}
        rows.append(",".join(cells[name] for name in columns.split(",")))
    path.write_text("\n".join([columns, *rows, ""]))
    with pytest.raises(DataError, match=r"more cells than the head has names.*point"):
        read(path)


@pytest.mark.parametrize("value", ["-1_25", "1_000.0", "1e1_0"])
@pytest.mark.parametrize("write", [write_parquet_json, write_csv, write_matbench, write_folder])
def test_an_underscore_in_a_number_is_not_passed_over(write, value, tmp_path, crystals, energies):
    path = write(tmp_path, crystals, dict.fromkeys(energies, value))
    with pytest.raises(DataError, match=rf"not a number for .*{value}"):
        read(path)


def test_an_underscore_in_bytes_is_not_passed_over(tmp_path, crystals, energies):
    rows = json_rows(crystals, dict.fromkeys(energies, b"-1_25"))
    with pytest.raises(DataError, match=r"not a number for .*-1_25"):
        read(write_parquet(tmp_path / "d.parquet", rows))


def test_a_table_with_semicolons_is_named_as_that(tmp_path: Path) -> None:
    # As spreadsheets write it where the comma is the decimal sign.
    path = tmp_path / "d.csv"
    path.write_text('material_id;energy;structure\nmp-1;-3,06;"data_x\n_cell"\n')
    with pytest.raises(DataError, match="separates its columns by semicolons; save it with commas"):
        read(path)


def test_a_number_that_no_float_holds_is_no_number(crystals, energies, tmp_path):
    pressures: list[object] = [float(n) for n in range(len(crystals))]
    pressures[1] = 10**400
    path = tmp_path / "d.json"
    path.write_text(json.dumps(with_pressures(crystals, energies, pressures)))
    with pytest.raises(DataError, match=r"'pressure_GPa' is not a number.*row 2"):
        read(path, global_features=["pressure_GPa"])
