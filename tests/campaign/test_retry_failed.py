"""Failures that are asked for again on request, and what of the run is forgotten with them."""

from __future__ import annotations

import io
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from support.simulated_labellers import IDS, SimulatedCrew, failed, ok

from gpnet_ray.campaign.context import RunContext
from gpnet_ray.campaign.history import RunHistory
from gpnet_ray.campaign.identity import open_run
from gpnet_ray.campaign.journal import Journal, read_journal
from gpnet_ray.campaign.label_desk import LabelDesk
from gpnet_ray.campaign.run_folder import RunFolder
from gpnet_ray.config import Config, LabelsConfig
from gpnet_ray.oracles.ionic import IonicOracle
from gpnet_ray.progress import LogProgress, NullProgress

IDENTITY: dict[str, Any] = {"seed": 0}
NETWORK = {"event": "network", "fingerprint": "abc"}
RETRAINED = {
    "event": "retrained",
    "strategy": "max-sigma",
    "network": 1,
    "fingerprint": "def",
    "retraining": {"cycle": 2},
}
CYCLES = [
    {
        "event": "cycle",
        "strategy": "max-sigma",
        "cycle": n,
        "ids": [IDS[n]],
        "sigmas": [0.1],
        "radius": None,
    }
    for n in (1, 2)
]


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    return RunContext(Config(), RunFolder(tmp_path), IonicOracle(), NullProgress())


def journaled(context: RunContext, *events: dict[str, Any]) -> None:
    with Journal(context.folder.journal) as journal:
        journal.append({"event": "run", "identity": IDENTITY}, *events)


def opened(context: RunContext, *, retry_failed: bool) -> RunHistory:
    with Journal(context.folder.journal) as journal:
        open_run(context, journal, IDENTITY, started="", retry_failed=retry_failed)
    # What replay makes of the file is what the run goes on with.
    assert context.history == RunHistory.of(read_journal(context.folder.journal))
    return context.history


def label(outcome: Any, purpose: str = "label") -> dict[str, Any]:
    return {"event": purpose, "outcome": asdict(outcome)}


def test_failed_measurements_are_tried_again_with_all_their_tries(context: RunContext) -> None:
    fault = {"event": "fault", "for": "measured", "ids": ["mp-2"], "reason": "lost"}
    measured = [label(o, "measured") for o in (ok("mp-0"), failed("mp-1"), failed("mp-2"))]
    journaled(context, label(ok("mp-1")), fault, *measured)
    history = opened(context, retry_failed=True)
    assert sorted(history.measured) == ["mp-0"]
    assert sorted(history.labels) == ["mp-1"], "a label does not go with a measurement"
    assert not history.faults
    crew = SimulatedCrew(1, answer=lambda i, n: ok(i) if n == 2 else "lost")
    with Journal(context.folder.journal) as journal:
        desk = LabelDesk(
            crew,
            dict.fromkeys(IDS),
            journal,
            history,
            settings=LabelsConfig(tries=2),
            clock=crew.clock,
        )
        assert [o.status for o in desk.measure(IDS[:3])] == 3 * ["ok"]
    assert crew.asked == ["mp-2", "mp-2"], "the label of mp-1 serves for both"


def test_without_the_request_and_after_the_training_they_stay_failed(context: RunContext) -> None:
    failures = [label(failed("mp-0")), label(failed("mp-1"), "measured")]
    journaled(context, *failures)
    assert opened(context, retry_failed=False).measured["mp-1"] == failed("mp-1")
    with Journal(context.folder.journal) as journal:
        journal.append(NETWORK)
    said = io.StringIO()
    context.progress = LogProgress(said)
    history = opened(context, retry_failed=True)
    assert "2 materials had failed before the network was trained and stay out" in said.getvalue()
    assert history.measured["mp-1"] == failed("mp-1")
    assert history.labels["mp-0"] == failed("mp-0")
    kinds = [e["event"] for e in read_journal(context.folder.journal)]
    assert "retry" not in kinds


def test_networks_trained_on_forgotten_labels_go_even_where_the_driver_died_on_the_way(
    context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    journaled(context, NETWORK, label(failed("mp-1")), *CYCLES, RETRAINED)
    left = context.folder.retrained("max-sigma", 1).path

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "remove_networks", dies)
        with pytest.raises(KeyboardInterrupt):
            opened(context, retry_failed=True)
    assert left.exists()
    history = opened(context, retry_failed=False)
    assert not left.exists()
    assert not history.retrainings
    assert history.cycles == {"max-sigma": {}}


def test_a_network_that_is_being_trained_is_left_alone_by_a_plain_resume(
    context: RunContext,
) -> None:
    journaled(context, NETWORK, label(ok("mp-1")), *CYCLES)
    training = context.folder.retrained("max-sigma", 1).path
    opened(context, retry_failed=False)
    opened(context, retry_failed=True)  # there is nothing that has failed
    assert training.exists()
