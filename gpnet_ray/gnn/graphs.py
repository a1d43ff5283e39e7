"""Crystals as graphs: which atoms lie within the cut-off of each other, and how far apart.

Many graphs are kept in a few flat arrays, so that a pool of a million crystals is a handful of
objects, travels between processes without pickling them one by one, and batches are cut by slicing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from gpnet_ray.data.dataset import RejectedMaterial
from gpnet_ray.data.elements import HIGHEST_ATOMIC_NUMBER
from gpnet_ray.errors import DataError, InputError
from gpnet_ray.gnn.crystal_graph import (
    NO_BOND,
    TOO_CLOSE,
    CrystalGraph,
    Lengths,
    Unusable,
    graph_or_reason,
)
from gpnet_ray.gnn.flat_arrays import Offsets, offsets_of, slices
from gpnet_ray.gnn.global_state import NO_GLOBAL_FEATURE, StateScaling
from gpnet_ray.progress import NullProgress, Progress
from gpnet_ray.types import FloatArray, IntArray

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["CrystalGraphs", "build_graphs"]


@dataclass(frozen=True, eq=False)
class CrystalGraphs:
    """Graphs of n crystals with ΣA atoms and ΣE directed bonds altogether.

    Attributes:
        ids: one id a crystal, distinct.
        atomic_numbers: int32 (ΣA,), Z from 1 to 94.
        bond_sources: int32 (ΣE,), the central atom, counted within its own crystal.
        bond_targets: int32 (ΣE,), its neighbour (possibly in another cell), counted likewise.
        bond_lengths_angstrom: float32 (ΣE,).
        atom_offsets: int64 (n + 1,); atoms of crystal i are ``atom_offsets[i]:atom_offsets[i + 1]``.
        bond_offsets: int64 (n + 1,), likewise for bonds.
        cutoff_angstrom: atoms at most this far apart are bonded.
        global_features: names of k numbers that describe a whole crystal.
        state: float64 (n, k), these numbers, each in its own unit.
        crystals: what each crystal is known by, whatever its id and its global features; needed only where one crystal
            may be several rows, and empty without global features.

    Raises:
        InputError: arrays that do not fit each other, an element beyond Z = 94, an id that occurs twice.
    """

    ids: tuple[str, ...]
    atomic_numbers: IntArray
    bond_sources: IntArray
    bond_targets: IntArray
    bond_lengths_angstrom: Lengths
    atom_offsets: Offsets
    bond_offsets: Offsets
    cutoff_angstrom: float
    global_features: tuple[str, ...]
    state: FloatArray
    crystals: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.ids)
        for name, offsets, total in (
            ("atom_offsets", self.atom_offsets, len(self.atomic_numbers)),
            ("bond_offsets", self.bond_offsets, len(self.bond_sources)),
        ):
            if offsets.shape != (n + 1,) or offsets[0] != 0 or offsets[-1] != total:
                raise InputError(
                    f"{name} of {n} crystals must have shape ({n + 1},) and run from 0 to {total}; "
                    f"got shape {offsets.shape} and {offsets[[0, -1]] if len(offsets) else '[]'}"
                )
        if not len(self.bond_sources) == len(self.bond_targets) == len(self.bond_lengths_angstrom):
            raise InputError(
                "bond_sources, bond_targets and bond_lengths_angstrom must be of one length; got "
                f"{len(self.bond_sources)}, {len(self.bond_targets)}, {len(self.bond_lengths_angstrom)}"
            )
        if self.state.shape != (n, len(self.global_features)):
            raise InputError(
                f"{n} crystals with the global features {list(self.global_features)} need a state of shape"
                f" ({n}, {len(self.global_features)}); got {self.state.shape}"
            )
        if len(self.crystals) not in (0, n):
            raise InputError(
                f"{n} graphs and {len(self.crystals)} names of their crystals; give one each"
            )
        # A gather in a compiled function clamps what is out of range, it does not fail.
        known = (self.atomic_numbers >= 1) & (self.atomic_numbers <= HIGHEST_ATOMIC_NUMBER)
        if not known.all():
            raise InputError(
                f"no embedding for Z = {self.atomic_numbers[~known][0]}: MEGNet knows the elements "
                f"up to Z = {HIGHEST_ATOMIC_NUMBER}; build graphs with build_graphs, which sets "
                "such crystals aside"
            )
        _positions(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def n_atoms(self) -> Offsets:
        """Count the atoms of each crystal: int64 (n,)."""
        return np.diff(self.atom_offsets)

    def n_bonds(self) -> Offsets:
        """Count the directed bonds of each crystal (i→j and j→i are two): int64 (n,)."""
        return np.diff(self.bond_offsets)

    def crystal_of(self) -> dict[str, str] | None:
        """What the crystal of each id is known by; ``None`` where each id is a crystal of its own."""
        return dict(zip(self.ids, self.crystals, strict=True)) if self.crystals else None

    def select(self, ids: Sequence[str]) -> CrystalGraphs:
        """Take the graphs of ``ids``, in that order.

        Raises:
            InputError: an id that is not here, or one named twice.
        """
        position = _positions(self.ids)
        missing = [name for name in ids if name not in position]
        if missing:
            raise InputError(
                f"no graph for {len(missing)} of {len(ids)} ids, the first is {missing[0]!r}; "
                "was it rejected when the graphs were built?"
            )
        rows = np.array([position[name] for name in ids], dtype=np.int64)
        atoms, atom_offsets = slices(self.atom_offsets, rows)
        bonds, bond_offsets = slices(self.bond_offsets, rows)
        return CrystalGraphs(
            ids=tuple(ids),
            atomic_numbers=self.atomic_numbers[atoms],
            bond_sources=self.bond_sources[bonds],
            bond_targets=self.bond_targets[bonds],
            bond_lengths_angstrom=self.bond_lengths_angstrom[bonds],
            atom_offsets=atom_offsets,
            bond_offsets=bond_offsets,
            cutoff_angstrom=self.cutoff_angstrom,
            global_features=self.global_features,
            state=self.state[rows],
            crystals=tuple(self.crystals[row] for row in rows) if self.crystals else (),
        )

    def scaled(self, scaling: StateScaling) -> CrystalGraphs:
        """The same graphs with their global features scaled, as the network reads them."""
        return replace(self, state=scaling.transform(self.state))


def build_graphs(
    ids: Sequence[str],
    structures: Sequence[Structure],
    *,
    cutoff_angstrom: float,
    global_features: Sequence[str] = (),
    on_bad_structure: Literal["skip", "error"] = "skip",
    may_be_none: bool = False,
    progress: Progress | None = None,
) -> tuple[CrystalGraphs, tuple[RejectedMaterial, ...]]:
    """Find all bonds of every crystal within the cut-off, as megnet's ``CrystalGraph`` does.

    Each id comes out exactly once: with a graph, or among the rejected with its reason (disordered
    sites, an element beyond Z = 94 or none at all, atoms too close to each other, no bond inside the cut-off,
    no number for a global feature).

    Args:
        ids: one id a structure, distinct.
        structures: pymatgen structures, as many as ids.
        cutoff_angstrom: atoms at most this far apart are bonded.
        global_features: names of the numbers to take from the ``properties`` of every structure.
        on_bad_structure: set bad structures aside, or stop at the first one.
        may_be_none: whether bad structures only is an answer too, as for one block of many.
        progress: shows how many crystals are done.

    Returns:
        The graphs in the order of ``ids``, without the rejected ones, and the rejected ones.

    Raises:
        InputError: as many ids as structures were not given, or an id occurs twice.
        DataError: a bad structure, where ``on_bad_structure`` is ``"error"``; bad structures only,
            unless ``may_be_none``.
    """
    if len(ids) != len(structures):
        raise InputError(f"{len(ids)} ids for {len(structures)} structures; give one id each")
    _positions(ids)
    kept: list[str] = []
    rejected: list[RejectedMaterial] = []
    parts: list[CrystalGraph] = []
    names = tuple(global_features)
    with (progress or NullProgress()).task(
        "Building graphs", total=len(ids), unit="crystals"
    ) as task:
        for material_id, structure in zip(ids, structures, strict=True):
            graph = graph_or_reason(structure, cutoff_angstrom, names)
            if isinstance(graph, Unusable):
                if on_bad_structure == "error":
                    raise DataError(
                        f"material {material_id!r}: {graph.reason}; correct it, or set such "
                        "structures aside with --on-bad-structure skip"
                    )
                rejected.append(
                    RejectedMaterial(
                        material_id, graph.category, graph.reason, "graph construction"
                    )
                )
            else:
                kept.append(material_id)
                parts.append(graph)
            task.advance()
    if rejected and not kept and not may_be_none:
        raise _none_left(rejected, cutoff_angstrom)
    return _join(kept, parts, cutoff_angstrom, names), tuple(rejected)


_ADVICE = {
    NO_BOND: "give a larger --cutoff",
    TOO_CLOSE: "give lengths in Å",
    NO_GLOBAL_FEATURE: "give every crystal the numbers, or leave out --global-feature",
}


def _none_left(rejected: Sequence[RejectedMaterial], cutoff_angstrom: float) -> DataError:
    category, count = Counter(r.category for r in rejected).most_common(1)[0]
    example = next(r for r in rejected if r.category == category)
    advice = _ADVICE.get(category, "correct the structures")
    return DataError(
        f"none of the {len(rejected)} structures can be made a graph with a cut-off of "
        f"{cutoff_angstrom:g} Å; the commonest reason, {count} times: {category} "
        f"({example.material_id}: {example.reason}); {advice}"
    )


def _join(
    ids: Sequence[str],
    parts: Sequence[CrystalGraph],
    cutoff_angstrom: float,
    global_features: tuple[str, ...],
) -> CrystalGraphs:
    none = np.empty(0, np.int32)
    empty = CrystalGraph(none, none, none, np.empty(0, np.float32), np.empty(0))
    state = np.array([part.state for part in parts], dtype=np.float64)
    flat = [*parts, empty]
    return CrystalGraphs(
        ids=tuple(ids),
        atomic_numbers=np.concatenate([part.atomic_numbers for part in flat]),
        bond_sources=np.concatenate([part.sources for part in flat]),
        bond_targets=np.concatenate([part.targets for part in flat]),
        bond_lengths_angstrom=np.concatenate([part.lengths for part in flat]),
        atom_offsets=offsets_of([len(part.atomic_numbers) for part in parts]),
        bond_offsets=offsets_of([len(part.sources) for part in parts]),
        cutoff_angstrom=float(cutoff_angstrom),
        global_features=global_features,
        state=state.reshape(len(parts), len(global_features)),
        crystals=tuple(part.crystal for part in parts) if global_features else (),
    )


def _positions(ids: Sequence[str]) -> dict[str, int]:
    position = {name: i for i, name in enumerate(ids)}
    if len(position) != len(ids):
        seen: set[str] = set()
        twice = next(name for name in ids if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise InputError(f"id {twice!r} occurs twice; every material needs an id of its own")
    return position
