"""What the journal of an ask-and-tell campaign says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gpnet_ray.data.dataset import RejectedMaterial, name_some
from gpnet_ray.errors import InputError
from gpnet_ray.oracles.protocol import LabelOutcome

__all__ = ["AskTellState", "AskTellStatus", "Request"]


@dataclass(frozen=True)
class Request:
    """A material whose label was asked for.

    Attributes:
        material_id: Its id.
        sigma: Standard deviation of an observation when it was picked (target's unit).
        predicted: What the model expected then (target's unit).
        asked_at: When (UTC).
        number: Which request of the campaign it belongs to, counted from 1.
    """

    material_id: str
    sigma: float
    predicted: float
    asked_at: datetime
    number: int


@dataclass
class AskTellState:
    """The campaign as of now, event by event in the order of the journal.

    Attributes:
        run: The ``run`` event: settings, target and unit, versions, when and how it was made.
        start: Labels that the network was trained and the Gaussian process was fitted on.
        test: Labels of materials that only measure the error.
        candidates: Every id that is or was in the pool.
        rejected: Materials that never came into the campaign.
        network: Fingerprint of the network.
        hyperparameters: Of the Gaussian process.
        requests: What was asked for and has not been put back since.
        n_requests: How often something was asked for.
        outcomes: What was told.
        put_back: Status and reason of every failure that was told and put back since, by id.
        withdrawn: Candidates that are not wanted any more, with the reason.
        is_ready: Whether the campaign was set up to its end.
    """

    run: Mapping[str, Any] = field(default_factory=dict)
    start: dict[str, float] = field(default_factory=dict)
    test: dict[str, float] = field(default_factory=dict)
    candidates: dict[str, None] = field(default_factory=dict)
    rejected: list[RejectedMaterial] = field(default_factory=list)
    network: str = ""
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    requests: dict[str, Request] = field(default_factory=dict)
    n_requests: int = 0
    outcomes: dict[str, LabelOutcome] = field(default_factory=dict)
    put_back: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    withdrawn: dict[str, str] = field(default_factory=dict)
    is_ready: bool = False

    @classmethod
    def of(cls, events: Iterable[Mapping[str, Any]]) -> AskTellState:
        """Replay events."""
        state = cls()
        for event in events:
            state.take(event)
        return state

    @property
    def unit(self) -> str:
        """Unit of the target."""
        return str(self.run["unit"])

    def labelled(self) -> dict[str, float]:
        """All labels that the Gaussian process knows, those of the start first."""
        told = {i: o.value for i, o in self.outcomes.items() if o.value is not None}
        return {**self.start, **told}

    def pending(self) -> dict[str, Request]:
        """What was asked for and is neither told nor withdrawn, in the order of asking."""
        return {
            i: request
            for i, request in self.requests.items()
            if i not in self.outcomes and i not in self.withdrawn
        }

    def failed(self) -> list[LabelOutcome]:
        """What could not be labelled."""
        return [outcome for outcome in self.outcomes.values() if outcome.status != "ok"]

    def free(self) -> list[str]:
        """Candidates that may be asked for."""
        taken = self.requests.keys() | self.outcomes.keys() | self.withdrawn.keys()
        return [i for i in self.candidates if i not in taken]

    def check_new(self, ids: Iterable[str]) -> None:
        """Check that ids are not in the campaign yet.

        Raises:
            InputError: names those that are.
        """
        known = [i for i in ids if i in self.candidates or i in self.start or i in self.test]
        if known:
            raise InputError(
                f"{len(known)} ids are in the campaign already: {name_some(known)}; give new"
                " candidates ids of their own, or leave these out"
            )

    def check_candidates(self, ids: Iterable[str]) -> None:
        """Check that ids are candidates.

        Raises:
            InputError: names those that are not.
        """
        unknown = [i for i in ids if i not in self.candidates]
        if unknown:
            raise InputError(
                f"{len(unknown)} ids are no candidates of this campaign: {name_some(unknown)};"
                " correct them"
            )

    def check_unlabelled(self, ids: Iterable[str]) -> None:
        """Check that ids have no label.

        Raises:
            InputError: names those that have.
        """
        labels = self.labelled()
        labelled = [i for i in ids if i in labels]
        if labelled:
            raise InputError(
                f"{len(labelled)} of them have labels, which stay: {name_some(labelled)}; leave them out"
            )

    def take(self, event: Mapping[str, Any]) -> None:
        """Take in one event."""
        kind = event["event"]
        if kind == "run":
            self.run = event
        elif kind == "start":
            self.start, self.test = dict(event["labels"]), dict(event["test"])
        elif kind == "candidates":
            self.candidates.update(dict.fromkeys(event["ids"]))
            self.rejected += [RejectedMaterial(**r) for r in event["rejected"]]
        elif kind == "network":
            self.network = event["fingerprint"]
        elif kind == "gp":
            self.hyperparameters = event["hyperparameters"]
        elif kind == "ready":
            self.is_ready = True
        elif kind == "asked":
            self._take_request(event)
        elif kind == "label":
            self._take_outcome(LabelOutcome(**event["outcome"]))
        elif kind == "withdrawn":
            self.withdrawn.update(dict.fromkeys(event["ids"], event["reason"]))
        elif kind == "put back":
            for material_id in event["ids"]:
                self._put_back(material_id)

    def _take_request(self, event: Mapping[str, Any]) -> None:
        self.n_requests += 1
        when = datetime.fromisoformat(event["when"])
        rows = zip(event["ids"], event["sigmas"], event["predicted"], strict=True)
        self.requests.update({i: Request(i, s, p, when, self.n_requests) for i, s, p in rows})

    def _take_outcome(self, outcome: LabelOutcome) -> None:
        material_id = outcome.material_id
        if outcome.status == "ok":
            # It is in the model from now on, whatever was meant before it came.
            self.withdrawn.pop(material_id, None)
        elif self._has_told_label(material_id):
            return
        self.outcomes[material_id] = outcome

    def _put_back(self, material_id: str) -> None:
        # An older journal may do so to a material that was told after it was withdrawn; its label stays.
        if self._has_told_label(material_id):
            return
        failure = self.outcomes.get(material_id)
        if failure is not None:
            failures = self.put_back.setdefault(material_id, set())
            failures.add((failure.status, failure.reason))
        for known in (self.requests, self.outcomes, self.withdrawn):
            known.pop(material_id, None)

    def _has_told_label(self, material_id: str) -> bool:
        outcome = self.outcomes.get(material_id)
        return outcome is not None and outcome.status == "ok"


@dataclass(frozen=True)
class AskTellStatus:
    """Where a campaign stands.

    Attributes:
        target: What is learned.
        unit: Its unit.
        strategy: How the next materials are chosen.
        n_start: Labels that it started from.
        n_test: Rows that only measure the error.
        n_told: Labels that were told since.
        n_free: Candidates that may still be asked for.
        pending: What was asked for and not told yet, in the order of asking.
        failed: What could not be labelled, with the reasons.
        withdrawn: Candidates that were withdrawn, with the reasons.
    """

    target: str
    unit: str
    strategy: str
    n_start: int
    n_test: int
    n_told: int
    n_free: int
    pending: tuple[Request, ...]
    failed: tuple[LabelOutcome, ...]
    withdrawn: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, state: AskTellState, *, strategy: str) -> AskTellStatus:
        """Sum up a state."""
        return cls(
            target=str(state.run["target"]),
            unit=state.unit,
            strategy=strategy,
            n_start=len(state.start),
            n_test=len(state.test),
            n_told=len(state.labelled()) - len(state.start),
            n_free=len(state.free()),
            pending=tuple(state.pending().values()),
            failed=tuple(state.failed()),
            withdrawn=tuple(state.withdrawn.items()),
        )
