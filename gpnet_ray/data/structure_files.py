"""Crystals as files that simulation codes read, named after their ids."""

from __future__ import annotations

import re
import warnings
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from gpnet_ray.errors import InputError, nearest_name_hint

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["STRUCTURE_FORMATS", "StructureFormat", "file_stem", "write_structure"]

StructureFormat: TypeAlias = Literal["poscar", "cif"]

STRUCTURE_FORMATS: tuple[StructureFormat, ...] = ("poscar", "cif")

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_DIGITS = 12


def file_stem(material_id: str) -> str:
    """A file name for an id: the id itself where it is a plain name, else a readable, unique stand-in.

    No id can so lead out of a folder, hide a file or mean something to a shell.

    >>> file_stem("mp-1265")
    'mp-1265'
    >>> file_stem("../MgO (rock salt)")
    'MgO_rock_salt-299a176d60ec'
    """
    if _PLAIN.fullmatch(material_id) and not material_id.endswith("."):
        return material_id
    readable = re.sub(r"[^A-Za-z0-9+-]+", "_", material_id)[:60].strip("_-+")
    digest = sha256(material_id.encode()).hexdigest()[:_DIGITS]
    return f"{readable}-{digest}" if readable else digest


def write_structure(
    folder: Path, material_id: str, structure: Structure, *, fmt: StructureFormat
) -> Path:
    """Write one crystal into an existing folder; what was there under its name is replaced.

    A POSCAR has the atoms of each element together, as VASP wants them; a CIF has the cell as it is
    (P1), so that no symmetry finder changes it. Both hold coordinates to 1e-12 or better.

    Args:
        folder: where the file lies then.
        material_id: names the file, by :func:`file_stem`.
        structure: an ordered crystal.
        fmt: ``poscar`` or ``cif``.

    Returns:
        The file, ``ID.poscar`` or ``ID.cif``: the names that a dataset folder has.

    Raises:
        InputError: unknown format.
    """
    if fmt not in STRUCTURE_FORMATS:
        raise InputError(
            f"unknown structure format {fmt!r}: {nearest_name_hint(fmt, STRUCTURE_FORMATS)}"
        )
    path = folder / f"{file_stem(material_id)}.{fmt}"
    path.write_text(_text(structure, fmt), encoding="utf-8")
    return path


def _text(structure: Structure, fmt: StructureFormat) -> str:
    from pymatgen.io.cif import CifWriter
    from pymatgen.io.vasp import Poscar

    with warnings.catch_warnings():
        # Noble gases have no electronegativity to sort a formula by.
        warnings.filterwarnings("ignore", message="No Pauling electronegativity")
        if fmt == "cif":
            return str(CifWriter(structure, significant_figures=14))
        return str(Poscar(structure, sort_structure=True).get_str(significant_figures=16))
