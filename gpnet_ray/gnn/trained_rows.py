"""Which rows the weights of a network were fitted to, so that nobody takes them for unseen ones later."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from gpnet_ray.errors import InputError

if TYPE_CHECKING:
    from gpnet_ray.gnn.graphs import CrystalGraphs

__all__ = ["TrainedRows"]

_KEY_LENGTH = 12
"""Hexadecimal digits: among 10⁵ rows and 10⁵ others, one is taken for another by chance once in 28,000 times."""


@dataclass(frozen=True)
class TrainedRows:
    """Rows that a network was trained on, and those that the networks it began from were trained on.

    A row is known by a hash of its id and its composition: an id alone, such as ``17``, is another crystal in another
    dataset, and the atoms' places differ between two releases of one database. A crystal that has another id
    in another dataset is not known again.

    Attributes:
        keys: hashes of the rows that are known.
        is_complete: whether these are all. They are not for a network that megnet or an earlier version of this
            program wrote, nor for one that began from such a network.
    """

    keys: frozenset[str] = frozenset()
    is_complete: bool = False

    @classmethod
    def of(cls, graphs: CrystalGraphs) -> TrainedRows:
        """All of these crystals and no others."""
        return cls(frozenset(_keys(graphs).values()), is_complete=True)

    def __or__(self, other: TrainedRows) -> TrainedRows:
        """The rows of both; all are known where all of both are."""
        return TrainedRows(self.keys | other.keys, self.is_complete and other.is_complete)

    def among(self, graphs: CrystalGraphs) -> frozenset[str]:
        """Ids of the crystals that are among the known rows."""
        if not self.keys:
            return frozenset()
        return frozenset(name for name, key in _keys(graphs).items() if key in self.keys)

    def to_json(self) -> dict[str, Any]:
        """Return a dict of JSON types."""
        return {"keys": sorted(self.keys), "is_complete": self.is_complete}

    @classmethod
    def from_json(cls, content: Mapping[str, Any] | None) -> TrainedRows:
        """Rebuild from :meth:`to_json`'s dict; ``None``: nothing is known.

        Raises:
            InputError: it is no such dict.
        """
        if content is None:
            return cls()
        try:
            return cls(frozenset(map(str, content["keys"])), bool(content["is_complete"]))
        except (KeyError, TypeError) as error:
            raise InputError(
                f"trained_rows is damaged ({error!r}); copy the network again or train anew"
            ) from None


def _keys(graphs: CrystalGraphs) -> dict[str, str]:
    """Hash of id and reduced composition, by id."""
    keys = {}
    for row, name in enumerate(graphs.ids):
        atoms = graphs.atomic_numbers[graphs.atom_offsets[row] : graphs.atom_offsets[row + 1]]
        counts = Counter(atoms.tolist())
        divisor = math.gcd(*counts.values())
        composition = ",".join(f"{z}:{n // divisor}" for z, n in sorted(counts.items()))
        keys[name] = sha256(f"{composition}|{name}".encode()).hexdigest()[:_KEY_LENGTH]
    return keys
