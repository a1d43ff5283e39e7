"""One file with labelled materials and candidates: who counts as which."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pymatgen.core import Structure

from gpnet_ray.data.readers import read_dataset, read_partly_labelled
from gpnet_ray.errors import DataError


@pytest.mark.parametrize("kind", ["parquet", "csv", "folder"])
def test_rows_without_a_target_are_the_candidates(
    tmp_path: Path, crystals: dict[str, Structure], kind: str
) -> None:
    path = tmp_path / f"some.{kind}"
    cif = {i: s.to(fmt="cif") for i, s in crystals.items()}
    if kind == "parquet":
        table = {
            "material_id": list(crystals),
            "structure": list(cif.values()),
            "energy": [-3.05, None, float("nan")],
        }
        pq.write_table(pa.table(table), path)
    elif kind == "csv":
        lines = [
            f'{i},"{text.replace(chr(34), chr(34) * 2)}",{value}'
            for (i, text), value in zip(cif.items(), ["-3.05", "", " "], strict=True)
        ]
        path.write_text("material_id,structure,energy\n" + "\n".join(lines) + "\n")
    else:
        path.mkdir()
        for material_id, text in cif.items():
            (path / f"{material_id}.cif").write_text(text)
        (path / "id_prop.csv").write_text("mp-9,-3.05\nmp-2,\nmp-5\n")
    labelled, rest = read_partly_labelled(path, target="energy", unit="eV/atom")
    assert labelled.ids == ("mp-9",)
    assert labelled.targets is not None
    assert labelled.targets.tolist() == [-3.05]
    assert (rest.ids, rest.targets) == (("mp-2", "mp-5"), None)
    # Where every row has to have one, an empty one is still an error.
    with pytest.raises(DataError, match=r"mp-2|mp-5"):
        read_dataset(path, target="energy", unit="eV/atom")


def test_a_partly_labelled_file_needs_both_kinds_and_refuses_what_is_no_number(
    tmp_path: Path, crystals: dict[str, Structure]
) -> None:
    cif = [s.to(fmt="cif") for s in crystals.values()]

    def write(values: list[object]) -> Path:
        path = tmp_path / "some.parquet"
        table = {"material_id": list(crystals), "structure": cif, "energy": values}
        pq.write_table(pa.table(table), path)
        return path

    for values, said in (
        ([1.0, 2.0, 3.0], "no row lacks"),
        ([None, None, None], "no row has"),
        (["1.0", None, "soon"], "soon"),
        ([1.0, None, float("inf")], "mp-5"),
    ):
        with pytest.raises(DataError, match=said):
            read_partly_labelled(write(list(values)), target="energy", unit="eV/atom")
