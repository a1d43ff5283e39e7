"""Labels from any ASE calculator: formation energies, of the crystal as it stands or relaxed."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms
from ase.calculators.calculator import SCFError
from ase.filters import FrechetCellFilter

from gpnet_ray.errors import OracleError
from gpnet_ray.oracles.ase_calculators import (
    check_elements,
    make_calculator,
    optimizer_named,
    to_atoms,
)
from gpnet_ray.oracles.ase_folders import working_in
from gpnet_ray.oracles.label_folders import LabelFolders
from gpnet_ray.oracles.protocol import LabelOutcome
from gpnet_ray.oracles.settings import Relaxation

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["AseOracle"]


class _UnconvergedError(Exception):
    """A relaxation used up its steps."""


class AseOracle:
    """Formation energy per atom (eV/atom) of a crystal, with a calculator of ASE.

    (E − Σ n_i μ_i) / N, with E the energy of the cell that the calculator gives (eV), n_i atoms of
    element i, μ_i the energy of its reference state (eV/atom) and N = Σ n_i. What the calculator
    raises for a crystal is a failed label with that reason.
    """

    name = "ase"
    unit = "eV/atom"

    def __init__(
        self,
        calculator: str,
        *,
        references: Mapping[str, float],
        folders: LabelFolders,
        keywords: Mapping[str, Any] | None = None,
        relax: Relaxation = "none",
        optimizer: str = "BFGS",
        force_tolerance_ev_per_angstrom: float = 0.05,
        max_steps: int = 200,
        reuse_calculator: bool = False,
    ) -> None:
        """Check everything; the calculator is made once to see that it can be.

        Args:
            calculator: Import path ``module:Class``.
            references: μ_i in eV/atom by element symbol, from the same calculator and settings.
            folders: Where each label has a folder, in which the calculator works.
            keywords: Arguments of the calculator.
            relax: Whether nothing moves, the atoms do, or atoms and cell do.
            optimizer: Name in ``ase.optimize``.
            force_tolerance_ev_per_angstrom: Largest force on any atom (and generalised force on the
                cell) of a relaxed crystal.
            max_steps: A relaxation that needs more is unconverged.
            reuse_calculator: One calculator for all labels of this oracle.

        Raises:
            InputError: a calculator that cannot be imported or refuses its keywords, an unknown
                optimiser, references that are no elements.
        """
        check_elements(references)
        make_calculator(calculator, keywords or {})
        self._path, self._keywords = calculator, dict(keywords or {})
        self._references, self._folders = dict(references), folders
        self._relax, self._optimizer = relax, optimizer_named(optimizer)
        self._force_tolerance, self._max_steps = force_tolerance_ev_per_angstrom, max_steps
        self._reuse, self._reused = reuse_calculator, None

    @property
    def label_note(self) -> str:
        """What the labels are, in plain words."""
        done = {
            "none": "of the crystals as they stand",
            "positions": "with relaxed atoms",
            "cell": "with relaxed atoms and cell",
        }[self._relax]
        return f"formation energies by the ASE calculator {self._path}, {done}"

    def missing_references(self, structures: Sequence[Structure]) -> dict[str, int]:
        """Return the elements without a reference energy, with the number of crystals that hold them."""
        missing: dict[str, int] = {}
        for structure in structures:
            for symbol in {site.specie.symbol for site in structure} - set(self._references):
                missing[symbol] = missing.get(symbol, 0) + 1
        return dict(sorted(missing.items()))

    def label(self, ids: Sequence[str], structures: Sequence[Structure]) -> list[LabelOutcome]:
        """Return one outcome an id, in order.

        Raises:
            OracleError: different numbers of ids and structures.
        """
        if len(ids) != len(structures):
            raise OracleError(f"{len(ids)} ids but {len(structures)} structures to label")
        return [self._outcome(*pair) for pair in zip(ids, structures, strict=True)]

    def _outcome(self, material_id: str, structure: Structure) -> LabelOutcome:
        began = time.perf_counter()

        def failed(reason: str, status: Any = "failed") -> LabelOutcome:
            return LabelOutcome(material_id, status, None, reason, 1, time.perf_counter() - began)

        missing = self.missing_references([structure])
        if missing:
            return failed(f"no reference energy of {', '.join(missing)}")
        folder = self._folders.make(material_id)
        value = math.nan
        try:
            value = self._formation_energy(to_atoms(structure), folder)
        except (_UnconvergedError, SCFError) as error:
            return failed(str(error) or type(error).__name__, "unconverged")
        except Exception as error:  # noqa: BLE001  calculators are anybody's and raise what they like
            return failed(f"{type(error).__name__}: {error}")
        finally:
            self._folders.close(folder, ok=math.isfinite(value))
        if not math.isfinite(value):
            return failed(f"the calculator gave an energy of {value}")
        return LabelOutcome(material_id, "ok", value, "", 1, time.perf_counter() - began)

    def _formation_energy(self, atoms: Atoms, folder: Path) -> float:
        # Made before the folder is entered: keywords may hold paths from where the campaign started.
        atoms.calc = self._calculator()
        with working_in(folder, atoms.calc):
            if self._relax != "none":
                self._relaxed(atoms)
            total = atoms.get_potential_energy()
        references = sum(self._references[symbol] for symbol in atoms.symbols)
        return float((total - references) / len(atoms))

    def _relaxed(self, atoms: Atoms) -> None:
        moved = FrechetCellFilter(atoms) if self._relax == "cell" else atoms
        optimizer = self._optimizer(moved, logfile=None)
        if not optimizer.run(fmax=self._force_tolerance, steps=self._max_steps):
            raise _UnconvergedError(
                f"forces above {self._force_tolerance} eV/Å after {self._max_steps} steps of"
                f" {self._optimizer.__name__}"
            )

    def _calculator(self) -> Any:
        if not self._reuse:
            return make_calculator(self._path, self._keywords)
        if self._reused is None:
            self._reused = make_calculator(self._path, self._keywords)
        return self._reused
