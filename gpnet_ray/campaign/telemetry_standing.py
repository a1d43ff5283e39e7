"""Where a run stands, from the events of its journal: what the metrics and ``gpnet-ray status`` say."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from gpnet_ray.campaign.history import RunHistory

__all__ = ["RUN_ID_DIGITS", "ArmFigures", "RunFigures", "Standing"]

RUN_ID_DIGITS = 8
"""Hexadecimal digits that tell the runs of one name apart."""


@dataclass(frozen=True)
class ArmFigures:
    """Where one strategy stands; what is not known is ``None``.

    Attributes:
        picks: Materials chosen in finished cycles.
        pool_left: Candidates that were not picked.
        largest_sigma: Largest standard deviation of an observation among them (target's unit).
        test_mae: Mean absolute error on the test rows (target's unit).
        scoring_seconds: Wall time of planning the last round's cycles from the shards' candidates (s).
        update_seconds: Wall time of taking its labels into the Gaussian process and the shards (s).
        messages_per_cycle: Messages of that round to the actors that score, a cycle.
        bytes_per_cycle: Bytes that they answered with or handed to one another, a cycle.
    """

    picks: float | None = None
    pool_left: float | None = None
    largest_sigma: float | None = None
    test_mae: float | None = None
    scoring_seconds: float | None = None
    update_seconds: float | None = None
    messages_per_cycle: float | None = None
    bytes_per_cycle: float | None = None


@dataclass(frozen=True)
class RunFigures:
    """Where a run stands.

    Attributes:
        labels_ok: Labels that the oracle gave.
        labels_failed: Materials that it could not label, for whatever reason.
        labels_pending: Materials that were handed to a labeller and of which nothing is known yet.
        arms: Every strategy that has begun.
    """

    labels_ok: float | None = None
    labels_failed: float | None = None
    labels_pending: float | None = None
    arms: Mapping[str, ArmFigures] = field(default_factory=dict)


class Standing:
    """Follows a run event by event, in the order of its journal."""

    def __init__(self) -> None:
        self._history = RunHistory()
        self._rounds: dict[str, Mapping[str, Any]] = {}
        self.finished = False
        """Whether the run has ended well."""

    @classmethod
    def of(cls, events: Iterable[Mapping[str, Any]]) -> Standing:
        """Follow a whole journal."""
        standing = cls()
        for event in events:
            standing.take(event)
        return standing

    def take(self, event: Mapping[str, Any]) -> None:
        """Take the next event."""
        self._history.take(event)
        if event["event"] == "round":
            self._rounds[event["strategy"]] = event
        elif event["event"] == "measured again" and event["strategy"] in self._rounds:
            measured = {key: event[key] for key in ("largest_sigma", "test_mae")}
            self._rounds[event["strategy"]] = {**self._rounds[event["strategy"]], **measured}
        self.finished = event["event"] == "finished"

    @property
    def run_id(self) -> str | None:
        """What tells the run from others of its name, on whatever machine it goes on; ``None`` before it begins."""
        run = self._history.run
        if run is None:
            return None
        if "run_id" in run:
            return str(run["run_id"])
        # A journal of before runs had one. Its settings, data, command and second are as good.
        content = {key: value for key, value in run.items() if key != "number"}
        return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:RUN_ID_DIGITS]

    @property
    def timings(self) -> Mapping[str, float]:
        """Wall time of every stage that has ended (s)."""
        return self._history.timings

    def figures(self) -> RunFigures:
        """The numbers as of now."""
        history = self._history
        statuses = Counter(outcome.status == "ok" for outcome in history.labels.values())
        asked = {i for what_for, i in history.asked if what_for == "label"}
        return RunFigures(
            labels_ok=statuses[True],
            labels_failed=statuses[False],
            labels_pending=len(asked - history.labels.keys()),
            arms={strategy: self._arm(strategy) for strategy in history.cycles},
        )

    def _arm(self, strategy: str) -> ArmFigures:
        picks = sum(len(cycle.ids) for cycle in self._history.cycles[strategy].values())
        last = self._rounds.get(strategy)
        if last is None:
            return ArmFigures(picks=picks)
        return ArmFigures(
            picks=picks,
            pool_left=last["pool_size"] - picks,
            largest_sigma=last["largest_sigma"],
            test_mae=last["test_mae"],
            scoring_seconds=last["scoring_seconds"],
            update_seconds=last["update_seconds"],
            messages_per_cycle=last["messages"] / last["cycles"],
            bytes_per_cycle=last["bytes"] / last["cycles"],
        )
