"""Where the driver buys labels: hands materials to the labellers, journals every outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import ray

from gpnet_ray.campaign.journal import Journal
from gpnet_ray.errors import OracleError
from gpnet_ray.oracles.protocol import LabelOutcome

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["LabelDesk"]

LARGEST_CHUNK = 16
"""Materials a message to a labeller: few messages for quick oracles, early results for slow ones."""


class LabelDesk:
    """Buys each label once, however many strategies ask for it."""

    def __init__(
        self,
        labellers: Sequence[Any],
        structures: Mapping[str, Structure],
        journal: Journal,
        events: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        """Open the desk.

        Args:
            labellers: Handles of the labeller actors.
            structures: The crystal of every id that may be asked for.
            journal: Where outcomes are written before they are used.
            events: An earlier journal of the same run; its labels are not bought again.
        """
        self._labellers, self._structures, self._journal = labellers, structures, journal
        self._known = {
            event["outcome"]["material_id"]: LabelOutcome(**event["outcome"])
            for event in events
            if event["event"] == "label"
        }

    def label(
        self, ids: Sequence[str], on_outcome: Callable[[LabelOutcome], None] = lambda _: None
    ) -> dict[str, LabelOutcome]:
        """Return an outcome for every id, asking the oracle only for those never asked before.

        ``on_outcome`` is called for each new outcome, once the journal has it.

        Raises:
            OracleError: the oracle answered about other materials than those it was asked about.
        """
        missing = [i for i in ids if i not in self._known]
        if missing:
            self._journal.append({"event": "asked", "ids": missing})
        for outcomes in self._ask(missing):
            self._journal.append(*({"event": "label", "outcome": asdict(o)} for o in outcomes))
            for outcome in outcomes:
                self._known[outcome.material_id] = outcome
                on_outcome(outcome)
        return {i: self._known[i] for i in ids}

    def measure(
        self, ids: Sequence[str], on_outcome: Callable[[LabelOutcome], None] = lambda _: None
    ) -> dict[str, LabelOutcome]:
        """Return true values that only measure errors: not bought, not journaled, not kept here."""
        found: dict[str, LabelOutcome] = {}
        for outcomes in self._ask(ids):
            for outcome in outcomes:
                found[outcome.material_id] = outcome
                on_outcome(outcome)
        return found

    def _ask(self, ids: Sequence[str]) -> Iterator[Sequence[LabelOutcome]]:
        """Yield the labellers' answers as they come; all labellers work side by side."""
        size = max(1, min(LARGEST_CHUNK, len(ids) // (4 * len(self._labellers))))
        chunks = [ids[start : start + size] for start in range(0, len(ids), size)][::-1]
        idle = list(self._labellers)
        running: dict[Any, tuple[Any, Sequence[str]]] = {}
        while chunks or running:
            while chunks and idle:
                labeller, chunk = idle.pop(), chunks.pop()
                structures = [self._structures[i] for i in chunk]
                running[labeller.label.remote(chunk, structures)] = (labeller, chunk)
            (done,), _ = ray.wait(list(running), num_returns=1)
            labeller, chunk = running.pop(done)
            idle.append(labeller)
            outcomes = ray.get(done)
            answered = [outcome.material_id for outcome in outcomes]
            if answered != list(chunk):
                raise OracleError(
                    f"the oracle was asked about {list(chunk)} and answered about {answered};"
                    " an oracle must give one outcome an id, in the order asked"
                )
            yield outcomes
