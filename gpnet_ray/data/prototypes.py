"""The crystal structures that the hypothetical oxides are built on.

Space groups and coordinates are those of the named mineral or compound, as in Wyckoff, *Crystal
Structures* (1963-71), and the AFLOW prototype encyclopedia (Mehl et al., Comput. Mater. Sci. 136,
S1 (2017)). Only the topology matters: cell and free coordinates are fitted to the bond lengths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import TypeAlias

from gpnet_ray.errors import InputError, nearest_name_hint

__all__ = ["ANION", "PROTOTYPES", "Prototype", "Supercell", "prototype_named"]

ANION = "O"

Supercell: TypeAlias = tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]

_DOUBLED_A: Supercell = ((2, 0, 0), (0, 1, 0), (0, 0, 1))
_DOUBLED_C: Supercell = ((1, 0, 0), (0, 1, 0), (0, 0, 2))
_COLUMNS: Supercell = ((1, 1, 0), (-1, 1, 0), (0, 0, 1))
_ROCK_SALT_ORDER: Supercell = ((0, 1, 1), (1, 0, 1), (1, 1, 0))
_FACE_CENTRED_LAYERS: Supercell = ((0, 0, 1), (1, -1, 0), (1, 1, -1))
"""Alternate (001) layers of a face-centred lattice; alternate (111) layers would be caswellsilverite."""


@dataclass(frozen=True)
class Prototype:
    """One structure type.

    Attributes:
        name: as in ids: lower-case letters and digits.
        space_group: Hermann-Mauguin symbol, conventional setting (hexagonal axes; origin 1 where there
            are two, since that is the one that pymatgen takes).
        c_over_a: axis ratio of the conventional cell; ``None`` for cubic ones.
        sites: (sublattice, fractional coordinates) of the asymmetric unit; sublattice ``A``, ``B``
            or ``O``.
        coordination: oxide neighbours of each cation sublattice.
        supercells: by name, integer matrices whose rows are the axes of an ordered cell in terms of
            the primitive ones.
        interchangeable: exchanging A and B gives the same structure, so only one is generated.
        rigid_axes: the bonds do not decide the axis ratio (cations that face each other across a
            shared octahedral face would close in), so the mineral's is kept.
    """

    name: str
    space_group: str
    c_over_a: float | None
    sites: tuple[tuple[str, tuple[float, float, float]], ...]
    coordination: Mapping[str, int]
    supercells: Mapping[str, Supercell] = field(default_factory=dict)
    interchangeable: bool = False
    rigid_axes: bool = False


_HCP = (1 / 3, 2 / 3)

PROTOTYPES: tuple[Prototype, ...] = (
    Prototype(
        "rocksalt",
        "Fm-3m",
        None,
        (("A", (0, 0, 0)), ("O", (0.5, 0.5, 0.5))),
        {"A": 6},
        {"layered": _FACE_CENTRED_LAYERS},
    ),
    Prototype(
        "wurtzite",
        "P6_3mc",
        sqrt(8 / 3),
        (("A", (*_HCP, 0)), ("O", (*_HCP, 0.375))),
        {"A": 4},
    ),
    Prototype(
        "fluorite",
        "Fm-3m",
        None,
        (("A", (0, 0, 0)), ("O", (0.25, 0.25, 0.25))),
        {"A": 8},
        {"layered": _FACE_CENTRED_LAYERS},
    ),
    Prototype(
        "antifluorite",
        "Fm-3m",
        None,
        (("A", (0.25, 0.25, 0.25)), ("O", (0, 0, 0))),
        {"A": 4},
    ),
    Prototype(
        "cristobalite",
        "Fd-3m",
        None,
        (("A", (0, 0, 0)), ("O", (0.125, 0.125, 0.125))),
        {"A": 4},
    ),
    Prototype(
        "rutile",
        "P4_2/mnm",
        0.644,
        (("A", (0, 0, 0)), ("O", (0.305, 0.305, 0))),
        {"A": 6},
        {"doubled": _DOUBLED_C},
    ),
    Prototype(
        "anatase",
        "I4_1/amd",
        2.514,
        (("A", (0, 0, 0)), ("O", (0, 0, 0.2081))),
        {"A": 6},
    ),
    Prototype("reo3", "Pm-3m", None, (("A", (0, 0, 0)), ("O", (0.5, 0, 0))), {"A": 6}),
    Prototype(
        "corundum",
        "R-3c",
        2.73,
        (("A", (0, 0, 0.352)), ("O", (0.306, 0, 0.25))),
        {"A": 6},
        rigid_axes=True,
    ),
    Prototype(
        "sesquioxide",
        "P-3m1",
        1.557,
        (("A", (*_HCP, 0.2454)), ("O", (0, 0, 0)), ("O", (*_HCP, 0.6471))),
        {"A": 7},
        {"doubled": _DOUBLED_C},
    ),
    Prototype(
        "perovskite",
        "Pm-3m",
        None,
        (("A", (0.5, 0.5, 0.5)), ("B", (0, 0, 0)), ("O", (0.5, 0, 0))),
        {"A": 12, "B": 6},
        {"layered": _DOUBLED_C, "columns": _COLUMNS, "elpasolite": _ROCK_SALT_ORDER},
    ),
    Prototype(
        "ilmenite",
        "R-3",
        2.768,
        (("A", (0, 0, 0.3553)), ("B", (0, 0, 0.1464)), ("O", (0.3174, 0.0233, 0.2451))),
        {"A": 6, "B": 6},
        interchangeable=True,
        rigid_axes=True,
    ),
    Prototype(
        "lithiumniobate",
        "R3c",
        2.693,
        (("A", (0, 0, 0.2829)), ("B", (0, 0, 0)), ("O", (0.0476, 0.3433, 0.0633))),
        {"A": 6, "B": 6},
        interchangeable=True,
        rigid_axes=True,
    ),
    Prototype(
        "spinel",
        "Fd-3m",
        None,
        (("A", (0, 0, 0)), ("B", (0.625, 0.625, 0.625)), ("O", (0.3875, 0.3875, 0.3875))),
        {"A": 4, "B": 6},
    ),
    Prototype(
        "zircon",
        "I4_1/amd",
        0.905,
        (("A", (0, 0, 0)), ("B", (0, 0, 0.5)), ("O", (0, 0.184, 0.320))),
        {"A": 8, "B": 4},
    ),
    Prototype(
        "scheelite",
        "I4_1/a",
        2.169,
        (("A", (0, 0, 0.5)), ("B", (0, 0, 0)), ("O", (0.2413, 0.1511, 0.0861))),
        {"A": 8, "B": 4},
    ),
    Prototype(
        "pyrochlore",
        "Fd-3m",
        None,
        (
            ("A", (0.625, 0.625, 0.625)),
            ("B", (0.125, 0.125, 0.125)),
            ("O", (0.4625, 0.25, 0.25)),
            ("O", (0.5, 0.5, 0.5)),
        ),
        {"A": 8, "B": 6},
    ),
    Prototype(
        "k2nif4",
        "I4/mmm",
        3.29,
        (("A", (0, 0, 0.354)), ("B", (0, 0, 0)), ("O", (0, 0.5, 0)), ("O", (0, 0, 0.155))),
        {"A": 9, "B": 6},
        {"doubled": _DOUBLED_A},
    ),
    Prototype(
        "delafossite",
        "R-3m",
        5.93,
        (("A", (0, 0, 0)), ("B", (0, 0, 0.5)), ("O", (0, 0, 0.11))),
        {"A": 2, "B": 6},
        {"doubled": _DOUBLED_A},
    ),
    Prototype(
        "caswellsilverite",
        "R-3m",
        4.99,
        (("A", (0, 0, 0)), ("B", (0, 0, 0.5)), ("O", (0, 0, 0.2395))),
        {"A": 6, "B": 6},
        {"doubled": _DOUBLED_A},
        interchangeable=True,
        rigid_axes=True,
    ),
    Prototype(
        "trirutile",
        "P4_2/mnm",
        1.99,
        (
            ("A", (0, 0, 0)),
            ("B", (0, 0, 0.333)),
            ("O", (0.305, 0.305, 0)),
            ("O", (0.305, 0.305, 0.333)),
        ),
        {"A": 6, "B": 6},
    ),
)


def prototype_named(name: str) -> Prototype:
    """Return the prototype with this name.

    Raises:
        InputError: no such prototype; the nearest name is given.
    """
    for prototype in PROTOTYPES:
        if prototype.name == name:
            return prototype
    hint = nearest_name_hint(name, [p.name for p in PROTOTYPES])
    raise InputError(f"unknown prototype {name!r}: {hint}")
