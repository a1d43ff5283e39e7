"""The labellers that are at work: sends them materials, reports what comes back, replaces the lost."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray
import ray.exceptions

from gpnet_ray.actors.labeller import OracleRaisedError
from gpnet_ray.errors import ClusterError

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from gpnet_ray.oracles.protocol import LabelOutcome

__all__ = ["LabellerCrew", "Report"]

STARTS_IN_VAIN = 3
"""How many labellers in a row may die before they ever work, until no further one is tried."""

LONGEST_REASON = 500
"""Characters that are kept of what an oracle raised."""


COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Report:
    """What became of one message to a labeller.

    Attributes:
        purpose: What the sender named it by.
        ids: The materials that were asked about.
        outcomes: The labeller's answer; ``None`` where there is none.
        fault: Why there is no answer; empty where there is one.
        out_of_time: The fault is that the time limit was reached.
        seconds: How long it took.
        cold: It was the labeller's first, so that much of the time may have gone into imports.
    """

    purpose: str
    ids: tuple[str, ...]
    outcomes: Sequence[LabelOutcome] | None
    fault: str
    out_of_time: bool
    seconds: float
    cold: bool = False


@dataclass(frozen=True)
class _Errand:
    labeller: Any
    purpose: str
    ids: tuple[str, ...]
    started: float
    cold: bool

    def report(
        self,
        outcomes: Sequence[LabelOutcome] | None = None,
        fault: str = "",
        *,
        out_of_time: bool = False,
    ) -> Report:
        seconds = time.monotonic() - self.started
        return Report(self.purpose, self.ids, outcomes, fault, out_of_time, seconds, self.cold)


class LabellerCrew:
    """A fixed number of labeller actors; whoever dies or hangs is killed and another one hired."""

    def __init__(
        self,
        labellers: Sequence[Any],
        hire: Callable[[], Any],
        *,
        size: int | None = None,
        time_limit_seconds: float | None = None,
        start_deadline_seconds: float = 120.0,
        notify: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Take over labellers, and hire more.

        Args:
            labellers: Handles of actors that run already.
            hire: Starts one more of them.
            size: How many there shall be; those that have no place at first join when there is one. Left
                out: as many as there are.
            time_limit_seconds: How long a message may take before its labeller is killed.
            start_deadline_seconds: How long to wait, when none is left, for a new one to start.
            notify: Told in one line about each labeller that was lost.
        """
        self._hire, self._notify = hire, notify
        self._limit, self._start_deadline = time_limit_seconds, start_deadline_seconds
        self._size = len(labellers) if size is None else size
        self._idle: list[Any] = list(labellers)
        self._warm: set[Any] = set()
        self._working: dict[Any, _Errand] = {}
        self._starting: dict[Any, tuple[Any, float]] = {}
        self._starts_in_vain = 0
        self._why_in_vain = ""
        self._spoke_of: set[Any] = set()
        for _ in range(self._size - len(labellers)):
            self._start_one()

    def wait_for_one(self) -> bool:
        """Wait until a labeller is ready for work; false where none has a place within the deadline.

        Raises:
            ClusterError: their processes die as they start.
        """
        while not self._idle:
            if not self._starting:
                raise ClusterError(
                    f"no labeller starts ({self._why_in_vain}); mend what kills the oracle's process"
                )
            last = max(deadline for _, deadline in self._starting.values())
            patience = max(0.0, last - time.monotonic())
            done, _ = ray.wait([*self._starting], num_returns=1, timeout=patience)
            if not done:
                return False
            self._welcome(done[0])
        return True

    def __len__(self) -> int:
        """How many labellers there are meant to be."""
        return self._size

    @property
    def n_idle(self) -> int:
        """How many wait for work."""
        return len(self._idle)

    def send(
        self, purpose: str, ids: Sequence[str], structures: Sequence[Structure | None]
    ) -> None:
        """Give an idle labeller some materials."""
        labeller = self._idle.pop()
        answer = labeller.label.remote(list(ids), list(structures))
        cold = labeller not in self._warm
        self._warm.add(labeller)
        self._working[answer] = _Errand(labeller, purpose, tuple(ids), time.monotonic(), cold)

    def next_report(self, timeout_seconds: float | None = None) -> Report | None:
        """Wait for the next report.

        Returns:
            The report; ``None`` when the time is over or a new labeller is idle.

        Raises:
            ClusterError: no labeller is left and none can be started.
        """
        until = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while True:
            self._check_somebody_is_left()
            self._speak_of_those_without_a_place()
            hanging = self._kill_one_that_hangs()
            if hanging is not None:
                return hanging
            references = [*self._working, *self._starting]
            patience = self._patience(until)
            if not references:
                time.sleep(patience or 0.0)
                return None
            done, _ = ray.wait(references, num_returns=1, timeout=patience)
            if done and done[0] in self._working:
                return self._read(done[0])
            if done and self._welcome(done[0]):
                return None
            if until is not None and time.monotonic() >= until:
                return None

    def close(self) -> None:
        """Kill all labellers."""
        starting = [labeller for labeller, _ in self._starting.values()]
        for labeller in (*self._idle, *(e.labeller for e in self._working.values()), *starting):
            ray.kill(labeller)

    def _patience(self, until: float | None) -> float | None:
        """Seconds until the next thing that is due: the caller's time, a time limit, a start."""
        now = time.monotonic()
        due = [] if until is None else [until]
        if self._limit is not None:
            due += [errand.started + self._limit for errand in self._working.values()]
        # While others work, a start may be overdue: it has its place when there is one.
        due += [deadline for _, deadline in self._starting.values() if deadline > now]
        return max(0.0, min(due) - now) if due else None

    def _read(self, answer: Any) -> Report:
        errand = self._working.pop(answer)
        try:
            outcomes = ray.get(answer)
        except ray.exceptions.RayTaskError as error:
            # The oracle raised, or its answer cannot be sent; its process is as good as before.
            self._idle.append(errand.labeller)
            cause = error.cause
            said = (
                str(cause)
                if isinstance(cause, OracleRaisedError)
                else f"{type(cause).__name__}: {cause}"
            )
            return errand.report(fault=said[:LONGEST_REASON])
        except ray.exceptions.RayError as error:
            fault = f"its labeller was lost ({_in_short(error)})"
            self._replace(errand, fault)
            return errand.report(fault=fault)
        self._idle.append(errand.labeller)
        return errand.report(outcomes)

    def _kill_one_that_hangs(self) -> Report | None:
        if self._limit is None:
            return None
        now = time.monotonic()
        for answer, errand in self._working.items():
            if now - errand.started < self._limit:
                continue
            finished, _ = ray.wait([answer], timeout=0)
            if finished:
                return self._read(answer)
            del self._working[answer]
            fault = f"no label within labels.time_limit_seconds = {self._limit:g}"
            self._replace(errand, fault)
            return errand.report(fault=fault, out_of_time=True)
        return None

    def _replace(self, errand: _Errand, why: str) -> None:
        # Also where Ray calls it dead: two must not work on the same material.
        ray.kill(errand.labeller)
        what = ", ".join(errand.ids[:3]) + (", …" if len(errand.ids) > 3 else "")
        self._notify(f"Warning: {what}: {why}; a new labeller is started")
        self._start_one()

    def _start_one(self) -> None:
        labeller = self._hire()
        deadline = time.monotonic() + self._start_deadline
        self._starting[labeller.ping.remote()] = (labeller, deadline)

    def _welcome(self, ping: Any) -> bool:
        """Whether a labeller that has finished its start is fit for work."""
        labeller, _ = self._starting.pop(ping)
        try:
            ray.get(ping)
        except ray.exceptions.RayError as error:
            self._starts_in_vain += 1
            self._why_in_vain = _in_short(error)
            self._notify(f"Warning: a new labeller did not start ({self._why_in_vain})")
            if self._starts_in_vain < STARTS_IN_VAIN:
                self._start_one()
            return False
        self._starts_in_vain = 0
        self._idle.append(labeller)
        return True

    def _speak_of_those_without_a_place(self) -> None:
        now = time.monotonic()
        late = {ping for ping, (_, deadline) in self._starting.items() if deadline <= now}
        if not late <= self._spoke_of:
            self._notify(
                f"Warning: {len(late)} of {self._size} labellers have no place yet; they join when nodes"
                " come or other jobs end"
            )
        self._spoke_of |= late

    def _check_somebody_is_left(self) -> None:
        if self._idle or self._working:
            return
        now = time.monotonic()
        if any(now < deadline for _, deadline in self._starting.values()):
            return
        raise ClusterError(
            f"all {self._size} labellers were lost and no new one has started within"
            f" {self._start_deadline:g} s ({len(self._starting)} wait for a place). Give the cluster"
            " nodes, or mend what kills the oracle's process, and go on with --resume"
        )


def _in_short(error: ray.exceptions.RayError) -> str:
    """The kind of loss, and the first and last line of what Ray says about it (without colours)."""
    lines = [line.strip() for line in COLOUR.sub("", str(error)).splitlines() if line.strip()]
    said = lines[:1] + lines[-1:] if len(lines) > 1 else lines
    half = LONGEST_REASON // 2
    return ": ".join([type(error).__name__, " … ".join(line[:half] for line in said)])
