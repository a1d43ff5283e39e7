"""Where the driver buys labels: hands materials to the labellers, journals every outcome."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import ray
import ray.exceptions

from gpnet_ray.campaign.history import RunHistory
from gpnet_ray.campaign.journal import Journal
from gpnet_ray.config import SelectionConfig
from gpnet_ray.errors import OracleError
from gpnet_ray.oracles.protocol import LabelOutcome

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["LabelDesk", "check_failures"]

LARGEST_CHUNK = 16
CHUNK_SECONDS = 0.5
"""A message to a labeller holds as many materials as it labels in this time: one where a label takes
hours, so that none waits for another; several where labels are quick, so that messages are few."""

MIN_ASKED_BEFORE_STOPPING = 10
"""So that one early failure is not a share of 100 %."""


class LabelDesk:
    """Buys each label once, however many strategies ask for it."""

    def __init__(
        self,
        labellers: Sequence[Any],
        structures: Mapping[str, Structure],
        journal: Journal,
        history: RunHistory | None = None,
    ) -> None:
        """Open the desk.

        Args:
            labellers: Handles of the labeller actors.
            structures: The crystal of every id that may be asked for.
            journal: Where outcomes are written before they are used.
            history: An earlier journal of the same run; what is in it is not asked for again.
        """
        self._labellers, self._structures, self._journal = labellers, structures, journal
        history = history or RunHistory()
        self._known, self._measured = dict(history.labels), dict(history.measured)
        self._chunk_size = 1

    @property
    def look_ahead(self) -> int:
        """How many labels to ask for at once: enough for all labellers, no more than can be used."""
        return 2 * len(self._labellers) * self._chunk_size

    def label(
        self, ids: Sequence[str], on_outcome: Callable[[LabelOutcome], None] = lambda _: None
    ) -> dict[str, LabelOutcome]:
        """Return an outcome for every id, asking the oracle only for those never asked before.

        ``on_outcome`` is called for each new outcome, once the journal has it.

        Raises:
            OracleError: the oracle answered about other materials than those it was asked about.
        """
        self._fill(ids, self._known, "label", on_outcome)
        return {i: self._known[i] for i in ids}

    def measure(
        self, ids: Sequence[str], on_outcome: Callable[[LabelOutcome], None] = lambda _: None
    ) -> dict[str, LabelOutcome]:
        """Return true values that only measure errors; the loop buys its labels all the same."""
        self._fill(ids, self._measured, "measured", on_outcome)
        return {i: self._measured[i] for i in ids}

    def _fill(
        self,
        ids: Sequence[str],
        known: dict[str, LabelOutcome],
        event: str,
        on_outcome: Callable[[LabelOutcome], None],
    ) -> None:
        missing = [i for i in ids if i not in known]
        if missing:
            self._journal.append({"event": "asked", "for": event, "ids": missing})
        for outcomes in self._ask(missing):
            self._journal.append(*({"event": event, "outcome": asdict(o)} for o in outcomes))
            for outcome in outcomes:
                known[outcome.material_id] = outcome
                on_outcome(outcome)

    def _ask(self, ids: Sequence[str]) -> Iterator[Sequence[LabelOutcome]]:
        """Yield the labellers' answers as they come; all labellers work side by side.

        When a labeller breaks down, what the others are working on is still waited for, since it
        is paid for; then its error is raised.
        """
        left = list(ids)
        idle = list(self._labellers)
        running: dict[Any, tuple[Any, list[str], float]] = {}
        broken: Exception | None = None
        while running or (left and broken is None):
            while left and idle and broken is None:
                chunk, left = left[: self._chunk_size], left[self._chunk_size :]
                labeller = idle.pop()
                answer = labeller.label.remote(chunk, [self._structures[i] for i in chunk])
                running[answer] = (labeller, chunk, time.monotonic())
            (done,), _ = ray.wait(list(running), num_returns=1)
            labeller, chunk, asked_at = running.pop(done)
            try:
                outcomes = _checked(ray.get(done), chunk)
            except (ray.exceptions.RayError, OracleError) as error:
                broken = broken or error
                continue
            idle.append(labeller)
            seconds_each = max((time.monotonic() - asked_at) / len(chunk), 1e-6)
            self._chunk_size = max(1, min(LARGEST_CHUNK, int(CHUNK_SECONDS / seconds_each)))
            yield outcomes
        if broken is not None:
            raise broken


def _checked(outcomes: Sequence[LabelOutcome], asked: Sequence[str]) -> Sequence[LabelOutcome]:
    answered = [outcome.material_id for outcome in outcomes]
    if answered != list(asked):
        raise OracleError(
            f"the oracle was asked about {list(asked)} and answered about {answered};"
            " an oracle must give one outcome an id, in the order asked"
        )
    return outcomes


def check_failures(
    failed: Sequence[LabelOutcome], n_asked: int, selection: SelectionConfig, *, what: str
) -> None:
    """Stop when too large a share could not be labelled, however few were asked for above a handful.

    Raises:
        OracleError: says how many of how many failed, and the commonest reasons.
    """
    few = n_asked < MIN_ASKED_BEFORE_STOPPING
    if few or len(failed) <= selection.max_failed_share * n_asked:
        return
    reasons = Counter(outcome.reason for outcome in failed)
    listing = "; ".join(f"{count} × {reason}" for reason, count in reasons.most_common(5))
    raise OracleError(
        f"{len(failed)} of {n_asked} {what} could not be labelled, more than"
        f" selection.max_failed_share = {selection.max_failed_share}: {listing}."
        " Mend the oracle and go on with --resume --retry-failed"
    )
