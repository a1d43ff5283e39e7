"""ASE calculators by import path: checked before a campaign starts, made where labels are computed.

A. H. Larsen et al., J. Phys.: Condens. Matter 29, 273002 (2017), https://ase-lib.org. With
:mod:`gpnet_ray.oracles.ase_folders` and :mod:`gpnet_ray.oracles.ase_oracle` it alone needs the extra
``gpnet-ray[ase]``.
"""

from __future__ import annotations

import inspect
import shlex
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import ase.optimize
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, Calculator, FileIOCalculator
from ase.data import chemical_symbols
from ase.optimize.optimize import Optimizer

from gpnet_ray.errors import InputError, nearest_name_hint
from gpnet_ray.oracles.importing import make_object

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["check_elements", "make_calculator", "optimizer_named", "to_atoms"]

SETTING = "oracle.ase.calculator"


def make_calculator(path: str, keywords: Mapping[str, Any]) -> Any:
    """Make a calculator.

    Raises:
        InputError: it cannot be imported, refuses a keyword or does not know one, is no calculator, or
            runs a program that is not there.
    """
    calculator = make_object(path, keywords, setting=SETTING)
    if not (isinstance(calculator, BaseCalculator) or hasattr(calculator, "get_potential_energy")):
        raise InputError(
            f"{SETTING}: {path} makes a {type(calculator).__name__}, which is no ASE calculator"
        )
    _check_keywords(calculator, path, keywords)
    _check_program(calculator, path)
    return calculator


def _check_program(calculator: Any, path: str) -> None:
    """Refuse a calculator whose program is not there; only those with a profile say what they run."""
    command = getattr(getattr(calculator, "profile", None), "command", None)
    if not isinstance(command, str) or not command.strip():
        return
    program = shlex.split(command)[0]
    if shutil.which(program) is None:
        raise InputError(
            f"{SETTING}: {path} runs {command!r}, and there is no program {program!r}; install it, or"
            " give its path in the command of the profile"
        )


def _check_keywords(calculator: Any, path: str, keywords: Mapping[str, Any]) -> None:
    """Refuse keywords that the calculator would take without a word and never look at."""
    # Calculators that write input files pass on what their program understands, which ASE cannot list.
    lists_all = isinstance(calculator, Calculator) and not isinstance(calculator, FileIOCalculator)
    if not (lists_all and calculator.default_parameters):
        return
    known = {*calculator.default_parameters, *inspect.signature(type(calculator)).parameters}
    known |= set(inspect.signature(Calculator).parameters)
    known -= {"kwargs", "args", "self"}
    for name in keywords:
        if name not in known:
            hint = nearest_name_hint(name, sorted(known))
            raise InputError(f"oracle.ase.keywords: {path} has no keyword {name!r}: {hint}")


def optimizer_named(name: str) -> type[Optimizer]:
    """Return the optimiser of ``ase.optimize`` with this name.

    Raises:
        InputError: there is none; names the nearest.
    """
    optimizers = {
        n: c
        for n, c in vars(ase.optimize).items()
        if isinstance(c, type) and issubclass(c, Optimizer)
    }
    if name not in optimizers:
        raise InputError(
            f"oracle.ase.optimizer: unknown optimiser {name!r}:"
            f" {nearest_name_hint(name, sorted(optimizers))}"
        )
    return optimizers[name]


def check_elements(references: Mapping[str, float]) -> None:
    """Refuse reference energies of what is no element.

    Raises:
        InputError: none are given, or a name is no element symbol.
    """
    if not references:
        raise InputError(
            "oracle.ase.references is empty; give the energy of each element's reference state in"
            " eV/atom from the same calculator, such as {Cu: -3.72, O: -4.95}"
        )
    unknown = [name for name in references if name not in chemical_symbols[1:]]
    if unknown:
        raise InputError(
            f"oracle.ase.references: {unknown} are no element symbols; write them as in Cu, O"
        )


def to_atoms(structure: Structure) -> Atoms:
    """Return the crystal as ASE has it: elements, cell and positions, no charges or moments."""
    return Atoms(
        numbers=[site.specie.Z for site in structure],
        scaled_positions=structure.frac_coords,
        cell=structure.lattice.matrix,
        pbc=True,
    )
