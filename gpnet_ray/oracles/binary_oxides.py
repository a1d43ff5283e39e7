"""What the energies of the ionic model are relative to: its own binary oxides."""

from __future__ import annotations

from functools import cache

import numpy as np

from gpnet_ray.data.ions import OXIDE_CHARGE, OXIDE_RADIUS_ANGSTROM, Ion
from gpnet_ray.data.prototype_cells import prototype_cell
from gpnet_ray.data.prototypes import ANION
from gpnet_ray.oracles.ionic_energy import IONS_BY_SPECIES, coulomb_energy, repulsion_energy

__all__ = ["reference_energy"]

_PROTOTYPES_BY_CHARGE = {
    1: ("antifluorite",),
    2: ("rocksalt", "wurtzite"),
    3: ("corundum", "sesquioxide"),
    4: ("cristobalite", "rutile", "fluorite"),
    6: ("reo3",),
}

_COMPANION = IONS_BY_SPECIES["Li", 1]
"""M2O5 has no simple structure: the reference of M5+ is LiMO3 (lithium niobate's) less Li2O / 2."""

_SCALES = np.linspace(0.80, 1.20, 9)
"""Cell sizes that are tried, relative to bonds as long as the sum of the radii."""


@cache
def reference_energy(ion: Ion) -> float:
    """Return the reference energy of a cation in eV: that of its oxide, per cation.

    The oxide is the lowest in energy of one to three simple structures (antifluorite; rock salt,
    wurtzite; corundum, A-type sesquioxide; cristobalite, rutile, fluorite; ReO3), its size at the
    minimum of the model's energy, its shape and coordinates the prototype's.
    """
    if ion.charge == 5:
        return _lowest_energy("lithiumniobate", (_COMPANION, ion)) - reference_energy(_COMPANION)
    return min(_lowest_energy(name, (ion,)) for name in _PROTOTYPES_BY_CHARGE[ion.charge])


def _lowest_energy(prototype: str, cations: tuple[Ion, ...]) -> float:
    """Return the lowest energy over the cell's size, per cation of each sublattice, in eV."""
    from pymatgen.core import Lattice, Species, Structure

    cell = prototype_cell(prototype)
    species = [Species(ANION, OXIDE_CHARGE)] * len(cell.positions)
    wanted = np.zeros(len(cell.positions))
    for ion, sites in zip(cations, cell.sites.values(), strict=False):
        for site in sites:
            species[site] = Species(ion.symbol, ion.charge)
            wanted[site] = ion.octahedral_radius + OXIDE_RADIUS_ANGSTROM
    bonds = np.linalg.norm(cell.bonds.vectors(cell.positions), axis=1)
    size = float(wanted[cell.bonds.first].sum() / bonds.sum())
    coords = cell.positions @ np.linalg.inv(cell.lattice)
    crystals = [Structure(Lattice(cell.lattice * size * s), species, coords) for s in _SCALES]
    coulomb = coulomb_energy(crystals[0]) * _SCALES[0]
    energies = np.array([coulomb / s for s in _SCALES]) + [repulsion_energy(c) for c in crystals]
    return _parabolic_minimum(energies) / len(cell.sites["A"])


def _parabolic_minimum(energies: np.typing.NDArray[np.float64]) -> float:
    """Return the minimum of evenly spaced energies, refined by the parabola through the lowest three."""
    lowest = int(np.clip(energies.argmin(), 1, len(energies) - 2))
    left, middle, right = energies[lowest - 1 : lowest + 2].tolist()
    curvature = left - 2 * middle + right
    return float(middle - (right - left) ** 2 / (8 * curvature))
