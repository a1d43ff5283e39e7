"""The oracle of the embedded hypothetical oxides: lattice energies of a model of ions, not DFT."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gpnet_ray.errors import OracleError
from gpnet_ray.oracles.binary_oxides import reference_energy
from gpnet_ray.oracles.ionic_charges import with_charges
from gpnet_ray.oracles.ionic_energy import (
    IONS_BY_SPECIES,
    UnsuitableCrystalError,
    coulomb_energy,
    repulsion_energy,
)
from gpnet_ray.oracles.protocol import LabelOutcome

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["IonicOracle"]


class IonicOracle:
    """Energy of an oxide relative to the binary oxides of its cations, per atom, in a model of ions.

    Coulomb energy of formal charges plus Born-Mayer repulsion (:mod:`gpnet_ray.oracles.ionic_energy`)
    of the crystal as it stands, without relaxation, less the same energy of the binary oxides
    (:mod:`gpnet_ray.oracles.binary_oxides`), divided by the number of atoms; eV/atom. Negative: the
    model would form the crystal from the binary oxides. Deterministic; about 2 ms for ten atoms.
    """

    name = "ionic"
    unit = "eV/atom"
    target = "ionic_energy_per_atom"
    label_note = "energies of a simple ionic model, not DFT"

    def label(self, ids: Sequence[str], structures: Sequence[Structure]) -> list[LabelOutcome]:
        """Return one outcome an id, in order; a crystal that the model cannot describe has failed.

        Raises:
            OracleError: different numbers of ids and structures.
        """
        if len(ids) != len(structures):
            raise OracleError(f"{len(ids)} ids but {len(structures)} structures to label")
        return [self._outcome(*pair) for pair in zip(ids, structures, strict=True)]

    def energy_per_atom(self, structure: Structure) -> float:
        """Return the energy in eV/atom, relative to the binary oxides.

        Raises:
            UnsuitableCrystalError: the model cannot describe the crystal; the text says why.
        """
        charged = with_charges(structure)
        # The repulsion comes first: it refuses unknown ions and overlaps, on which an Ewald sum is void.
        repulsion = repulsion_energy(charged)
        references = 0.0
        for site in charged:
            if site.specie.symbol != "O":
                references += reference_energy(
                    IONS_BY_SPECIES[site.specie.symbol, int(site.specie.oxi_state)]
                )
        return (coulomb_energy(charged) + repulsion - references) / len(charged)

    def _outcome(self, material_id: str, structure: Structure) -> LabelOutcome:
        began = time.perf_counter()
        try:
            value = self.energy_per_atom(structure)
        except UnsuitableCrystalError as error:
            seconds = time.perf_counter() - began
            return LabelOutcome(material_id, "failed", None, str(error), 1, seconds)
        return LabelOutcome(material_id, "ok", value, "", 1, time.perf_counter() - began)
