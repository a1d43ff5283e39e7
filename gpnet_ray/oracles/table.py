"""Labels that are known already: the oracle of a benchmark, reading them from a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gpnet_ray.errors import OracleError
from gpnet_ray.oracles.protocol import LabelOutcome

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["TableOracle"]


class TableOracle:
    """Looks labels up by id; an id without an entry, or with a NaN, is a failed outcome."""

    name = "table"

    def __init__(self, values: Mapping[str, float], *, unit: str) -> None:
        self.unit = unit
        self._values = {material_id: float(value) for material_id, value in values.items()}

    def label(self, ids: Sequence[str], structures: Sequence[Structure]) -> list[LabelOutcome]:
        """Return one outcome an id, in order; the structures are not looked at.

        Raises:
            OracleError: different numbers of ids and structures.
        """
        if len(ids) != len(structures):
            raise OracleError(f"{len(ids)} ids but {len(structures)} structures to label")
        return [self._outcome(material_id) for material_id in ids]

    def _outcome(self, material_id: str) -> LabelOutcome:
        value = self._values.get(material_id)
        if value is not None and math.isfinite(value):
            return LabelOutcome(material_id, "ok", value, "", 1, 0.0)
        reason = "not in the table of labels" if value is None else f"the table says {value}"
        return LabelOutcome(material_id, "failed", None, reason, 1, 0.0)
