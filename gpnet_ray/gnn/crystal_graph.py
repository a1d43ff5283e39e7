"""The graph of one crystal, or why it can have none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gpnet_ray.data.crystal_hash import crystal_hash
from gpnet_ray.data.elements import HIGHEST_ATOMIC_NUMBER
from gpnet_ray.data.structure_parsing import DISORDERED, UNKNOWN_ELEMENT
from gpnet_ray.gnn.global_state import NO_GLOBAL_FEATURE, global_state, missing_features
from gpnet_ray.types import FloatArray, IntArray

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = [
    "NO_ATOMS",
    "NO_BOND",
    "TOO_CLOSE",
    "CrystalGraph",
    "Lengths",
    "Unusable",
    "graph_or_reason",
]

NO_ATOMS = "no atoms"
NO_BOND = "no bond inside the cut-off"
TOO_CLOSE = "atoms too close"

SHORTEST_ANGSTROM = 0.5
"""Atoms that are closer are no crystal's.

It is where pymatgen (``Structure.DISTANCE_TOLERANCE``) and the field's check of generated crystals (Xie et al., ICLR
2022, arXiv:2110.06197) draw the line: well below the shortest bond, H-H in H2 (0.741 Å, Huber and Herzberg 1979), and above
the bonds of nearly all crystals whose cell was given in nm. Of the 10,455 oxides of the Materials Project that
``mp_oxides_10455.parquet`` holds, mp-722397 has the shortest: 0.759 Å.
"""

_SAME_POINT_ANGSTROM = 1e-8
"""megnet's tolerance: an atom this close to itself is not its own neighbour."""

Lengths = npt.NDArray[np.float32]


@dataclass(frozen=True)
class CrystalGraph:
    """Arrays as in :class:`gpnet_ray.gnn.graphs.CrystalGraphs`, of one crystal."""

    atomic_numbers: IntArray
    sources: IntArray
    targets: IntArray
    lengths: Lengths
    state: FloatArray
    crystal: str = ""


@dataclass(frozen=True)
class Unusable:
    """Why a crystal has no graph: the kind of reason, and the detail."""

    category: str
    reason: str


def graph_or_reason(
    structure: Structure, cutoff_angstrom: float, global_features: tuple[str, ...]
) -> CrystalGraph | Unusable:
    """Build one graph; where that is impossible, say why."""
    from pymatgen.optimization.neighbors import find_points_in_spheres

    if not structure.is_ordered:
        return Unusable(
            DISORDERED,
            "some sites are disordered (partly occupied or shared); a graph needs one element a site",
        )
    if len(structure) == 0:
        return Unusable(NO_ATOMS, "the structure has no atoms")
    numbers = np.array(structure.atomic_numbers, dtype=np.int64)
    if numbers.min() < 1 or numbers.max() > HIGHEST_ATOMIC_NUMBER:
        unknown = sorted(
            {
                site.species_string
                for site in structure
                if not 1 <= site.specie.Z <= HIGHEST_ATOMIC_NUMBER
            }
        )
        return Unusable(
            UNKNOWN_ELEMENT,
            f"no embedding for {', '.join(unknown)}: MEGNet knows the elements up to "
            f"Z = {HIGHEST_ATOMIC_NUMBER}",
        )
    without = missing_features(structure, global_features)
    if without:
        listing = ", ".join(f"{name}: {value!r}"[:80] for name, value in without.items())
        return Unusable(NO_GLOBAL_FEATURE, f"no finite number is given ({listing})")
    points = np.ascontiguousarray(structure.cart_coords, dtype=np.float64)
    sources, targets, _, lengths = find_points_in_spheres(
        points,
        points,
        r=_search_radius(structure, cutoff_angstrom),
        pbc=np.ones(3, dtype=np.int64),
        lattice=np.ascontiguousarray(structure.lattice.matrix, dtype=np.float64),
        tol=_SAME_POINT_ANGSTROM,
    )
    bonded = (sources != targets) | (lengths > _SAME_POINT_ANGSTROM)
    if not bonded.any():
        return Unusable(
            NO_BOND,
            f"no two atoms are within the cut-off of {cutoff_angstrom:g} Å, so there is no bond",
        )
    closest = int(np.argmin(np.where(bonded, lengths, np.inf)))
    if lengths[closest] < SHORTEST_ANGSTROM:
        pair = " and ".join(
            structure[int(i)].species_string for i in (sources[closest], targets[closest])
        )
        return Unusable(
            TOO_CLOSE,
            f"{pair} are {lengths[closest]:.3f} Å apart, and no two atoms of a crystal are closer than"
            f" {SHORTEST_ANGSTROM:g} Å; give lengths in Å (not in nm), and every site once",
        )
    return CrystalGraph(
        numbers.astype(np.int32),
        sources[bonded].astype(np.int32),
        targets[bonded].astype(np.int32),
        lengths[bonded].astype(np.float32),
        global_state(structure, global_features),
        crystal_hash(structure) if global_features else "",
    )


def _search_radius(structure: Structure, cutoff_angstrom: float) -> float:
    """The cut-off, or less where some atoms are certainly too close, so that a cell in nm does not cost 1000 times its bonds.

    Equal spheres of diameter d take at least d³/√2 each however they are packed (Hales, Ann. Math. 162, 1065 (2005)).
    """
    is_crowded = structure.volume / len(structure) < SHORTEST_ANGSTROM**3 / 2
    return min(float(cutoff_angstrom), SHORTEST_ANGSTROM) if is_crowded else float(cutoff_angstrom)
