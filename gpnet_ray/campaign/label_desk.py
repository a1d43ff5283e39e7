"""Where the driver buys labels: hands materials to the labellers, journals every try and outcome."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from gpnet_ray.actors.labeller_crew import Report
from gpnet_ray.campaign.history import RunHistory
from gpnet_ray.campaign.journal import Event, Journal
from gpnet_ray.campaign.message_size import MessageSize
from gpnet_ray.config import LabelsConfig
from gpnet_ray.errors import GpnetError, OracleError, RunFolderError
from gpnet_ray.oracles.protocol import LabelOutcome

if TYPE_CHECKING:
    from types import TracebackType

    from pymatgen.core import Structure

__all__ = ["Crew", "LabelDesk"]

Purpose: TypeAlias = Literal["label", "measured"]
Key: TypeAlias = tuple[str, str]
"""What for, and which material; what has an outcome for one purpose is not bought for the other."""

_OTHER: dict[Purpose, Purpose] = {"label": "measured", "measured": "label"}


class Crew(Protocol):
    """Who does the work; see :class:`gpnet_ray.actors.labeller_crew.LabellerCrew`."""

    def __len__(self) -> int:
        """How many labellers there are meant to be."""

    @property
    def n_idle(self) -> int:
        """How many wait for work."""

    def send(
        self, purpose: str, ids: Sequence[str], structures: Sequence[Structure | None]
    ) -> None:
        """Give an idle labeller some materials."""

    def next_report(self, timeout_seconds: float | None = None) -> Report | None:
        """Wait for what becomes of one message."""


class LabelDesk:
    """Buys each label once, however many strategies ask for it, and what for, whatever happens to a labeller.

    What a labeller is working on when :meth:`label` is left early stays with it: its outcome is
    journaled when the desk is next asked for something, by :meth:`collect`, or when the desk closes.
    """

    def __init__(
        self,
        crew: Crew,
        structures: Mapping[str, Structure | None],
        journal: Journal,
        history: RunHistory | None = None,
        *,
        settings: LabelsConfig | None = None,
        clock: Callable[[], float] = time.monotonic,
        notify: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Open the desk.

        Args:
            crew: The labellers.
            structures: The crystal of every id that may be asked for.
            journal: Where tries and outcomes are written before they are used.
            history: An earlier journal of the same run; what is in it is not asked for again.
            settings: Tries, pauses, look-ahead.
            clock: Seconds, for the pauses.
            notify: Told in one line what is waited for when nothing more is asked.
        """
        history = history or RunHistory()
        self._crew, self._structures, self._journal = crew, structures, journal
        self._settings = settings or LabelsConfig()
        self._clock, self._notify = clock, notify
        self._known: dict[Key, LabelOutcome] = {
            **{("label", i): outcome for i, outcome in history.labels.items()},
            **{("measured", i): outcome for i, outcome in history.measured.items()},
        }
        self._n_asked, self._n_faults = Counter(history.asked), Counter(history.faults)
        self._in_flight: set[Key] = set()
        self._not_before: dict[Key, float] = {}
        self._n_outcomes: Counter[str] = Counter()
        self._message_size = MessageSize(self._settings.time_limit_seconds)

    def __enter__(self) -> LabelDesk:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait for what is being labelled: it is paid for, however the run ends.

        Only Ctrl-C and what else ends the program at once do not wait. An error that comes while the
        desk waits after another one is told in a line, so that the first is the one that is raised.
        """
        if kind is not None and not issubclass(kind, Exception):
            return
        try:
            self.collect("before the run ends" if error is None else f"after an error ({error})")
        except GpnetError as second:
            if error is None:
                raise
            if str(second) != str(error):
                self._notify(f"Warning: {second}")

    def collect(self, when: str) -> None:
        """Wait for all that is being labelled, and journal it.

        For times in which nobody asks the desk for anything: what is done in them is not journaled, and
        is lost if the driver is. What has a fault is tried again when it is next asked for.

        Args:
            when: Why now, for the line that says what is waited for (``before ...``).

        Raises:
            OracleError, ClusterError: as :meth:`label`.
            RunFolderError: the disk is full; what was bought is journaled as long as there is room.
        """
        if not self._in_flight:
            return
        ids = sorted(material_id for _, material_id in self._in_flight)
        listing = ", ".join(ids[:3]) + (", …" if len(ids) > 3 else "")
        self._notify(
            f"Waiting for {len(ids)} labels that are being made, {when}: {listing}. They are paid"
            " for; Ctrl-C stops waiting"
        )
        self._collect_what_is_in_flight()

    def bought(self) -> dict[str, float]:
        """Every label that the loop has asked for, by id, whether it was picked in the end or not."""
        return {
            material_id: outcome.value
            for (purpose, material_id), outcome in self._known.items()
            if purpose == "label" and outcome.value is not None
        }

    def label(self, ids: Sequence[str], *, all_needed: bool = False) -> Iterator[LabelOutcome]:
        """Yield an outcome for every id, in order, while later ones are being labelled.

        Args:
            ids: Asked for in this order, unless they are known; each id once.
            all_needed: Every one of them will be used, whatever comes of the others. Else no more
                are bought ahead of the earliest pending one than ``labels.ahead_per_labeller`` says,
                since the caller may leave after a failure.

        Raises:
            OracleError: the oracle answered about other materials than those it was asked about;
                nothing of that answer is believed, and what others are working on is kept.
            ClusterError: all labellers were lost and no new one starts.
        """
        return self._stream("label", ids, all_needed=all_needed)

    def measure(self, ids: Sequence[str]) -> Iterator[LabelOutcome]:
        """Yield true values that only measure errors.

        Raises:
            OracleError, ClusterError: as :meth:`label`.
        """
        return self._stream("measured", ids, all_needed=True)

    def _stream(
        self, purpose: Purpose, ids: Sequence[str], *, all_needed: bool
    ) -> Iterator[LabelOutcome]:
        position = {material_id: place for place, material_id in enumerate(ids)}
        unasked = deque(i for i in position if (purpose, i) not in self._known)
        looked: tuple[int, int] | None = None
        for place, material_id in enumerate(ids):
            key = (purpose, material_id)
            while key not in self._known:
                end = len(ids) if all_needed else place + self._reach
                # Only what came for the other purpose can be taken over: 50,000 ids are not looked through
                # after every report.
                before, looked = looked, (self._n_outcomes[_OTHER[purpose]], end)
                if looked == before or not self._take_over(purpose, ids[place:end]):
                    self._hand_out(purpose, position, unasked, end)
                    self._take(self._crew.next_report(self._pause(purpose, position, end)))
            yield self._known[key]

    def _take_over(self, purpose: Purpose, ids: Sequence[str]) -> bool:
        """Journal under a purpose what was bought under the other one; whether there was any."""
        outcomes: list[LabelOutcome] = []
        for key in [(purpose, i) for i in ids]:
            bought = self._known.get((_OTHER[purpose], key[1]))
            if bought is None or bought.status != "ok":
                continue
            if key not in self._known and key not in self._in_flight:
                # Tries for this purpose, whose answer a kill of the driver lost, count too.
                outcomes.append(replace(bought, tries=bought.tries + self._n_asked[key]))
        self._journal.append(*({"event": purpose, "outcome": asdict(o)} for o in outcomes))
        for outcome in outcomes:
            self._known[purpose, outcome.material_id] = outcome
            self._not_before.pop((purpose, outcome.material_id), None)
        return bool(outcomes)

    @property
    def _reach(self) -> int:
        """How many labels from the earliest pending one on may be bought."""
        return max(
            1, self._settings.ahead_per_labeller * len(self._crew) * self._message_size.value
        )

    def _hand_out(
        self, purpose: Purpose, position: Mapping[str, int], unasked: deque[str], end: int
    ) -> None:
        """Give every idle labeller something that stands before ``end``, as long as there is any."""
        while self._crew.n_idle:
            ids = self._due_again(purpose, position, end) or self._chunk(
                purpose, position, unasked, end
            )
            if not ids:
                return
            self._journal.append({"event": "asked", "for": purpose, "ids": ids})
            for material_id in ids:
                self._n_asked[purpose, material_id] += 1
                self._in_flight.add((purpose, material_id))
            self._crew.send(purpose, ids, [self._structures[i] for i in ids])

    def _paused(self, purpose: Purpose, position: Mapping[str, int], end: int) -> dict[str, float]:
        """The materials before ``end`` that had a fault and may be tried again, and from when on."""
        return {
            i: not_before
            for (what_for, i), not_before in self._not_before.items()
            if what_for == purpose and position.get(i, end) < end
            if (_OTHER[purpose], i) not in self._in_flight
        }

    def _due_again(self, purpose: Purpose, position: Mapping[str, int], end: int) -> list[str]:
        """The first material whose pause after a fault is over; it travels alone."""
        now = self._clock()
        paused = self._paused(purpose, position, end)
        due = [i for i, not_before in paused.items() if not_before <= now]
        first = sorted(due, key=position.__getitem__)[:1]
        for material_id in first:
            del self._not_before[purpose, material_id]
        return first

    def _chunk(
        self, purpose: Purpose, position: Mapping[str, int], unasked: deque[str], end: int
    ) -> list[str]:
        """The next materials that were not asked for, as many as one message holds."""
        chunk: list[str] = []
        while unasked and position[unasked[0]] < end and len(chunk) < self._message_size.value:
            key = (purpose, unasked[0])
            alone = self._n_faults[key] > 0
            if alone and chunk:
                break
            if (_OTHER[purpose], key[1]) in self._in_flight:
                break  # its answer may serve for both
            material_id = unasked.popleft()
            # Bought ahead by an earlier call, or on its way.
            if key in self._known or key in self._in_flight or key in self._not_before:
                continue
            chunk.append(material_id)
            if alone:
                break
        return chunk

    def _pause(self, purpose: Purpose, position: Mapping[str, int], end: int) -> float | None:
        """Seconds until a material may be tried again; ``None`` where only labellers are waited for."""
        # Another call's, or one further on, is not handed out however long its pause has been over.
        paused = self._paused(purpose, position, end)
        if not (self._crew.n_idle and paused):
            return None
        return max(0.0, min(paused.values()) - self._clock())

    def _collect_what_is_in_flight(self) -> None:
        while self._in_flight:
            self._take(self._crew.next_report())

    def _take(self, report: Report | None) -> None:
        """Journal what became of a message, then believe it."""
        if report is None:
            return
        self._in_flight.difference_update((report.purpose, i) for i in report.ids)
        try:
            outcomes, events = self._read(report)
            events += [{"event": report.purpose, "outcome": asdict(o)} for o in outcomes]
            self._journal.append(*events)
        except (OracleError, RunFolderError):
            # What the others are working on is paid for.
            self._collect_what_is_in_flight()
            raise
        self._known |= {(report.purpose, o.material_id): o for o in outcomes}
        self._n_outcomes[report.purpose] += len(outcomes)

    def _read(self, report: Report) -> tuple[list[LabelOutcome], list[Event]]:
        """The outcomes that stand, and an event for every try that is made again."""
        if report.outcomes is not None:
            _check_answer(report)
            self._message_size.learn(report)
            answers = list(report.outcomes)
        elif len(report.ids) == 1:
            answers = [LabelOutcome(report.ids[0], "failed", None, report.fault, 1, report.seconds)]
        else:
            # It is nobody's fault as long as nobody knows whose it is: each is asked about alone.
            return [], [self._try_again(report.purpose, report.ids, report.fault, 0.0)]
        final: list[LabelOutcome] = []
        events: list[Event] = []
        for outcome in answers:
            key = (report.purpose, outcome.material_id)
            if self._is_tried_again(key, outcome, report):
                self._n_faults[key] += 1
                pause = self._settings.backoff_seconds * 2.0 ** (self._n_faults[key] - 1)
                pause = min(pause, self._settings.longest_backoff_seconds)
                events.append(self._try_again(report.purpose, [key[1]], outcome.reason, pause))
            else:
                tries = self._n_asked[key] - 1 + outcome.tries
                final.append(replace(outcome, tries=tries))
        return final, events

    def _is_tried_again(self, key: Key, outcome: LabelOutcome, report: Report) -> bool:
        if outcome.status == "ok" or self._n_faults[key] + 1 >= self._settings.tries:
            return False
        broke_down = report.outcomes is None and not report.out_of_time
        return broke_down or outcome.status in self._settings.retry_statuses

    def _try_again(
        self, purpose: str, ids: Sequence[str], reason: str, pause_seconds: float
    ) -> Event:
        not_before = self._clock() + pause_seconds
        self._not_before |= {(purpose, i): not_before for i in ids}
        return {"event": "fault", "for": purpose, "ids": list(ids), "reason": reason}


def _check_answer(report: Report) -> None:
    answer = report.outcomes or ()
    strange = next((part for part in answer if not isinstance(part, LabelOutcome)), None)
    if strange is not None:
        raise OracleError(
            f"the oracle was asked about {list(report.ids)} and answered with {strange!r}; an oracle must"
            " give a list of LabelOutcome, one an id, in the order asked, and no dict and no bare numbers"
        )
    answered = [outcome.material_id for outcome in answer]
    if answered != list(report.ids):
        raise OracleError(
            f"the oracle was asked about {list(report.ids)} and answered about {answered};"
            " an oracle must give one outcome an id, in the order asked"
        )
