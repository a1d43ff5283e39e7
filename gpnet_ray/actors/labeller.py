"""The actor that stands in for the laboratory: it asks the oracle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from gpnet_ray.oracles.protocol import LabelOutcome, Oracle

__all__ = ["Labeller"]


class Labeller:
    """One oracle in a process of its own."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle

    def ping(self) -> bool:
        """Answer once the process runs."""
        return True

    def label(self, ids: Sequence[str], structures: Sequence[Structure]) -> list[LabelOutcome]:
        """Label materials; one outcome an id, in order."""
        # An oracle that answers with something else than a list raises here, where it is known to.
        return list(self._oracle.label(ids, structures))
