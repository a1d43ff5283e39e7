"""Global features: numbers that describe a whole crystal, such as the pressure at which its energy was computed.

MEGNet calls them the state of a crystal and reads them beside atoms and bonds (Chen et al., Chem. Mater. 31, 3564
(2019), doi:10.1021/acs.chemmater.9b01294). Here they travel in the ``properties`` of a pymatgen structure, by
name, so that whatever keeps a crystal keeps them. Free of TensorFlow.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gpnet_ray.errors import InputError
from gpnet_ray.types import FloatArray

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = [
    "NO_GLOBAL_FEATURE",
    "StateScaling",
    "check_has_features",
    "global_state",
    "missing_features",
]

NO_GLOBAL_FEATURE = "no global feature"

SAME = 1e-9
"""Numbers that differ by less, relative to the largest of them, are one: a conversion of units rounds differently."""


def missing_features(structure: Structure, names: Sequence[str]) -> dict[str, object]:
    """Those of the named features of which a crystal has no finite number, with what it has instead."""
    values = {name: structure.properties.get(name) for name in names}
    return {name: value for name, value in values.items() if not _is_number(value)}


def global_state(structure: Structure, names: Sequence[str]) -> FloatArray:
    """The named features of a crystal that has them all: float64 (k,), each in its own unit."""
    return np.array([structure.properties[name] for name in names], dtype=np.float64)


def check_has_features(source: str, global_features: Sequence[str]) -> None:
    """Refuse crystals that have no global features for a network that reads some.

    Raises:
        InputError: the network reads some.
    """
    if global_features:
        raise InputError(
            f"the network reads the global features {', '.join(global_features)}, which {source} do not"
            " have; name a table (Parquet, CSV or JSON) with a column for each"
        )


@dataclass(frozen=True)
class StateScaling:
    """How global features were scaled before training: less ``mean``, divided by ``scale``.

    Attributes:
        mean: k numbers, each in its feature's unit.
        scale: k positive numbers, likewise.

    Raises:
        InputError: numbers that are not finite, or a scale that is not positive.
    """

    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        good = len(self.mean) == len(self.scale) and all(
            math.isfinite(m) and 0 < s < float("inf")
            for m, s in zip(self.mean, self.scale, strict=True)
        )
        if not good:
            raise InputError(
                f"the scaling of the global features (means {list(self.mean)}, scales {list(self.scale)})"
                " must be finite, with a positive scale for each mean; train the network again"
            )

    @classmethod
    def fit(cls, state: FloatArray, names: Sequence[str]) -> StateScaling:
        """Mean and standard deviation of every column.

        Args:
            state: float64 (n, k), of the train rows alone.
            names: of the k features.

        Raises:
            InputError: a feature has one value only, but for rounding, from which nothing can be learned.
        """
        for name, column in zip(names, state.T, strict=True):
            if np.ptp(column) <= SAME * np.abs(column).max():
                raise InputError(
                    f"the global feature {name} is {column[0]:g} for all {len(column)} crystals that the"
                    " network is trained on, so it can learn nothing from it; leave it out, or train on"
                    " crystals that differ in it"
                )
        return cls(tuple(state.mean(axis=0).tolist()), tuple(state.std(axis=0).tolist()))

    def transform(self, state: FloatArray) -> FloatArray:
        """Scale features: float64 (n, k) from float64 (n, k)."""
        scaled: FloatArray = (state - np.array(self.mean)) / np.array(self.scale)
        return scaled


def _is_number(value: object) -> bool:
    # bool is a subclass of int.
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    # An integer of any size, too, which math.isfinite may not take.
    return bool(-sys.float_info.max <= value <= sys.float_info.max)
