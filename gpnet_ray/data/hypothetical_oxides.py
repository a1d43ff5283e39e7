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
    from pymatgen.core import Structure

__all__ = ["hypothetical_dataset", "hypothetical_oxides"]

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
        source="embedded hypothetical oxides",
        label_note="ionic-model energies, not DFT",
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
        from pymatgen.core import Species

        self._seed = seed
        self._oxide = Species(ANION, OXIDE_CHARGE)
        self._species: dict[Ion, Species] = {}

    def id_of(self, decoration: Decoration, variant: int) -> str:
        return f"hyp-{decoration.name}-{variant}"

    def build(self, decoration: Decoration, variant: int) -> Structure | None:
        """Return the crystal, or ``None`` where the ions do not fit the prototype."""
        from pymatgen.core import Lattice, Structure

        cell = prototype_cell(decoration.prototype.name, decoration.ordering)
        ions = decoration.ions_of_sites()
        radii, charges = np.zeros(len(ions)), np.zeros(len(ions))
        for sublattice, number in decoration.prototype.coordination.items():
            for site in cell.sites_of(sublattice):
                ion = ions[site]
                if ion is not None:
                    radii[site], charges[site] = ion.radius(number), ion.charge
        lengths = radii[cell.bonds.first] + OXIDE_RADIUS_ANGSTROM
        fitted = fit_crystal(cell, lengths, charges[cell.bonds.first] / cell.coordination)
        if not fitted.is_sound:
            return None
        lattice, coords = fitted.lattice, fitted.frac_coords
        if variant:
            lattice, coords = self._varied(lattice, coords, self.id_of(decoration, variant))
        return Structure(Lattice(lattice), [self._species_of(ion) for ion in ions], coords)

    def _varied(
        self, lattice: FloatArray, coords: FloatArray, material_id: str
    ) -> tuple[FloatArray, FloatArray]:
        draw = generator(self._seed, material_id)
        strain = draw.normal(scale=_STRAIN, size=(3, 3))
        moves = draw.normal(scale=_DISPLACEMENT_ANGSTROM, size=coords.shape)
        strained = lattice @ (np.eye(3) + (strain + strain.T) / 2)
        return strained, coords + moves @ np.linalg.inv(strained)

    def _species_of(self, ion: Ion | None) -> object:
        from pymatgen.core import Species

        if ion is None:
            return self._oxide
        if ion not in self._species:
            self._species[ion] = Species(ion.symbol, ion.charge)
        return self._species[ion]
