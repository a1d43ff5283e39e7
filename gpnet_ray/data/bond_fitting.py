"""Fit a prototype's cell and coordinates to the bond lengths that ionic radii ask for.

Distance least squares (Meier and Villiger, Z. Kristallogr. 129, 411 (1969)): every cation-oxide bond
of the prototype wants the sum of the two ionic radii and pulls with its Pauling bond strength,
charge over coordination number.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from gpnet_ray.data.prototype_cells import PrototypeCell
from gpnet_ray.types import FloatArray

__all__ = ["FittedCrystal", "fit_crystal"]

LARGEST_BOND_MISFIT = 0.12
"""A crystal with a bond this much longer or shorter than the radii ask for is not made."""

SHORTEST_OXIDE_CONTACT_ANGSTROM = 2.2
"""Oxide ions touch at 2.8 Å and come as near as 2.3 Å along the edges that small cations share."""

SHORTEST_CATION_CONTACT_ANGSTROM = 2.2

_ROUNDS = 4
_STEP = 0.5
"""Share of the mean bond error by which an atom moves in a round; 1 may oscillate."""


@dataclass(frozen=True)
class FittedCrystal:
    """The outcome of a fit.

    Attributes:
        lattice: float64 array of shape (3, 3), Å, rows are axes.
        frac_coords: float64 array of shape (n, 3).
        misfit: largest relative difference of a bond length from the sum of radii.
        oxide_contact_angstrom: shortest distance of two oxide ions.
        cation_contact_angstrom: shortest distance of two cations.
    """

    lattice: FloatArray
    frac_coords: FloatArray
    misfit: float
    oxide_contact_angstrom: float
    cation_contact_angstrom: float

    @property
    def is_sound(self) -> bool:
        """Whether the ions fit the prototype: for a perovskite, Goldschmidt's criterion."""
        return (
            self.misfit <= LARGEST_BOND_MISFIT
            and self.oxide_contact_angstrom >= SHORTEST_OXIDE_CONTACT_ANGSTROM
            and self.cation_contact_angstrom >= SHORTEST_CATION_CONTACT_ANGSTROM
        )


def fit_crystal(
    cell: PrototypeCell, lengths: FloatArray, bond_strengths: FloatArray
) -> FittedCrystal:
    """Fit the cell (a, and c where it is free) and the atoms' positions to bond lengths.

    Args:
        cell: the prototype's cell with b bonds.
        lengths: float64 array of shape (b,): wanted bond lengths, Å.
        bond_strengths: float64 array of shape (b,): weights.
    """
    coords = cell.frac_coords
    n = len(coords)
    first, second = cell.bonds.first, cell.bonds.second
    total_pull = np.bincount(first, bond_strengths, n) + np.bincount(second, bond_strengths, n)
    lattice = _fitted_lattice(cell, coords, lengths, bond_strengths)
    for _ in range(_ROUNDS):
        vectors = cell.bonds.vectors(lattice, coords)
        found = np.sqrt(np.einsum("bi,bi->b", vectors, vectors))
        forces = vectors * (bond_strengths * (lengths / found - 1.0))[:, None]
        moves = np.stack(
            [
                np.bincount(second, forces[:, axis], n) - np.bincount(first, forces[:, axis], n)
                for axis in range(3)
            ],
            axis=1,
        )
        coords = coords + (_STEP * moves / total_pull[:, None]) @ np.linalg.inv(lattice)
        lattice = _fitted_lattice(cell, coords, lengths, bond_strengths)
    found = np.linalg.norm(cell.bonds.vectors(lattice, coords), axis=1)
    return FittedCrystal(
        lattice=lattice,
        frac_coords=coords,
        misfit=float(np.abs(found / lengths - 1.0).max()),
        oxide_contact_angstrom=_shortest(cell.oxide_pairs.vectors(lattice, coords)),
        cation_contact_angstrom=_shortest(cell.cation_pairs.vectors(lattice, coords)),
    )


def _fitted_lattice(
    cell: PrototypeCell, coords: FloatArray, lengths: FloatArray, weights: FloatArray
) -> FloatArray:
    """Scale a, and c where it is free, so that the squared bond lengths fit best."""
    vectors = cell.bonds.vectors(cell.lattice, coords)
    squares = vectors * vectors
    wanted = lengths * lengths
    if not cell.uniaxial:
        whole = squares.sum(axis=1)
        scale = float((weights * whole) @ wanted / ((weights * whole) @ whole))
        return cell.lattice * sqrt(scale)
    design = np.stack([squares[:, 0] + squares[:, 1], squares[:, 2]])
    weighted = design * weights
    in_plane, axial = np.linalg.solve(weighted @ design.T, weighted @ wanted)
    # Bonds that no cell can fit give a negative square; the shape then stays as it was and the
    # misfit says so.
    if in_plane <= 0 or axial <= 0:
        return cell.lattice * sqrt(float(wanted.mean() / squares.sum(axis=1).mean()))
    return cell.lattice * np.array([sqrt(in_plane), sqrt(in_plane), sqrt(axial)])


def _shortest(vectors: FloatArray) -> float:
    return float(np.sqrt(np.einsum("pi,pi->p", vectors, vectors).min()))
