"""Labeller processes that raise, hang, die or answer nonsense: no label lost, none twice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
from support.labellers import hired
from support.logged_oracle import LoggedOracle
from support.raising_oracle import REASONS, RaisingOracle

from gpnet_ray.actors.labeller import Labeller
from gpnet_ray.actors.labeller_crew import LabellerCrew
from gpnet_ray.campaign.journal import Journal, read_journal
from gpnet_ray.campaign.label_desk import LabelDesk
from gpnet_ray.config import LabelsConfig
from gpnet_ray.errors import ClusterError

IDS = tuple(f"mp-{n}" for n in range(16))

FAULTS = {
    "mp-1": ("raise", 1),
    "mp-2": ("raise", 99),
    "mp-4": ("nan", 99),
    "mp-5": ("hang", 1),
    "mp-7": ("kill", 1),
    "mp-9": ("kill", 99),
}

FAILED = {
    "mp-2": "OSError: the licence server is down",
    "mp-4": "status is ok but the label is nan",
    "mp-5": "no label within labels.time_limit_seconds = 3",
    "mp-9": "its labeller was lost (ActorDiedError",
}

TRIES = {"mp-1": 2, "mp-2": 2, "mp-4": 2, "mp-5": 1, "mp-7": 2, "mp-9": 2}


def test_labellers_that_raise_hang_die_or_answer_nan(
    small_ray: None, tmp_path: Path, survived: Callable[[str, int], None]
) -> None:
    # So slow that each material travels alone.
    oracle = LoggedOracle(tmp_path / "calls", seconds=0.5, faults=FAULTS)
    settings = LabelsConfig(tries=2, backoff_seconds=0.1, time_limit_seconds=3)
    path, notes = tmp_path / "journal.jsonl", list[str]()
    with (
        hired(oracle, size=3, time_limit_seconds=3, notify=notes.append) as crew,
        Journal(path) as journal,
        LabelDesk(crew, dict.fromkeys(IDS), journal, settings=settings) as desk,
    ):
        outcomes = list(desk.label(IDS))
        assert crew.n_idle + len(crew._starting) == 3, "a labeller was lost for good"
    assert [o.material_id for o in outcomes] == list(IDS)
    counted = Counter(call.material_id for call in oracle.calls())
    for outcome in outcomes:
        i = outcome.material_id
        assert outcome.tries == counted[i] == TRIES.get(i, 1), i
        if i in FAILED:
            assert outcome.status == "failed"
            assert FAILED[i] in outcome.reason
        else:
            assert outcome.value == oracle.truth(i)
    events = read_journal(path)
    labelled = [e["outcome"]["material_id"] for e in events if e["event"] == "label"]
    assert sorted(labelled) == sorted(IDS)
    # One note each: what died or hung, when, and that somebody else is hired.
    assert len([note for note in notes if "a new labeller is started" in note]) == 4
    survived("oracle that raises", 3)
    survived("oracle that answers NaN", 2)
    survived("labeller that hangs", 1)
    survived("labeller killed by its oracle", 3)


def test_an_exception_that_does_not_travel_costs_no_labeller_and_is_told_as_it_was(
    small_ray: None, tmp_path: Path, survived: Callable[[str, int], None]
) -> None:
    settings = LabelsConfig(tries=2, backoff_seconds=0.0)
    path, notes = tmp_path / "journal.jsonl", list[str]()
    ids = ["first", *REASONS, "last"]
    with (
        hired(RaisingOracle(), notify=notes.append) as crew,
        Journal(path) as journal,
        LabelDesk(crew, dict.fromkeys(ids), journal, settings=settings) as desk,
    ):
        first, *raised, last = [next(desk.label([i])) for i in ids]
    assert {o.material_id: o.reason for o in raised} == REASONS
    assert all(o.tries == 2 for o in raised)
    faults = [(e["ids"][0], e["reason"]) for e in read_journal(path) if e["event"] == "fault"]
    assert faults == [*REASONS.items()]
    assert first.value == last.value, "the labeller's process was replaced"
    assert notes == []
    survived("exception that does not travel", 2 * len(REASONS))


def test_the_traceback_of_what_an_oracle_raised_reaches_ray(small_ray: None) -> None:
    labeller = ray.remote(Labeller).options(num_cpus=0.1).remote(RaisingOracle())
    with pytest.raises(ray.exceptions.RayTaskError, match=r"raise RAISED\[material_id\]\(\)"):
        ray.get(labeller.label.remote(["two arguments"], [None]))
    ray.kill(labeller)


def test_labellers_that_cannot_be_replaced_are_an_error_in_time(
    small_ray: None, tmp_path: Path
) -> None:
    oracle = LoggedOracle(tmp_path / "calls", faults={"mp-0": ("kill", 99)})

    def hire(**options: Any) -> Any:
        return ray.remote(Labeller).options(num_cpus=0.1, **options).remote(oracle)

    first = hire()
    ray.get(first.ping.remote())
    # No machine here has a GPU that Ray knows of.
    crew = LabellerCrew([first], lambda: hire(num_gpus=1), start_deadline_seconds=2)
    with Journal(tmp_path / "journal.jsonl") as journal:
        desk = LabelDesk(crew, dict.fromkeys(IDS), journal)
        start = time.monotonic()
        with pytest.raises(ClusterError, match=r"all 1 labellers were lost.*1 wait for a place"):
            list(desk.label(IDS[:1]))
        # Ten times the deadline, for a loaded machine: it must not wait for ever.
        assert time.monotonic() - start < 20
    crew.close()
