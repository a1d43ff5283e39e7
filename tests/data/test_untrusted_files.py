"""A dataset from somebody else is data: nothing in it is run."""

from __future__ import annotations

import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pymatgen.core import Lattice, Structure

from gpnet_ray.campaign.pool_sources import pool_source
from gpnet_ray.config_layers import load_config
from gpnet_ray.data.plain_columns import refuse_objects
from gpnet_ray.data.readers import read_dataset
from gpnet_ray.data.structure_parsing import parse_structure
from gpnet_ray.errors import DataError, InputError
from gpnet_ray.progress import NullProgress

POOL: dict[str, Any] = {
    "id_column": "material_id",
    "structure_column": "structure",
    "seed": 0,
    "progress": NullProgress(),
}


class Bomb:
    """Makes a file where its pickle is read."""

    def __init__(self, proof: Path) -> None:
        self._proof = proof

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._proof),)


def pickled_column(*values: object) -> pa.Array:
    """As Ray Data writes Python objects; pyarrow knows the type once Ray Data is imported."""
    import ray.data  # noqa: F401
    from ray.data._internal.object_extensions.arrow import ArrowPythonObjectType

    kind = ArrowPythonObjectType()
    return kind.wrap_array(pa.array([pickle.dumps(v) for v in values], kind.storage_type))


@pytest.fixture
def rock_salt() -> dict[str, Any]:
    lattice = Lattice.cubic(4.2)
    return dict(Structure(lattice, ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]).as_dict())


def test_pickles_in_a_parquet_file_are_never_read(tmp_path: Path, rock_salt) -> None:
    proof, path = tmp_path / "it ran", tmp_path / "oxides.parquet"
    text = pa.array([json.dumps(rock_salt)])
    bomb = pickled_column(Bomb(proof))
    for columns in (
        {"material_id": pa.array(["a"]), "structure": bomb},
        {"material_id": bomb, "structure": text},
    ):
        pq.write_table(pa.table({**columns, "energy": pa.array([1.0])}), path)
        for read in (
            lambda: read_dataset(path, target="energy", unit="eV"),
            lambda: pool_source(str(path), **POOL),
        ):
            with pytest.raises(DataError, match=r"arrow_pickled_object.*Python objects"):
                read()
    assert not proof.exists()
    # The file is one that would have run it.
    pq.read_table(path).column("material_id").to_pylist()
    assert proof.exists()


def test_pickles_within_lists_and_structs_are_found_too() -> None:
    kind = pickled_column().type
    for nested in (pa.list_(kind), pa.struct([("a", pa.list_(kind))])):
        with pytest.raises(pa.ArrowInvalid, match="'x' is of the type ray"):
            refuse_objects(pa.schema([("x", nested)]))
    refuse_objects(pa.schema([("x", pa.list_(pa.float32(), 4)), ("y", pa.struct([("a", "i8")]))]))


def test_python_in_a_configuration_file_is_not_run(tmp_path: Path) -> None:
    proof, path = tmp_path / "it ran", tmp_path / "settings.yaml"
    path.write_text(f"name: !!python/object/apply:os.mkdir ['{proof}']\n")
    with pytest.raises(InputError, match="not valid YAML"):
        load_config(file=path)
    assert not proof.exists()


def test_a_class_that_a_site_property_names_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rock_salt
) -> None:
    (tmp_path / "hidden_program.py").write_text("class Thing:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    thing = {"@module": "hidden_program", "@class": "Thing"}
    rock_salt["sites"][0]["properties"] = {"magmom": 5.0, "tag": [1, [thing]], "other": thing}
    parsed = parse_structure(json.dumps(rock_salt))
    assert "hidden_program" not in sys.modules
    assert parsed.structure[0].properties == {"magmom": 5.0}
    for left_out in ("other", "tag"):
        assert f"site property {left_out!r} is not plain data and is left out" in parsed.warnings
    # pymatgen by itself would have imported it.
    Structure.from_dict(rock_salt)
    assert "hidden_program" in sys.modules
    sys.modules.pop("hidden_program")
