"""Energy of a crystal of point charges with overlapping shells: Ewald sum and Born-Mayer repulsion.

The model, in words: ions with their formal charges attract and repel each other as point charges
(P. P. Ewald, Ann. Phys. 369, 253 (1921)); a cation and an oxide ion that are d apart repel each other
besides with B · |q_i q_j| · exp((r_i + r_j - d) / ρ) (M. Born and J. E. Mayer, Z. Phys. 75, 1 (1932)).
The radii r are Shannon's for sixfold coordination, so that structures choose their own coordination.
Oxide ions have no short-range term among each other, nor have cations: their charges keep them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from gpnet_ray.data.ions import IONS, OXIDE_CHARGE, OXIDE_RADIUS_ANGSTROM, Ion
from gpnet_ray.errors import DataError

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = [
    "BORN_MAYER_LENGTH_ANGSTROM",
    "BORN_MAYER_STRENGTH_EV",
    "IONS_BY_SPECIES",
    "REPULSION_CUTOFF_ANGSTROM",
    "UnsuitableCrystalError",
    "coulomb_energy",
    "ion_radius",
    "repulsion_energy",
]

BORN_MAYER_LENGTH_ANGSTROM = 0.30
"""ρ: as in potentials for oxides (G. V. Lewis and C. R. A. Catlow, J. Phys. C 18, 1149 (1985))."""

BORN_MAYER_STRENGTH_EV = 0.285
"""B, for charges of 1 e: MgO and ZrO2 are then at rest close to the sum of their ionic radii."""

REPULSION_CUTOFF_ANGSTROM = 6.0
"""The largest pair, Cs-O, has fallen to 1e-4 of its value at contact here."""

_OVERLAP = 0.55
"""Ions nearer than this share of the sum of their radii overlap: peroxides (O-O 1.5 Å) among others."""

IONS_BY_SPECIES: Mapping[tuple[str, int], Ion] = {(ion.symbol, ion.charge): ion for ion in IONS}


class UnsuitableCrystalError(DataError):
    """The ionic model cannot describe this crystal; the text is the reason."""


def ion_radius(symbol: str, charge: float) -> float:
    """Return the radius of an ion of the model in Å.

    Raises:
        UnsuitableCrystalError: an ion that the model has no radius for.
    """
    if symbol == "O" and charge == OXIDE_CHARGE:
        return OXIDE_RADIUS_ANGSTROM
    ion = IONS_BY_SPECIES.get((symbol, int(charge))) if charge == int(charge) else None
    if ion is None:
        raise UnsuitableCrystalError(
            f"the ionic model has no ion {symbol} of charge {charge:+g}; it covers O2- and "
            f"{len(IONS)} common cations"
        )
    return ion.octahedral_radius


def coulomb_energy(structure: Structure) -> float:
    """Return the electrostatic energy of a neutral cell in eV.

    Args:
        structure: sites carry oxidation states, which are taken as point charges.
    """
    from pymatgen.analysis.ewald import EwaldSummation

    return float(EwaldSummation(structure).total_energy)


def repulsion_energy(structure: Structure) -> float:
    """Return the Born-Mayer energy of a cell in eV: each cation-oxide pair within 6 Å once.

    Args:
        structure: sites carry oxidation states.

    Raises:
        UnsuitableCrystalError: an ion that the model has no radius for, or ions that overlap.
    """
    first, second, _, distances = structure.get_neighbor_list(REPULSION_CUTOFF_ANGSTROM)
    keys = [(site.specie.symbol, float(site.specie.oxi_state)) for site in structure]
    radius_of = {key: ion_radius(*key) for key in set(keys)}
    charges = np.array([charge for _, charge in keys])
    radii = np.array([radius_of[key] for key in keys])
    contact = radii[first] + radii[second]
    overlapping = np.flatnonzero(distances < _OVERLAP * contact)
    if overlapping.size:
        worst = int(overlapping[0])
        one, other = structure[int(first[worst])], structure[int(second[worst])]
        raise UnsuitableCrystalError(
            f"ions overlap: {one.species_string} and {other.species_string} are "
            f"{distances[worst]:.2f} Å apart"
        )
    products = charges[first] * charges[second]
    exponents = (contact - distances) / BORN_MAYER_LENGTH_ANGSTROM
    energies = np.where(products < 0, -products * np.exp(exponents), 0.0)
    # Every pair is found from either end.
    return BORN_MAYER_STRENGTH_EV * float(energies.sum()) / 2
