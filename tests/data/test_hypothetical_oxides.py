from __future__ import annotations

import re
from collections import defaultdict
from itertools import combinations, islice

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from gpnet_ray.data.decorations import decorations
from gpnet_ray.data.hypothetical_oxides import hypothetical_dataset, hypothetical_oxides
from gpnet_ray.data.ions import IONS
from gpnet_ray.data.permutation import permuted_indices
from gpnet_ray.data.prototype_cells import prototype_cell
from gpnet_ray.data.prototypes import PROTOTYPES, prototype_named
from gpnet_ray.errors import InputError


@pytest.fixture(scope="module")
def first_2000() -> list[tuple[str, Structure]]:
    return list(hypothetical_oxides(2000, seed=0))


@pytest.fixture(scope="module")
def mixtures() -> list[tuple[str, Structure]]:
    """Ordered mixtures come after some 3,700 ideal decorations."""
    return list(islice(hypothetical_oxides(4500, seed=0), 4000, None))


def test_asking_for_more_gives_the_same_first_ones(first_2000):
    for (material_id, structure), (long_id, long_structure) in zip(
        hypothetical_oxides(150, seed=0), first_2000, strict=False
    ):
        assert material_id == long_id
        assert structure == long_structure


def test_an_id_means_the_same_crystal_with_any_seed_and_the_order_differs(first_2000):
    other = list(hypothetical_oxides(300, seed=1))
    assert [i for i, _ in other] != [i for i, _ in first_2000[:300]]
    by_id = dict(first_2000)
    shared = [(by_id[i], s) for i, s in other if i in by_id]
    assert len(shared) > 50
    assert all(one == two for one, two in shared)


def test_ids_are_distinct_and_no_two_crystals_are_alike(first_2000, mixtures):
    for materials in (first_2000, mixtures):
        assert len({material_id for material_id, _ in materials}) == len(materials)
    alike = defaultdict(list)
    for material_id, structure in first_2000:
        plain = structure.copy().remove_oxidation_states()
        alike[material_id.split("-")[1], plain.composition.reduced_formula].append(plain)
    pairs = [pair for group in alike.values() for pair in combinations(group, 2)]
    # A few compositions exist with either cation on either site (pyrochlore-V-Mn, -Mn-V).
    assert len(pairs) < 10
    assert not any(StructureMatcher().fit(one, two) for one, two in pairs)


def test_every_crystal_is_neutral_and_an_oxide(first_2000, mixtures):
    for _, structure in [*first_2000, *mixtures]:
        charges = [site.specie.oxi_state for site in structure]
        assert sum(charges) == 0
        for site in structure:
            assert (site.specie.symbol == "O") == (site.specie.oxi_state == -2)


def test_no_two_atoms_are_too_close(first_2000, mixtures):
    # The shortest bond in the table is P-O, 0.17 + 1.40 Å; 12 % misfit leave 1.38 Å.
    for material_id, structure in [*first_2000, *mixtures]:
        _, _, _, distances = structure.get_neighbor_list(3.0)
        assert distances.min() > 1.3, material_id


def test_cells_are_small(first_2000, mixtures):
    sizes = [len(structure) for _, structure in [*first_2000, *mixtures]]
    assert max(sizes) <= 30


def test_prototypes_and_chemistries_are_mixed_from_the_start(first_2000):
    early = [material_id.split("-")[1] for material_id, _ in first_2000[:100]]
    assert len(set(early)) >= 12
    elements = {e for _, s in first_2000[:100] for e in s.composition.element_composition}
    assert len(elements) >= 35
    assert {i.split("-")[1] for i, _ in first_2000} == {p.name for p in PROTOTYPES}


def test_mixtures_hold_two_cations_on_one_sublattice(mixtures):
    for material_id, structure in mixtures:
        sublattices = material_id.split("-")[2:-1]
        elements = [re.findall("[A-Z][a-z]?", part) for part in sublattices]
        assert any(len(part) == 2 for part in elements), material_id
        named = {symbol for part in elements for symbol in part}
        assert {e.symbol for e in structure.composition.element_composition} == {*named, "O"}


def test_an_exhausted_prototype_goes_on_with_strained_variants():
    materials = list(hypothetical_oxides(60, seed=0, prototypes=["antifluorite"]))
    assert len({i for i, _ in materials}) == 60
    by_id = dict(materials)
    ideal, strained = by_id["hyp-antifluorite-Li-0"], by_id["hyp-antifluorite-Li-1"]
    assert strained.composition == ideal.composition
    assert strained != ideal
    # Strain of 2 % and displacements of 0.05 Å (standard deviations) move no atom by an Ångström.
    assert strained.volume == pytest.approx(ideal.volume, rel=0.25)
    assert dict(hypothetical_oxides(60, seed=0, prototypes=["antifluorite"])) == by_id
    other_seed = dict(hypothetical_oxides(60, seed=5, prototypes=["antifluorite"]))
    assert other_seed["hyp-antifluorite-Li-0"] == ideal
    assert other_seed["hyp-antifluorite-Li-1"] != strained


def test_the_generator_is_lazy():
    assert next(hypothetical_oxides(10**9, seed=0))[0].startswith("hyp-")


def test_nonsense_is_refused_at_once():
    with pytest.raises(InputError, match="at least 1"):
        hypothetical_oxides(0, seed=0)
    with pytest.raises(InputError, match="did you mean 'perovskite'"):
        hypothetical_oxides(3, seed=0, prototypes=["perovskit"])


def test_the_dataset_has_no_targets_and_says_what_its_labels_will_be():
    dataset = hypothetical_dataset(20, seed=0)
    assert len(dataset) == 20
    assert dataset.targets is None
    assert "not DFT" in dataset.label_note
    assert dataset.unit == "eV/atom"


@pytest.mark.parametrize(
    ("material_id", "a", "c"),
    [
        # Measured cells (Å) from Wyckoff, Crystal Structures; radii reproduce them to a few percent.
        ("hyp-rocksalt-Mg-0", 4.21, None),
        ("hyp-rutile-Ti-0", 4.594, 2.958),
        ("hyp-wurtzite-Zn-0", 3.250, 5.207),
        ("hyp-corundum-Al-0", 4.759, 12.99),
        ("hyp-anatase-Ti-0", 3.785, 9.514),
        ("hyp-perovskite-Sr-Ti-0", 3.905, None),
        ("hyp-spinel-Mg-Al-0", 8.08, None),
        ("hyp-scheelite-Ca-W-0", 5.243, 11.37),
        ("hyp-zircon-Zr-Si-0", 6.607, 5.982),
        ("hyp-pyrochlore-Gd-Ti-0", 10.18, None),
        ("hyp-k2nif4-Sr-Ti-0", 3.884, 12.74),
    ],
)
def test_cells_come_close_to_the_measured_ones(material_id, a, c):
    prototype = prototype_named(material_id.split("-")[1])
    materials = hypothetical_oxides(5000, seed=0, prototypes=[prototype.name])
    structure = next(s for i, s in materials if i == material_id)
    conventional = structure.get_primitive_structure().to_conventional()
    lengths = sorted({round(x, 2) for x in conventional.lattice.abc})
    # Bond lengths from radii are good to 2 or 3 %; the axes of an anisotropic cell to twice that.
    assert min(abs(x / a - 1) for x in lengths) < 0.06
    if c is not None:
        assert min(abs(x / c - 1) for x in lengths) < 0.06


@pytest.mark.parametrize(
    ("material_id", "bonds"),
    [
        # Shannon's radii by hand, plus 1.40 Å: Mg IV 0.57, Al VI 0.535, Ti VI 0.605, Fe2+ VI 0.78.
        ("hyp-spinel-Mg-Al-0", {("Mg", 4): 1.97, ("Al", 6): 1.935}),
        ("hyp-rutile-Ti-0", {("Ti", 6): 2.005}),
        ("hyp-ilmenite-Ti-Fe-0", {("Fe", 6): 2.18, ("Ti", 6): 2.005}),
    ],
)
def test_bonds_are_as_long_as_the_radii_ask_for(material_id, bonds):
    materials = hypothetical_oxides(5000, seed=0, prototypes=[material_id.split("-")[1]])
    by_elements = {frozenset(i.split("-")): s for i, s in islice(materials, 700)}
    structure = by_elements[frozenset(material_id.split("-"))]
    for (symbol, number), length in bonds.items():
        site = next(s for s in structure if s.specie.symbol == symbol)
        near = sorted(
            n.nn_distance for n in structure.get_neighbors(site, 4) if n.specie.symbol == "O"
        )
        # Free coordinates let every bond fit; four rounds of the fit leave about 1 %.
        assert near[:number] == pytest.approx([length] * number, rel=0.02)


@pytest.mark.parametrize("prototype", PROTOTYPES, ids=lambda p: p.name)
def test_a_prototype_has_its_space_group_and_coordination(prototype):
    cell = prototype_cell(prototype.name)
    names = {"A": "Sr", "B": "Ti", "O": "O"}
    species = [""] * len(cell.positions)
    for sublattice, sites in cell.sites.items():
        for site in sites:
            species[site] = names[sublattice]
    lattice = Lattice(cell.lattice * 5)
    for ordering in ("", *prototype.supercells):
        assert np.linalg.det(prototype_cell(prototype.name, ordering).lattice) > 0
    structure = Structure(lattice, species, cell.positions * 5, coords_are_cartesian=True)
    assert structure.get_space_group_info(symprec=1e-3)[0] == prototype.space_group
    for sublattice, number in prototype.coordination.items():
        site = cell.sites[sublattice][0]
        oxides = [n for n in structure.get_neighbors(structure[site], 12) if n.specie.symbol == "O"]
        lengths = sorted(n.nn_distance for n in oxides)
        # A gap behind the last bond: the next oxide ion is clearly farther away.
        assert lengths[number] > 1.2 * lengths[number - 1]


def test_decorations_are_never_drawn_twice():
    prototype = prototype_named("corundum")
    names = [d.name for d in decorations(prototype, mixed=True, seed=0)]
    assert len(set(names)) == len(names)
    # 27 trivalent ions on four sites: 2+2 counts unordered pairs, 1+3 ordered ones. Besides those,
    # pairs of other charges whose sum is twelve; none of the equal-charge pairs may be missing.
    trivalent = [i for i in IONS if i.charge == 3 and i.fits(6)]
    n_even = sum(1 for name in names if not any(c.isdigit() for c in name.split("-")[1]))
    assert n_even >= len(trivalent) * (len(trivalent) - 1) / 2 * 0.9


@pytest.mark.parametrize("n", [1, 2, 3, 16, 17, 1000])
def test_a_permutation_visits_every_index_once(n):
    visited = list(permuted_indices(n, seed=0, purpose="test"))
    assert sorted(visited) == list(range(n))
    if n > 10:
        assert visited != sorted(visited)
        assert visited != list(permuted_indices(n, seed=1, purpose="test"))


def test_radii_are_shannons():
    from pymatgen.core import Species

    roman = {4: "IV", 6: "VI", 8: "VIII", 12: "XII"}
    for ion in IONS:
        for number, radius in ion.radii:
            if number in roman:
                spin = "High Spin" if ion.symbol in ("Mn", "Fe", "Co", "Cr") else ""
                species = Species(ion.symbol, ion.charge)
                try:
                    expected = species.get_shannon_radius(roman[number], spin=spin)
                except KeyError:
                    expected = species.get_shannon_radius(roman[number], spin="")
                assert radius == pytest.approx(expected, abs=1e-9), ion
