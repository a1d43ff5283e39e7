"""What a crystal is known by as it was read, on every machine: its species, its lattice and where its atoms are."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["crystal_hash", "crystal_parts", "hash_parts"]

_GRID = 1e-6
"""Lattice vectors (Å) and fractional coordinates are the same where they fall into the same cell of a grid."""
_OFFSET = 0.3718281828
"""Where a cell begins: files hold short decimals, and none of these lies on such an edge."""


def crystal_hash(structure: Structure) -> str:
    """Hash a crystal without its id and its conditions: the same for all rows that hold it as it is."""
    return hash_parts(*crystal_parts(structure))


def crystal_parts(structure: Structure) -> tuple[bytes | npt.NDArray[np.int64], ...]:
    """Species, lattice and places of the atoms, to be hashed."""
    species = " ".join(site.species_string for site in structure).encode()
    # A coordinate of 1 - 1e-16 is one of 0.
    places = _cells(structure.frac_coords) % round(1 / _GRID)
    return species, _cells(structure.lattice.matrix), places


def hash_parts(*parts: bytes | npt.NDArray[np.generic]) -> str:
    """Hash bytes and arrays into 16 hexadecimal digits."""
    digest = sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes())
        digest.update(b"|")
    return digest.hexdigest()[:16]


def _cells(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    return np.floor(numbers / _GRID + _OFFSET).astype(np.int64)
