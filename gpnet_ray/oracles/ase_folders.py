"""A calculator at work on one label: whatever files it writes and reads lie in the label's own folder.

A calculator that reads a file which another label left there gives the energy of the wrong crystal, and
nothing in it says so.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ase.calculators.calculator import BaseCalculator

__all__ = ["working_in"]

# The current folder is the whole process's: labels that are made in threads of one take turns.
_TURN = threading.Lock()


@contextmanager
def working_in(folder: Path, calculator: Any) -> Iterator[None]:
    """Have a calculator, and all that it holds, work in a folder for as long as the block runs.

    The calculator writes into the folder itself. One that wraps others, such as ``MixedCalculator`` or
    ``DFTD3``, has a folder below it for each of them, so that none reads what another one left. The
    process changes into the folder as well, since a calculator may hold others where nobody sees them.

    Raises:
        OSError: a folder cannot be made or entered.
    """
    folder = folder.absolute()
    for number, held in enumerate(_calculators(calculator)):
        if not hasattr(held, "directory"):
            continue
        own = folder if held is calculator else folder / f"{number}_{type(held).__name__}"
        own.mkdir(exist_ok=True)
        held.directory = own
    with _TURN:
        # Not its path: the folder may be moved or removed while a label takes hours.
        before = os.open(".", os.O_RDONLY)
        try:
            os.chdir(folder)
            yield
        finally:
            os.chdir(before)
            os.close(before)


def _calculators(calculator: Any) -> list[Any]:
    """A calculator, then those that it holds, itself or in a helper such as ASE's ``Mixer``, each once."""
    found = [calculator]
    for holder in found:  # which grows
        for value in _held(holder):
            for inner in (value,) if _is_calculator(value) else _held(value):
                if _is_calculator(inner) and not any(inner is known for known in found):
                    found.append(inner)
    return found


def _is_calculator(value: Any) -> bool:
    # Asked of the type, since an object may make up attributes when it is asked for them.
    return isinstance(value, BaseCalculator) or hasattr(type(value), "get_potential_energy")


def _held(holder: Any) -> Iterator[Any]:
    """What the attributes of an object are, and what stands in lists, tuples and dictionaries of theirs."""
    values = list(getattr(holder, "__dict__", {}).values())
    opened: set[int] = set()
    for value in values:  # which grows
        if isinstance(value, dict | list | tuple):
            if id(value) not in opened:
                opened.add(id(value))
                values += value.values() if isinstance(value, dict) else value
        else:
            yield value
