"""One crystal from what a file holds of it, or the reason why it cannot be used."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gpnet_ray.data.elements import HIGHEST_ATOMIC_NUMBER

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = [
    "DISORDERED",
    "DOES_NOT_PARSE",
    "UNKNOWN_ELEMENT",
    "BadStructureError",
    "ParsedStructure",
    "RawStructure",
    "parse_structure",
    "structure_from_dict",
    "structure_text",
]

DOES_NOT_PARSE = "does not parse"
DISORDERED = "disordered"
UNKNOWN_ELEMENT = "unknown element"

RawStructure: TypeAlias = str | bytes | Mapping[str, Any] | Path | None
"""pymatgen JSON or CIF text, its bytes, a pymatgen dictionary, a CIF or POSCAR file, or nothing."""

# What pymatgen raises on malformed text, found by feeding it such; only pymatgen runs inside.
_PARSER_ERRORS = (
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    AssertionError,
    ZeroDivisionError,
)


# pymatgen makes up elements then (H, He, …), also where the comment line names them.
_ELEMENTS_MADE_UP = "Elements in POSCAR cannot be determined"

# Keywords of CIF are the same in capitals.
_CIF_BLOCK = re.compile(r"^\s*data_", re.MULTILINE | re.IGNORECASE)
_CIF_SITES = re.compile(r"^\s*_atom_site_fract_x\b", re.MULTILINE | re.IGNORECASE)


class BadStructureError(Exception):
    """A structure cannot be used; the text is ``category: detail``."""

    def __init__(self, category: str, detail: str) -> None:
        super().__init__(f"{category}: {detail}")
        self.category = category
        self.detail = detail


@dataclass(frozen=True)
class ParsedStructure:
    """An ordered crystal of known elements, and what pymatgen warned of while reading it."""

    structure: Structure
    warnings: tuple[str, ...]


def parse_structure(raw: RawStructure) -> ParsedStructure:
    """Read one crystal and check that the network can work on it.

    Warnings of pymatgen's parsers are collected rather than printed.

    Raises:
        BadStructureError: the crystal does not parse (also a CIF file with several, and a POSCAR file that
            names no elements), is disordered, or holds something that is not an element with Z ≤ 94.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            structure = _structure_from(raw)
        except _PARSER_ERRORS as error:
            if "is not a valid Element" in str(error):
                raise BadStructureError(UNKNOWN_ELEMENT, str(error)) from None
            detail = " ".join(f"{type(error).__name__}: {error}".split())
            raise BadStructureError(DOES_NOT_PARSE, detail[:200]) from None
        except OSError as error:
            raise BadStructureError(DOES_NOT_PARSE, str(error)) from None
    warned = tuple(str(w.message) for w in caught)
    if any(text.startswith(_ELEMENTS_MADE_UP) for text in warned):
        raise BadStructureError(
            DOES_NOT_PARSE,
            "the POSCAR file does not say which elements its atoms are; add the line of element symbols, such as"
            " 'Mg O', above the line of their numbers",
        )
    _check(structure)
    return ParsedStructure(structure, warned)


def structure_from_dict(content: Mapping[str, Any]) -> Structure:
    """Make a crystal of a pymatgen dictionary, whoever wrote it.

    pymatgen makes an object of whatever class a property of a site names (``@module`` and ``@class``), and so
    imports and runs what is named. Properties that are more than numbers, text and lists of them are
    left out, with a warning; the network reads none.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is no crystal, as pymatgen says.
    """
    from pymatgen.core import Structure

    if not isinstance(content.get("properties") or {}, Mapping):
        raise TypeError("the properties of the crystal are no mapping")
    sites = [
        {**site, "properties": _plain_properties(site["properties"])}
        if site.get("properties")
        else site
        for site in content["sites"]
    ]
    return Structure.from_dict({**content, "sites": sites})


def structure_text(structure: Structure) -> str:
    """A crystal as pymatgen's JSON, which :func:`parse_structure` reads back.

    Raises:
        TypeError: a property is neither plain data nor a number of NumPy.
    """
    return json.dumps(structure.as_dict(), default=_plain_number)


def _plain_number(value: object) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} is a property of a crystal and cannot be kept as JSON")


def _plain_properties(properties: Mapping[str, Any]) -> dict[str, Any]:
    plain = {name: value for name, value in properties.items() if _is_plain(value)}
    for name in properties.keys() - plain.keys():
        warnings.warn(f"site property {name!r} is not plain data and is left out", stacklevel=2)
    return plain


def _is_plain(value: object) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | bool | int | float)


def _structure_from(raw: RawStructure) -> Structure:
    from pymatgen.core import Structure

    if isinstance(raw, Mapping):
        return structure_from_dict(raw)
    if isinstance(raw, Path):
        text = raw.read_text(encoding="utf-8")
        is_cif = raw.suffix.lower() == ".cif"
        return _structure_of_cif(text) if is_cif else Structure.from_str(text, fmt="poscar")
    if isinstance(raw, bytes):
        raw = raw.decode("utf-8", "replace")
    if raw is None or not raw.strip():
        raise ValueError("the structure is empty")
    if raw.lstrip().startswith("{"):
        return structure_from_dict(json.loads(raw))
    if "_cell_length_a" not in raw:
        raise ValueError(f"neither pymatgen JSON nor CIF: {raw.strip()[:40]!r}")
    return _structure_of_cif(raw)


def _structure_of_cif(text: str) -> Structure:
    """The only crystal of a CIF file; blocks without atoms, as journals write them, count for none.

    pymatgen gives the first one, and where two blocks have one name the second.
    """
    from pymatgen.core import Structure

    blocks = _CIF_BLOCK.split(text)[1:]
    count = sum(_CIF_SITES.search(block) is not None for block in blocks)
    if count > 1:
        raise BadStructureError(
            DOES_NOT_PARSE, f"the CIF holds {count} structures; split it into one for each"
        )
    return Structure.from_str(text, fmt="cif")


def _check(structure: Structure) -> None:
    from pymatgen.core import DummySpecies

    for species in structure.composition:
        if isinstance(species, DummySpecies):
            raise BadStructureError(UNKNOWN_ELEMENT, f"{species} is not an element")
        if species.Z > HIGHEST_ATOMIC_NUMBER:
            raise BadStructureError(
                UNKNOWN_ELEMENT,
                f"{species} has Z = {species.Z}, the network knows Z up to {HIGHEST_ATOMIC_NUMBER}",
            )
    if not structure.is_ordered:
        mixed = next(site for site in structure if not site.is_ordered)
        raise BadStructureError(DISORDERED, f"a disordered site holds {mixed.species_string}")
    if not (
        np.isfinite(structure.lattice.matrix).all() and np.isfinite(structure.frac_coords).all()
    ):
        raise BadStructureError(DOES_NOT_PARSE, "coordinates are not all finite")
    if structure.volume < 1e-3:
        raise BadStructureError(DOES_NOT_PARSE, "the cell has no volume")
