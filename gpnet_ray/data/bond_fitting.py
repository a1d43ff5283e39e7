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

SHORTEST_LOOSE_CONTACT = 1.1
"""An oxide ion nearer than this share of the radii would be one more neighbour of the cation."""

_ROUNDS = 4
_STEP = 0.5
"""Share of the mean bond error by which an atom moves in a round; 1 may oscillate."""


@dataclass(frozen=True)
class FittedCrystal:
    """The outcome of a fit.

    Attributes:
        lattice: float64 array of shape (3, 3), Å, rows are axes.
        positions: float64 array of shape (n, 3), Å, Cartesian.
        misfit: largest relative difference of a bond length from the sum of radii.
        oxide_contact_angstrom: shortest distance of two oxide ions.
        cation_contact_angstrom: shortest distance of two cations.
        loose_contact: shortest distance of a cation and an oxide ion that are not bonded in the
            prototype, relative to the sum of their radii.
    """

    lattice: FloatArray
    positions: FloatArray
    misfit: float
    oxide_contact_angstrom: float
    cation_contact_angstrom: float
    loose_contact: float

    @property
    def is_sound(self) -> bool:
        """Whether the ions fit the prototype: for a perovskite, Goldschmidt's criterion."""
        return (
            self.misfit <= LARGEST_BOND_MISFIT
            and self.oxide_contact_angstrom >= SHORTEST_OXIDE_CONTACT_ANGSTROM
            and self.cation_contact_angstrom >= SHORTEST_CATION_CONTACT_ANGSTROM
            and self.loose_contact >= SHORTEST_LOOSE_CONTACT
        )


def fit_crystal(
    cell: PrototypeCell, lengths_of_sites: FloatArray, strengths_of_sites: FloatArray
) -> FittedCrystal:
    """Fit the cell (a, and c where it is free) and the atoms' positions to bond lengths.

    Args:
        cell: the prototype's cell with b bonds.
        lengths_of_sites: float64 array of shape (n,): wanted length of a cation's bonds, Å.
        strengths_of_sites: float64 array of shape (n,): weight of each of a cation's bonds.
            Neither is read at oxide sites.
    """
    lengths = lengths_of_sites[cell.bonds.first]
    bond_strengths = strengths_of_sites[cell.bonds.first]
    positions, scale = cell.positions, np.ones(3)
    total_pull = np.abs(cell.pull) @ bond_strengths
    for _ in range(_ROUNDS):
        vectors = cell.bonds.vectors(positions)
        scale = _fitted_scale(cell, vectors, lengths, bond_strengths)
        scaled = vectors * scale
        found = np.sqrt(np.einsum("bi,bi->b", scaled, scaled))
        forces = scaled * (bond_strengths * (lengths / found - 1.0))[:, None]
        positions = positions + (cell.pull @ forces) * (_STEP / total_pull[:, None]) / scale
    vectors = cell.bonds.vectors(positions)
    scale = _fitted_scale(cell, vectors, lengths, bond_strengths)
    found = np.sqrt((vectors * vectors) @ (scale * scale))
    return FittedCrystal(
        lattice=cell.lattice * scale,
        positions=positions * scale,
        misfit=float(np.abs(found / lengths - 1.0).max()),
        oxide_contact_angstrom=_shortest(cell.oxide_pairs.vectors(positions) * scale),
        cation_contact_angstrom=_shortest(cell.cation_pairs.vectors(positions) * scale),
        loose_contact=_shortest(
            cell.loose_pairs.vectors(positions)
            * scale
            / lengths_of_sites[cell.loose_pairs.first, None]
        ),
    )


def _fitted_scale(
    cell: PrototypeCell, vectors: FloatArray, lengths: FloatArray, weights: FloatArray
) -> FloatArray:
    """Scale a, and c where it is free, so that the squared bond lengths fit best; shape (3,)."""
    squares = vectors * vectors
    wanted = lengths * lengths
    whole = squares.sum(axis=1)
    common = sqrt(float((weights * whole) @ wanted / ((weights * whole) @ whole)))
    if cell.uniaxial:
        design = np.stack([whole - squares[:, 2], squares[:, 2]])
        weighted = design * weights
        # Two unknowns by Cramer's rule; a solver's call costs more than all the rest.
        (aa, ac), (_, cc) = (weighted @ design.T).tolist()
        a_wanted, c_wanted = (weighted @ wanted).tolist()
        in_plane = (a_wanted * cc - c_wanted * ac) / (aa * cc - ac * ac)
        axial = (c_wanted * aa - a_wanted * ac) / (aa * cc - ac * ac)
        if in_plane > 0 and axial > 0:
            return np.array([sqrt(in_plane), sqrt(in_plane), sqrt(axial)])
        # Lengths that no axis ratio can give: the shape stays, and the misfit will say so.
    return np.array([common, common, common])


def _shortest(vectors: FloatArray) -> float:
    return sqrt(float(np.einsum("pi,pi->p", vectors, vectors).min()))
