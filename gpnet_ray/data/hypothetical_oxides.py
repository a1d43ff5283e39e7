"""Hypothetical oxides, as many as are asked for: the crystals that need no download.

First every ideal decoration of every prototype (a few thousand), then ordered mixtures of cations
(over a million), then strained and rattled variants of both, without end. Charges balance, sizes
come from ionic radii (:mod:`gpnet_ray.data.bond_fitting`). These crystals were never relaxed by a
quantum-mechanical calculation, and many are not known to exist.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count as count_from
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from gpnet_ray.data.bond_fitting import fit_crystal
from gpnet_ray.data.dataset import MaterialsDataset
from gpnet_ray.data.decorations import Decoration, decorations
from gpnet_ray.data.ions import OXIDE_CHARGE, OXIDE_RADIUS_ANGSTROM, Ion
from gpnet_ray.data.prototype_cells import prototype_cell
from gpnet_ray.data.prototypes import ANION, PROTOTYPES, Prototype, prototype_named
from gpnet_ray.errors import InputError
from gpnet_ray.progress import NullProgress, Progress
from gpnet_ray.seeds import generator
from gpnet_ray.types import FloatArray

if TYPE_CHECKING:
    from pymatgen.core import Composition, Structure

__all__ = ["LABEL_NOTE", "SOURCE", "hypothetical_dataset", "hypothetical_oxides"]

SOURCE = "hypothetical oxides"
LABEL_NOTE = "energies of a simple ionic model of hypothetical crystals, not DFT"
"""What a dataset of these crystals says about where it comes from."""

_STRAIN = 0.02
"""Standard deviation of each component of a variant's strain."""

_DISPLACEMENT_ANGSTROM = 0.05
"""Standard deviation of each coordinate of a variant's displacements."""


def hypothetical_oxides(
    count: int, *, seed: int, prototypes: Sequence[str] | None = None
) -> Iterator[tuple[str, Structure]]:
    """Yield ``count`` (id, crystal) pairs, one after the other as they are asked for.

    An id such as ``hyp-perovskite-Sr-Ti-0`` names prototype, cations and variant; variant 0 is
    fitted to the radii, later ones are strained and rattled. With one seed the same id is always
    the same crystal, and asking for more gives the same ones first. Sites carry oxidation states
    (pymatgen ``Species``) that sum to zero.

    Args:
        count: how many.
        seed: decides the order and the variants.
        prototypes: names of the prototypes to use; ``None``: all of them.

    Raises:
        InputError: a count below one, or an unknown prototype.
    """
    if count < 1:
        raise InputError(f"asked for {count} hypothetical oxides; ask for at least 1")
    names = [p.name for p in PROTOTYPES] if prototypes is None else list(prototypes)
    chosen = [prototype_named(name) for name in names]
    return islice(_endless(chosen, seed=seed), count)


def hypothetical_dataset(
    count: int, *, seed: int, progress: Progress | None = None
) -> MaterialsDataset:
    """Generate hypothetical oxides as a dataset without targets: an oracle gives them.

    Raises:
        InputError: a count below one.
    """
    materials: list[tuple[str, Structure]] = []
    shown = progress or NullProgress()
    with shown.task("Generating oxides", total=count, unit="crystals") as task:
        for material in hypothetical_oxides(count, seed=seed):
            materials.append(material)
            task.advance()
    return MaterialsDataset(
        ids=tuple(material_id for material_id, _ in materials),
        structures=tuple(structure for _, structure in materials),
        targets=None,
        target="ionic_energy_per_atom",
        unit="eV/atom",
        source=SOURCE,
        label_note=LABEL_NOTE,
    )


def _endless(prototypes: Sequence[Prototype], *, seed: int) -> Iterator[tuple[str, Structure]]:
    builder = _Builder(seed)
    for variant in count_from():
        for mixed in (False, True):
            for decoration in _interleaved(prototypes, mixed=mixed, seed=seed):
                structure = builder.build(decoration, variant)
                if structure is not None:
                    yield builder.id_of(decoration, variant), structure


def _interleaved(
    prototypes: Sequence[Prototype], *, mixed: bool, seed: int
) -> Iterator[Decoration]:
    """Draw the prototype of each next decoration at random among those that are not used up."""
    streams = [decorations(prototype, mixed=mixed, seed=seed) for prototype in prototypes]
    order = generator(seed, f"order of {'mixed' if mixed else 'ideal'} decorations")
    while streams:
        number = int(order.integers(len(streams)))
        decoration = next(streams[number], None)
        if decoration is None:
            del streams[number]
        else:
            yield decoration


class _Builder:
    """Turns decorations into crystals."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._oxide = _one_species(ANION, OXIDE_CHARGE)
        self._species: dict[Ion, Composition] = {}

    def id_of(self, decoration: Decoration, variant: int) -> str:
        return f"hyp-{decoration.name}-{variant}"

    def build(self, decoration: Decoration, variant: int) -> Structure | None:
        """Return the crystal, or ``None`` where the ions do not fit the prototype."""
        from pymatgen.core import Lattice, Structure

        cell = prototype_cell(decoration.prototype.name, decoration.ordering)
        n = len(cell.positions)
        lengths, strengths = np.zeros(n), np.zeros(n)
        species = [self._oxide] * n
        for ion, coordination, sites in decoration.occupations():
            length = ion.radius(coordination) + OXIDE_RADIUS_ANGSTROM
            for site in sites:
                lengths[site], strengths[site] = length, ion.charge / coordination
                species[site] = self._species_of(ion)
        fitted = fit_crystal(cell, lengths, strengths)
        if not fitted.is_sound:
            return None
        lattice, positions = fitted.lattice, fitted.positions
        if variant:
            draw = generator(self._seed, self.id_of(decoration, variant))
            lattice, positions = _varied(lattice, positions, draw)
        return Structure(Lattice(lattice), species, positions @ np.linalg.inv(lattice))

    def _species_of(self, ion: Ion) -> Composition:
        if ion not in self._species:
            self._species[ion] = _one_species(ion.symbol, ion.charge)
        return self._species[ion]


def _one_species(symbol: str, charge: int) -> Composition:
    # pymatgen takes two thirds of a crystal's time to make one of these for every site.
    from pymatgen.core import Composition, Species

    return Composition({Species(symbol, charge): 1})


def _varied(
    lattice: FloatArray, positions: FloatArray, draw: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Strain a crystal and displace its atoms."""
    strain = draw.normal(scale=_STRAIN, size=(3, 3))
    deformation = np.eye(3) + (strain + strain.T) / 2
    moves = draw.normal(scale=_DISPLACEMENT_ANGSTROM, size=positions.shape)
    return lattice @ deformation, positions @ deformation + moves
