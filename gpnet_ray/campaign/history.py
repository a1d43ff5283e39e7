"""What the journal of an interrupted run says: the state that replay starts from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from gpnet_ray.gp.messages import PlannedCycle
from gpnet_ray.oracles.protocol import LabelOutcome

__all__ = ["FIRST_NETWORK", "PURPOSES", "NetworkKey", "RunHistory"]

PURPOSES = ("label", "measured")
"""What a material is asked for: a label that is learned from, or a true value that only measures errors."""

NetworkKey: TypeAlias = tuple[str, int]
"""The strategy whose arm trained a network, and its number there."""

FIRST_NETWORK: NetworkKey = ("", 0)
"""The network that all strategies start from."""


@dataclass
class RunHistory:
    """Labels, cycles and settings of a run, event by event in the order of the journal.

    Attributes:
        run: The ``run`` event: settings, fingerprints, versions, when and by which command it began.
        labels: The outcome of every id that the oracle was asked for.
        measured: Outcomes that only measure errors.
        asked: How often each material was handed to a labeller, by purpose and id.
        faults: How often that brought no outcome, for which the material was tried again.
        cycles: For every strategy, each finished cycle by its number.
        network: Fingerprint of the trained network, if it was trained.
        retrainings: What was said of every further network, by strategy and number.
        hyperparameters: Of the Gaussian process on every network's latents, by strategy and number;
            the first network, which all strategies share, is ``("", 0)``.
        measured_again: Arms and networks whose errors before their first cycle are journaled.
        timings: Wall time of every stage that ended (s).
    """

    run: Mapping[str, Any] | None = None
    labels: dict[str, LabelOutcome] = field(default_factory=dict)
    measured: dict[str, LabelOutcome] = field(default_factory=dict)
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: Counter[tuple[str, str]] = field(default_factory=Counter)
    cycles: dict[str, dict[int, PlannedCycle]] = field(default_factory=dict)
    network: str | None = None
    retrainings: dict[NetworkKey, Mapping[str, Any]] = field(default_factory=dict)
    hyperparameters: dict[NetworkKey, Mapping[str, Any]] = field(default_factory=dict)
    measured_again: set[NetworkKey] = field(default_factory=set)
    timings: dict[str, float] = field(default_factory=dict)
    _gone: set[tuple[str, str]] = field(default_factory=set)

    @classmethod
    def of(cls, events: Iterable[Mapping[str, Any]]) -> RunHistory:
        """Replay events."""
        history = cls()
        for event in events:
            history.take(event)
        return history

    def failed_ids(self, purpose: str = "label") -> list[str]:
        """Ids that were asked for in vain, to be labelled or only ``measured``, and may be asked for again.

        Materials that had failed when the network was trained have left the run for good.
        """
        return [
            i
            for i, outcome in self._outcomes(purpose).items()
            if outcome.status != "ok" and (purpose, i) not in self._gone
        ]

    @property
    def n_gone(self) -> int:
        """How many materials have left the run for good, since they had failed when the network was trained."""
        return len({material_id for _, material_id in self._gone})

    def _outcomes(self, purpose: str) -> dict[str, LabelOutcome]:
        return self.labels if purpose == "label" else self.measured

    def take(self, event: Mapping[str, Any]) -> None:
        """Replay the next event."""
        kind = event["event"]
        if kind == "run":
            self.run = event
        elif kind in ("label", "measured"):
            outcome = LabelOutcome(**event["outcome"])
            self._outcomes(kind)[outcome.material_id] = outcome
        elif kind == "asked":
            self.asked.update((event["for"], i) for i in event["ids"])
        elif kind == "fault":
            # That of a message with several materials is nobody's.
            if len(event["ids"]) == 1:
                self.faults[event["for"], event["ids"][0]] += 1
        elif kind == "cycle":
            self.cycles.setdefault(event["strategy"], {})[event["cycle"]] = PlannedCycle(
                tuple(event["ids"]),
                tuple(event["sigmas"]),
                event["radius"],
                event.get("asked_radius"),  # not in journals of before
            )
        elif kind == "network":
            self.network = event["fingerprint"]
            for purpose in PURPOSES:
                self._gone.update((purpose, i) for i in self.failed_ids(purpose))
        elif kind == "gp":
            self.hyperparameters[_network_key(event)] = event["hyperparameters"]
        elif kind == "retrained":
            self.retrainings[_network_key(event)] = event
            self.measured_again.discard(_network_key(event))
        elif kind == "measured again":
            self.measured_again.add(_network_key(event))
        elif kind == "stage":
            self.timings[event["stage"]] = event["seconds"]
        elif kind == "retry":
            # Journals of before failed measurements were tried again do not say what for.
            self._forget(event.get("for", "label"), set(event["ids"]))

    def _forget(self, purpose: str, ids: set[str]) -> None:
        """Drop failed outcomes, and of each strategy the cycles from the first that held one."""
        for material_id in ids:
            self._outcomes(purpose).pop(material_id, None)
            self.faults.pop((purpose, material_id), None)
        if purpose != "label":
            # What only measures errors is in no cycle.
            return
        for strategy, cycles in self.cycles.items():
            touched = [number for number, cycle in cycles.items() if ids.intersection(cycle.ids)]
            first = min(touched, default=len(cycles) + 1)
            self.cycles[strategy] = {n: cycle for n, cycle in cycles.items() if n < first}
            for key, event in list(self.retrainings.items()):
                if key[0] == strategy and event["retraining"]["cycle"] >= first:
                    del self.retrainings[key]
                    self.hyperparameters.pop(key, None)
                    self.measured_again.discard(key)


def _network_key(event: Mapping[str, Any]) -> NetworkKey:
    return event["strategy"], event["network"]
