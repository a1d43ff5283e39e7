"""Files for simulation codes: the same crystal comes back, whatever its id."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from gpnet_ray.data.structure_files import STRUCTURE_FORMATS, file_stem, write_structure
from gpnet_ray.data.structure_parsing import parse_structure
from gpnet_ray.errors import InputError

# Triclinic, elements mixed in their order, coordinates with no short decimal.
CRYSTAL = Structure(
    Lattice.from_parameters(4.1234567890123, 5.3, 6.7, 71.3, 83.9, 95.1),
    ["O", "Mg", "O", "Ti"],
    [[0, 0, 0], [1 / 3, 2 / 3, 0.1], [0.7, 0.2, 1 / 7], [0.4, 0.9, 0.6]],
)


@pytest.mark.parametrize("fmt", STRUCTURE_FORMATS)
def test_the_file_holds_the_same_crystal(tmp_path: Path, fmt: str) -> None:
    path = write_structure(tmp_path, "mp-1", CRYSTAL, fmt=fmt)  # type: ignore[arg-type]
    assert path.name == f"mp-1.{fmt}"
    back = parse_structure(path).structure
    assert back.composition == CRYSTAL.composition
    # Distances between atoms, by element, do not depend on the order or the setting of the cell.
    # Cell lengths in a CIF have 14 digits; a few digits are lost in the angles' cosines.
    for element in ("Mg", "Ti"):
        before, after = (
            np.sort(s.distance_matrix[[site.specie.symbol for site in s].index(element)])
            for s in (CRYSTAL, back)
        )
        np.testing.assert_allclose(after, before, rtol=0, atol=1e-9)
    assert back.volume == pytest.approx(CRYSTAL.volume, rel=1e-10)


def test_a_poscar_names_each_element_once(tmp_path: Path) -> None:
    path = write_structure(tmp_path, "mp-1", CRYSTAL, fmt="poscar")
    species, counts = path.read_text().splitlines()[5:7]
    assert sorted(zip(species.split(), counts.split(), strict=True)) == [
        ("Mg", "1"),
        ("O", "2"),
        ("Ti", "1"),
    ]


def test_no_id_leads_out_of_the_folder_and_no_two_share_a_file() -> None:
    ids = [
        "../a",
        "a",
        "/a",
        "a/b",
        "a b",
        "a_b",
        ".a",
        "..",
        "",
        "a;rm",
        "ä",
        "β",
        "x" * 300,
        "a.",
    ]
    stems = [file_stem(i) for i in ids]
    assert len(set(stems)) == len(ids)
    for stem in stems:
        assert stem
        assert Path(stem).name == stem
        assert not stem.startswith((".", "-"))
        assert len(stem) <= 100
        assert all(c.isascii() and (c.isalnum() or c in "._+-") for c in stem)


def test_an_unknown_format_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'poscar'"):
        write_structure(tmp_path, "mp-1", CRYSTAL, fmt="poscars")  # type: ignore[arg-type]
