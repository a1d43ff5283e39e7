"""The geometry of a prototype that no decoration changes: cell, sites, bonds, near pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import sqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from gpnet_ray.data.prototypes import ANION, Prototype, Supercell, prototype_named
from gpnet_ray.types import FloatArray

if TYPE_CHECKING:
    from pymatgen.symmetry.groups import SpaceGroup

__all__ = ["AtomPairs", "PrototypeCell", "prototype_cell"]

_CENTRING = {
    "P": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "F": ((0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)),
    "I": ((-0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.5, 0.5, -0.5)),
    "R": ((2 / 3, 1 / 3, 1 / 3), (-1 / 3, 1 / 3, 1 / 3), (-1 / 3, -2 / 3, 1 / 3)),
}
"""Primitive axes in terms of the conventional ones, by the first letter of the space group."""

_NEAR = 1.3
"""Pairs of like ions up to this times the shortest such distance are watched for contacts."""


class AtomPairs(NamedTuple):
    """Pairs of atoms: index arrays of shape (p,) and, of shape (p, 3), the second's lattice vector."""

    first: npt.NDArray[np.intp]
    second: npt.NDArray[np.intp]
    translations: FloatArray

    def vectors(self, positions: FloatArray) -> FloatArray:
        """Return the vectors from the first atom to the second, of shape (p, 3).

        Args:
            positions: float64 array of shape (n, 3), Cartesian.
        """
        return positions[self.second] - positions[self.first] + self.translations


@dataclass(frozen=True)
class PrototypeCell:
    """A (super)cell of a prototype with its bonds, for a conventional a of 1.

    Attributes:
        lattice: float64 array of shape (3, 3), rows are axes; z is the unique axis.
        positions: float64 array of shape (n, 3), Cartesian.
        sites: atom indices by sublattice, ``A``, ``B`` and ``O``.
        uniaxial: the axis ratio is free.
        bonds: the b cation-oxide bonds, the cation first.
        pull: float64 array of shape (n, b): 1 where the atom is the bond's oxide, -1 its cation.
        oxide_pairs: near pairs of oxide ions.
        cation_pairs: near pairs of cations.
        loose_pairs: near cation-oxide pairs that are no bonds, the cation first.
    """

    lattice: FloatArray
    positions: FloatArray
    sites: Mapping[str, tuple[int, ...]]
    uniaxial: bool
    bonds: AtomPairs
    pull: FloatArray
    oxide_pairs: AtomPairs
    cation_pairs: AtomPairs
    loose_pairs: AtomPairs


@cache
def prototype_cell(name: str, ordering: str = "") -> PrototypeCell:
    """Build a prototype's primitive cell, or one of its named supercells, with its bonds.

    Raises:
        InputError: no such prototype.
        KeyError: no such supercell.
    """
    prototype = prototype_named(name)
    lattice, coords, sublattices = _primitive(prototype)
    if ordering:
        matrix = prototype.supercells[ordering]
        lattice, coords, sublattices = _supercell(lattice, coords, sublattices, matrix)
    is_oxide = np.array([s == ANION for s in sublattices])
    pairs, lengths = _all_pairs(lattice, coords)
    chosen: list[int] = []
    for site in np.flatnonzero(~is_oxide).tolist():
        number = prototype.coordination[sublattices[site]]
        candidates = np.flatnonzero((pairs.first == site) & is_oxide[pairs.second])
        chosen.extend(candidates[np.argsort(lengths[candidates], kind="stable")[:number]].tolist())
    bonds = _take(pairs, np.array(chosen))
    pull = np.zeros((len(coords), len(chosen)))
    pull[bonds.second, np.arange(len(chosen))] = 1.0
    pull[bonds.first, np.arange(len(chosen))] = -1.0
    return PrototypeCell(
        lattice=lattice,
        positions=coords @ lattice,
        sites={
            name: tuple(i for i, other in enumerate(sublattices) if other == name)
            for name in (*prototype.coordination, ANION)
        },
        uniaxial=prototype.c_over_a is not None and not prototype.rigid_axes,
        bonds=bonds,
        pull=pull,
        oxide_pairs=_near_pairs(pairs, lengths, is_oxide),
        cation_pairs=_near_pairs(pairs, lengths, ~is_oxide),
        loose_pairs=_loose_pairs(pairs, lengths, is_oxide, bonds=np.array(chosen)),
    )


def _primitive(prototype: Prototype) -> tuple[FloatArray, FloatArray, tuple[str, ...]]:
    axes = np.array(_CENTRING[prototype.space_group[0]])
    group = _space_group(prototype.space_group)
    coords: list[FloatArray] = []
    sublattices: list[str] = []
    for sublattice, position in prototype.sites:
        orbit = np.array(group.get_orbit(np.array(position, dtype=float)))
        reduced = _distinct(orbit @ np.linalg.inv(axes))
        coords.extend(reduced)
        sublattices.extend([sublattice] * len(reduced))
    return axes @ _conventional_lattice(prototype), np.array(coords), tuple(sublattices)


@cache
def _space_group(symbol: str) -> SpaceGroup:
    # pymatgen takes 0.3 s to write out the operations of a face-centred cubic group.
    from pymatgen.symmetry.groups import SpaceGroup

    return SpaceGroup(symbol)


def _conventional_lattice(prototype: Prototype) -> FloatArray:
    c = 1.0 if prototype.c_over_a is None else prototype.c_over_a
    if prototype.space_group.startswith(("P6", "R", "P-3")):
        return np.array([[1.0, 0.0, 0.0], [-0.5, sqrt(3) / 2, 0.0], [0.0, 0.0, c]])
    return np.diag([1.0, 1.0, c])


def _supercell(
    lattice: FloatArray, coords: FloatArray, sublattices: tuple[str, ...], matrix: Supercell
) -> tuple[FloatArray, FloatArray, tuple[str, ...]]:
    axes = np.array(matrix, dtype=float)
    copies = round(abs(np.linalg.det(axes)))
    shifts = np.array(list(product(range(-2, 3), repeat=3)), dtype=float)
    images = [_distinct((point + shifts) @ np.linalg.inv(axes)) for point in coords]
    if any(len(points) != copies for points in images):
        raise AssertionError(f"a site has not {copies} images in a cell of {copies} primitive ones")
    # One image of every site first: cations shared out in this order break the translation that
    # the supercell doubles, so that no ordered mixture is one of the primitive cell again.
    new_coords = np.concatenate([[points[k] for points in images] for k in range(copies)])
    return axes @ lattice, new_coords, sublattices * copies


def _distinct(frac_coords: FloatArray) -> FloatArray:
    """Fold points into the cell and keep each once, sorted by z, y, x."""
    folded = np.round(frac_coords, 8) % 1.0
    folded[folded > 1 - 1e-6] = 0.0
    kept: list[FloatArray] = []
    for point in folded[np.lexsort(folded.T)]:
        if all(np.abs((point - other + 0.5) % 1.0 - 0.5).max() > 1e-4 for other in kept):
            kept.append(point)
    return np.array(kept)


def _all_pairs(lattice: FloatArray, coords: FloatArray) -> tuple[AtomPairs, FloatArray]:
    """Return all pairs between the cell and its 125 nearest images, and their distances."""
    n = len(coords)
    shifts = np.array(list(product(range(-2, 3), repeat=3)), dtype=float)
    first, second, image = (index.ravel() for index in np.indices((n, n, len(shifts))))
    pairs = AtomPairs(first, second, shifts[image] @ lattice)
    lengths = np.linalg.norm(pairs.vectors(coords @ lattice), axis=1)
    real = lengths > 1e-6
    return _take(pairs, np.flatnonzero(real)), lengths[real]


def _near_pairs(pairs: AtomPairs, lengths: FloatArray, member: npt.NDArray[np.bool_]) -> AtomPairs:
    like = np.flatnonzero(member[pairs.first] & member[pairs.second])
    # Each pair comes in both directions; which of the two is kept makes no difference.
    like = like[pairs.first[like] <= pairs.second[like]]
    return _take(pairs, like[lengths[like] < _NEAR * lengths[like].min()])


def _loose_pairs(
    pairs: AtomPairs,
    lengths: FloatArray,
    is_oxide: npt.NDArray[np.bool_],
    *,
    bonds: npt.NDArray[np.intp],
) -> AtomPairs:
    unlike = ~is_oxide[pairs.first] & is_oxide[pairs.second]
    unlike[bonds] = False
    rows = np.flatnonzero(unlike)
    return _take(pairs, rows[lengths[rows] < _NEAR * lengths[rows].min()])


def _take(pairs: AtomPairs, rows: npt.NDArray[np.intp]) -> AtomPairs:
    return AtomPairs(pairs.first[rows], pairs.second[rows], pairs.translations[rows])
