"""Batches of graphs padded to a fixed size, because XLA compiles once for every shape (no TensorFlow).

All crystals of a batch lie behind each other in flat arrays, so a crystal of 2 atoms and one of 200
do not pad each other; only the end of the arrays is filled up, with one dummy crystal that absorbs the
padding. Training batches are *stratified by size*: the crystals, sorted by their number of bonds, are
cut into as many strata as a batch has places, and every batch gets one random crystal of every
stratum; then the fullest batch swaps crystals until it is no fuller than need be. So one shape is enough
for a wide distribution of sizes, little is padding, and no batch is made of large crystals only.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gpnet_ray.errors import InputError
from gpnet_ray.gnn.flat_arrays import slices
from gpnet_ray.gnn.graphs import CrystalGraphs
from gpnet_ray.types import IntArray

__all__ = ["BatchShape", "ForwardBatches", "PaddedBatch", "StratifiedBatches", "pad_batch"]

FULLEST_TO_MEAN = 1.02
"""Bonds of the fullest training batch to those of the average one that are good enough."""

BONDS_PER_FORWARD_BATCH = 32_768
FORWARD_SLACK = 1.03
"""Room to spare in a new shape, so that the next block of the same pool fits it too."""


Rows = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class BatchShape:
    """How many crystals, atoms and bonds a padded batch has room for, the dummy's included."""

    crystals: int
    atoms: int
    bonds: int

    def fits(self, other: BatchShape) -> bool:
        """Tell whether what needs this much room has it in ``other``."""
        return (
            self.crystals <= other.crystals
            and self.atoms <= other.atoms
            and self.bonds <= other.bonds
        )


@dataclass(frozen=True, eq=False)
class PaddedBatch:
    """Crystals in flat arrays of fixed size; the last crystal and the last atom are dummies.

    Attributes:
        rows: int64 (n,), which crystals of their ``CrystalGraphs`` these are, in the batch's order.
        atomic_numbers: int32 (atoms,), 0 for padding.
        atom_crystals: int32 (atoms,), to which crystal of the batch an atom belongs.
        bond_sources, bond_targets: int32 (bonds,), atoms counted within the batch.
        bond_crystals: int32 (bonds,).
        bond_lengths_angstrom: float32 (bonds,), 0 for padding.
        bonds_of_atom, atoms_of_crystal, bonds_of_crystal: float32, counts, 1 where there are none,
            because means divide by them.
        state: float32 (crystals, k), global features, 0 for dummies.
    """

    rows: Rows
    atomic_numbers: IntArray
    atom_crystals: IntArray
    bond_sources: IntArray
    bond_targets: IntArray
    bond_crystals: IntArray
    bond_lengths_angstrom: Float32
    bonds_of_atom: Float32
    atoms_of_crystal: Float32
    bonds_of_crystal: Float32
    state: Float32


class StratifiedBatches:
    """Training batches of one shape: a new seeded shuffle every epoch, every crystal once an epoch.

    Attributes:
        shape: room for the largest batch of all epochs.
        batch_size: crystals in a full batch, no more than there are.
        batches_per_epoch: how many batches an epoch has; their sizes differ by one crystal at most.
        padding_waste: share of the bond rows of all batches that is padding, from 0 to 1.

    Raises:
        InputError: there are no crystals.
    """

    def __init__(
        self, graphs: CrystalGraphs, *, batch_size: int, epochs: int, rng_seed: int
    ) -> None:
        n = len(graphs)
        if n == 0:
            raise InputError("no crystals to make batches of")
        self._graphs, self._seed = graphs, rng_seed
        self.batch_size = min(batch_size, n)
        self.batches_per_epoch = -(-n // self.batch_size)
        self._strata = _strata(graphs, self.batches_per_epoch)
        rooms = [_room(graphs, self._dealt(epoch).T) for epoch in range(epochs)]
        self.shape = _smallest_for_all(rooms)
        rows = self.batches_per_epoch * self.shape.bonds
        self.padding_waste = 1.0 - float(graphs.n_bonds().sum()) / rows

    def epoch(self, epoch: int) -> Iterator[PaddedBatch]:
        """Give the batches of one epoch; the same seed and epoch give the same batches."""
        for places in self._dealt(epoch).T:
            yield pad_batch(self._graphs, places[places >= 0], self.shape)

    def _dealt(self, epoch: int) -> Rows:
        """Deal every stratum over the batches: int64 (batch_size, n_batches), -1 where empty."""
        rng = np.random.default_rng([self._seed, epoch])
        dealt: Rows = rng.permuted(self._strata, axis=1)
        # An empty place (-1) counts nothing.
        _level(dealt, np.append(self._graphs.n_bonds(), 0))
        return dealt[:, rng.permutation(self.batches_per_epoch)]


class ForwardBatches:
    """Batches where their composition does not matter, of few shapes that are used again.

    Crystals, large ones first, each go to the batch with the fewest bonds so far, so that all batches
    of a call are about equally full and one shape serves them all.

    Args:
        bonds_per_batch: wanted size; a batch is larger only where a single crystal is.
    """

    def __init__(self, *, bonds_per_batch: int = BONDS_PER_FORWARD_BATCH) -> None:
        self._bonds_per_batch = bonds_per_batch
        self._known: list[BatchShape] = []

    @property
    def shapes(self) -> tuple[BatchShape, ...]:
        """The shapes used so far; XLA compiles once for each."""
        return tuple(self._known)

    def batches(self, graphs: CrystalGraphs) -> Iterator[PaddedBatch]:
        """Cut all crystals into padded batches; every crystal is in exactly one."""
        if len(graphs) == 0:
            return
        shape, parts = self._shape_for(graphs)
        for rows in parts:
            yield pad_batch(graphs, rows, shape)

    def _shape_for(self, graphs: CrystalGraphs) -> tuple[BatchShape, list[Rows]]:
        total = int(graphs.n_bonds().sum())
        for shape in self._known:
            parts = self._parted_for(graphs, shape, total)
            if parts is not None:
                return shape, parts
        parts = _part_evenly(graphs, max(1, round(total / self._bonds_per_batch)))
        shape = _room(graphs, parts, slack=FORWARD_SLACK)
        self._known.append(shape)
        return shape, parts

    def _parted_for(
        self, graphs: CrystalGraphs, shape: BatchShape, total: int
    ) -> list[Rows] | None:
        """Part for a shape that is compiled already, unless that wastes more than compiling."""
        if 4 * shape.bonds < min(total, self._bonds_per_batch):
            return None  # many small batches: each has a fixed cost
        if graphs.n_bonds().max() > shape.bonds or graphs.n_atoms().max() >= shape.atoms:
            return None
        fewest = -(-total // shape.bonds)
        for n_batches in (fewest, fewest + 1, fewest * 5 // 4 + 1):
            parts = _part_evenly(graphs, n_batches)
            if _room(graphs, parts).fits(shape):
                return parts
        return None


def pad_batch(graphs: CrystalGraphs, rows: Rows, shape: BatchShape) -> PaddedBatch:
    """Lay the crystals at ``rows`` behind each other and fill up to ``shape``.

    Raises:
        InputError: they do not fit into ``shape`` with a dummy crystal and a dummy atom.
    """
    atoms, atom_offsets = slices(graphs.atom_offsets, rows)
    bonds, bond_offsets = slices(graphs.bond_offsets, rows)
    if len(rows) >= shape.crystals or len(atoms) >= shape.atoms or len(bonds) > shape.bonds:
        raise InputError(
            f"{len(rows)} crystals with {len(atoms)} atoms and {len(bonds)} bonds, and a dummy, do "
            f"not fit into {shape}; make the batch smaller"
        )
    crystals = np.arange(len(rows), dtype=np.int32)
    dummy_crystal, dummy_atom = shape.crystals - 1, shape.atoms - 1
    atom_crystals = np.repeat(crystals, np.diff(atom_offsets))
    bond_crystals = np.repeat(crystals, np.diff(bond_offsets))
    first_atom = atom_offsets[bond_crystals]
    sources = _filled(graphs.bond_sources[bonds] + first_atom, shape.bonds, dummy_atom)
    atom_crystals = _filled(atom_crystals, shape.atoms, dummy_crystal)
    bond_crystals = _filled(bond_crystals, shape.bonds, dummy_crystal)
    state = np.zeros((shape.crystals, graphs.state.shape[1]), dtype=np.float32)
    state[: len(rows)] = graphs.state[rows]
    return PaddedBatch(
        rows=rows,
        atomic_numbers=_filled(graphs.atomic_numbers[atoms], shape.atoms, 0),
        atom_crystals=atom_crystals,
        bond_sources=sources,
        bond_targets=_filled(graphs.bond_targets[bonds] + first_atom, shape.bonds, dummy_atom),
        bond_crystals=bond_crystals,
        bond_lengths_angstrom=_filled_lengths(graphs.bond_lengths_angstrom[bonds], shape.bonds),
        bonds_of_atom=_counts(sources, shape.atoms),
        atoms_of_crystal=_counts(atom_crystals, shape.crystals),
        bonds_of_crystal=_counts(bond_crystals, shape.crystals),
        state=state,
    )


def _filled(values: npt.NDArray[np.integer], size: int, filler: int) -> IntArray:
    array = np.full(size, filler, dtype=np.int32)
    array[: len(values)] = values
    return array


def _filled_lengths(values: Float32, size: int) -> Float32:
    array = np.zeros(size, dtype=np.float32)
    array[: len(values)] = values
    return array


def _counts(owners: IntArray, size: int) -> Float32:
    return np.maximum(np.bincount(owners, minlength=size), 1).astype(np.float32)


def _part_evenly(graphs: CrystalGraphs, n_batches: int) -> list[Rows]:
    """Part the crystals into at most ``n_batches`` of nearly equal numbers of bonds, none empty.

    The largest crystal left goes to the emptiest batch (Graham's rule, doi:10.1137/0117039).
    """
    n_bonds = graphs.n_bonds().tolist()
    emptiest = [(0, batch) for batch in range(n_batches)]
    parts: list[list[int]] = [[] for _ in range(n_batches)]
    for row in np.argsort(-graphs.n_bonds(), kind="stable").tolist():
        filled, batch = emptiest[0]
        parts[batch].append(row)
        heapq.heapreplace(emptiest, (filled + n_bonds[row], batch))
    return [np.array(rows, dtype=np.int64) for rows in parts if rows]


def _strata(graphs: CrystalGraphs, n_batches: int) -> Rows:
    """Sort rows by size, largest first, into strata of ``n_batches``; -1 fills the last one."""
    n = len(graphs)
    places = np.full(-(-n // n_batches) * n_batches, -1, dtype=np.int64)
    places[:n] = np.argsort(-graphs.n_bonds(), kind="stable")
    return places.reshape(-1, n_batches)


def _level(dealt: Rows, n_bonds: npt.NDArray[np.integer]) -> None:
    """Let the fullest batch swap a crystal within its stratum until it is about as full as the average."""
    sizes = n_bonds[dealt]
    filled = sizes.sum(axis=0)
    # Few swaps a batch do; the bound is only for odd sets of sizes.
    for _ in range(8 * dealt.shape[1]):
        full = int(filled.argmax())
        moved = sizes[:, full, None] - sizes
        fuller_of_both = np.maximum(filled[full] - moved, filled + moved)
        place, other = np.unravel_index(fuller_of_both.argmin(), moved.shape)
        if filled[full] <= FULLEST_TO_MEAN * filled.mean() or (
            fuller_of_both[place, other] >= filled[full]
        ):
            return
        filled[full] -= moved[place, other]
        filled[other] += moved[place, other]
        for table in (dealt, sizes):
            table[place, [full, other]] = table[place, [other, full]]


def _room(graphs: CrystalGraphs, parts: Iterable[Rows], *, slack: float = 1.0) -> BatchShape:
    """Measure the room that the largest of some batches needs, with a dummy crystal and atom.

    -1 among the rows of a batch is an empty place.
    """
    # One more entry, so that an empty place counts nothing.
    n_atoms, n_bonds = np.append(graphs.n_atoms(), 0), np.append(graphs.n_bonds(), 0)
    crystals = atoms = bonds = 0
    for rows in parts:
        crystals = max(crystals, len(rows))
        atoms = max(atoms, int(n_atoms[rows].sum()))
        bonds = max(bonds, int(n_bonds[rows].sum()))
    return BatchShape(
        crystals=math.ceil(slack * crystals) + 1,
        atoms=_whole_registers(slack * atoms + 1),
        bonds=_whole_registers(slack * bonds),
    )


def _smallest_for_all(rooms: Sequence[BatchShape]) -> BatchShape:
    return BatchShape(
        crystals=max(room.crystals for room in rooms),
        atoms=max(room.atoms for room in rooms),
        bonds=max(room.bonds for room in rooms),
    )


def _whole_registers(size: float) -> int:
    return math.ceil(size / 64) * 64
