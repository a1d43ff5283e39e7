"""Labels that are known already: the oracle of a benchmark, reading them from a table."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gpnet_ray.errors import OracleError
from gpnet_ray.oracles.protocol import LabelOutcome
from gpnet_ray.oracles.settings import TableConfig
from gpnet_ray.seeds import generator

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["TableOracle"]


class TableOracle:
    """Looks labels up by id; an id without an entry, or with a NaN, is a failed outcome.

    It can stand for a laboratory whose labels take time and fail: both are drawn from the seed and
    the id alone, so that they do not depend on the order of labels or on who asks.
    """

    name = "table"

    def __init__(
        self,
        values: Mapping[str, float],
        *,
        unit: str,
        simulated: TableConfig | None = None,
        seed: int = 0,
    ) -> None:
        """Take the labels.

        Args:
            values: The label of each id, in ``unit``.
            unit: Their unit.
            simulated: Duration (s) and failure rate of labels; none of both where left out.
            seed: Decides which labels fail and how long each takes.
        """
        self.unit = unit
        self._values = {material_id: float(value) for material_id, value in values.items()}
        self._simulated, self._seed = simulated or TableConfig(), seed

    def label(self, ids: Sequence[str], structures: Sequence[Structure]) -> list[LabelOutcome]:
        """Return one outcome an id, in order; the structures are not looked at.

        Raises:
            OracleError: different numbers of ids and structures.
        """
        if len(ids) != len(structures):
            raise OracleError(f"{len(ids)} ids but {len(structures)} structures to label")
        return [self._outcome(material_id) for material_id in ids]

    def _outcome(self, material_id: str) -> LabelOutcome:
        fails, seconds = self._draw(material_id)
        time.sleep(seconds)
        value = self._values.get(material_id)
        if fails:
            rate = self._simulated.failure_rate
            reason = f"simulated failure (oracle.table.failure_rate is {rate:g})"
        elif value is None:
            reason = "not in the table of labels"
        elif not math.isfinite(value):
            reason = f"the table says {value}"
        else:
            return LabelOutcome(material_id, "ok", value, "", 1, seconds)
        return LabelOutcome(material_id, "failed", None, reason, 1, seconds)

    def _draw(self, material_id: str) -> tuple[bool, float]:
        """Draw whether a label fails, and how many seconds it takes."""
        simulated = self._simulated
        if not (simulated.failure_rate or simulated.mean_seconds):
            return False, 0.0
        draw = generator(self._seed, f"simulated label of {material_id}")
        fails = bool(draw.random() < simulated.failure_rate)
        if not simulated.mean_seconds:
            return fails, 0.0
        # The log-normal with this mean and standard deviation.
        variance = math.log1p((simulated.std_seconds / simulated.mean_seconds) ** 2)
        location = math.log(simulated.mean_seconds) - variance / 2
        return fails, float(draw.lognormal(location, math.sqrt(variance)))
