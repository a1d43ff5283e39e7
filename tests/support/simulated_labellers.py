"""Labellers in simulated time: no process, no waiting, the same at every run."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from gpnet_ray.actors.labeller_crew import Report
from gpnet_ray.oracles.protocol import LabelOutcome

IDS = tuple(f"mp-{n}" for n in range(40))


def ok(material_id: str) -> LabelOutcome:
    return LabelOutcome(material_id, "ok", float(material_id.removeprefix("mp-")), "", 1, 1.0)


def failed(material_id: str) -> LabelOutcome:
    return LabelOutcome(material_id, "failed", None, "no convergence", 1, 1.0)


Answer: TypeAlias = LabelOutcome | str
"""An outcome, or the fault of a labeller that gave none."""


class SimulatedCrew:
    """Labellers that take simulated seconds; ``answer`` says what comes of a material's n-th try."""

    def __init__(
        self,
        size: int,
        answer: Callable[[str, int], Answer] = lambda i, _: ok(i),
        seconds: Callable[[str], float] = lambda _: 1.0,
    ) -> None:
        self.size, self.answer, self.seconds = size, answer, seconds
        self.now, self.n_idle = 0.0, size
        self.asked: list[str] = []
        self.asked_at: dict[str, list[float]] = {}
        self.out_of_time: set[str] = set()
        self.times_waited = 0
        self._due: list[tuple[float, int, str, tuple[str, ...]]] = []

    def __len__(self) -> int:
        return self.size

    def clock(self) -> float:
        return self.now

    def send(self, purpose: str, ids: Sequence[str], structures: Sequence[Any]) -> None:
        assert len(ids) == len(structures)
        assert self.n_idle > 0
        self.n_idle -= 1
        self.asked += ids
        for material_id in ids:
            self.asked_at.setdefault(material_id, []).append(self.now)
        done = self.now + sum(self.seconds(i) for i in ids)
        heapq.heappush(self._due, (done, len(self.asked), purpose, tuple(ids)))

    def next_report(self, timeout_seconds: float | None = None) -> Report | None:
        self.times_waited += 1
        assert self.times_waited < 10_000, "the desk asks again and again"
        until = float("inf") if timeout_seconds is None else self.now + timeout_seconds
        if not self._due or self._due[0][0] > until:
            assert until < float("inf"), "the desk would wait for ever"
            self.now = until
            return None
        self.now, _, purpose, ids = heapq.heappop(self._due)
        self.n_idle += 1
        answers = [self.answer(i, len(self.asked_at[i])) for i in ids]
        faults = [a for a in answers if isinstance(a, str)]
        seconds = sum(self.seconds(i) for i in ids)
        if faults:
            late = bool(self.out_of_time.intersection(ids))
            return Report(purpose, ids, None, faults[0], late, seconds)
        return Report(purpose, ids, answers, "", False, seconds)  # type: ignore[arg-type]
