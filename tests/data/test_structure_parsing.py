"""A crystal that is read is the one that its file describes, or it is refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from gpnet_ray.data.structure_parsing import BadStructureError, parse_structure


def caesium_chloride(element: str, a_angstrom: float) -> Structure:
    return Structure(Lattice.cubic(a_angstrom), [element, "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def poscar(*, comment: str, elements: str, flags: str = "", behind: tuple[str, str] = ("", "")):
    lines = [comment, "1.0", "2.6 0 0", "0 2.6 0", "0 0 2.6", elements, "1 1"]
    lines += ["Selective dynamics"] if flags else []
    lines += ["Direct", f"0 0 0 {flags} {behind[0]}", f"0.5 0.5 0.5 {flags} {behind[1]}"]
    return "\n".join(line for line in lines if line) + "\n"


@pytest.mark.parametrize("comment", ["made by hand", "Mg O", "Mg1 O1"])
@pytest.mark.parametrize("flags", ["", "T T T"])
def test_a_poscar_file_without_its_line_of_elements_is_refused(
    tmp_path: Path, comment: str, flags: str
) -> None:
    path = tmp_path / "POSCAR"
    path.write_text(poscar(comment=comment, elements="", flags=flags))
    with pytest.raises(BadStructureError, match="add the line of element symbols") as refused:
        parse_structure(path)
    assert refused.value.category == "does not parse"


@pytest.mark.parametrize(("elements", "behind"), [("Mg O", ("", "")), ("", ("Mg", "O"))])
@pytest.mark.parametrize("flags", ["", "T T T"])
def test_elements_are_those_of_their_line_or_those_behind_the_coordinates(
    tmp_path: Path, elements: str, behind: tuple[str, str], flags: str
) -> None:
    path = tmp_path / "POSCAR"
    path.write_text(poscar(comment="O Mg", elements=elements, behind=behind, flags=flags))
    assert [site.specie.symbol for site in parse_structure(path).structure] == ["Mg", "O"]


def test_a_cif_file_with_two_crystals_is_refused_whatever_their_blocks_are_called(
    tmp_path: Path,
) -> None:
    first, second = (caesium_chloride(*of).to(fmt="cif") for of in (("Mg", 2.6), ("Ca", 2.9)))
    for both in (first + second, first + second.replace("data_CaO", "DATA_MgO"), first + first):
        path = tmp_path / "both.cif"
        path.write_text(both)
        for raw in (path, both):
            with pytest.raises(BadStructureError, match="the CIF holds 2 structures; split it"):
                parse_structure(raw)


def test_a_block_without_atoms_is_no_second_crystal() -> None:
    one = caesium_chloride("Mg", 2.6).to(fmt="cif")
    journal = "data_global\n_journal_name_full 'J. Oxides'\n\n"
    for text in (journal + one, one + "\n" + journal):
        assert parse_structure(text).structure.composition.formula == "Mg1 O1"
