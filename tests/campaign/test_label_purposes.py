"""A label of the loop and a value that measures errors are one purchase."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.label_desks import HOUR, desk_over, labels_in
from support.simulated_labellers import IDS, SimulatedCrew, failed, ok

from gpnet_ray.campaign.journal import Journal
from gpnet_ray.campaign.label_desk import LabelDesk
from gpnet_ray.report.run_progress import read_progress


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


ASK = {"label": LabelDesk.label, "measured": LabelDesk.measure}
BOTH_WAYS = pytest.mark.parametrize(
    ("first", "then"), [("measured", "label"), ("label", "measured")]
)


@BOTH_WAYS
def test_what_was_bought_for_one_purpose_serves_for_the_other(
    path: Path, first: str, then: str
) -> None:
    crew = SimulatedCrew(2, answer=lambda i, n: "lost" if (i, n) == ("mp-1", 1) else ok(i))
    with Journal(path) as journal, desk_over(crew, journal) as desk:
        bought = list(ASK[first](desk, IDS[:3]))
        assert list(ASK[then](desk, IDS[:5]))[:3] == bought
    assert sorted(crew.asked) == sorted([*IDS[:5], "mp-1"])
    assert {o.material_id: o.tries for o in labels_in(path, then)}["mp-1"] == 2
    # The same journal is as good as the desk that wrote it.
    with Journal(path) as journal, desk_over(crew, journal) as desk:
        assert list(ASK[then](desk, IDS[:3])) == bought
    assert len(crew.asked) == 6
    assert len(labels_in(path, first)) == 3
    assert len(labels_in(path, then)) == 5
    # A value that served twice was given once.
    assert read_progress(path, {}).labels == 5


@BOTH_WAYS
def test_what_failed_for_one_purpose_is_asked_for_again_for_the_other(
    path: Path, first: str, then: str
) -> None:
    crew = SimulatedCrew(1, answer=lambda i, n: ok(i) if n == 2 else failed(i))
    with Journal(path) as journal, desk_over(crew, journal) as desk:
        assert [o.status for o in ASK[first](desk, IDS[:1])] == ["failed"]
        assert [o.status for o in ASK[then](desk, IDS[:1])] == ["ok"]


@BOTH_WAYS
def test_what_is_on_its_way_for_one_purpose_is_waited_for_by_the_other(
    path: Path, first: str, then: str
) -> None:
    # mp-2 is on its way for an hour when the first call is left; its first answer is of no use.
    crew = SimulatedCrew(
        3,
        answer=lambda i, n: failed(i) if (i, n) == ("mp-2", 1) else ok(i),
        seconds=lambda i: 1.0 if i == "mp-0" else HOUR,
    )
    with Journal(path) as journal, desk_over(crew, journal) as desk:
        next(ASK[first](desk, IDS[:3]))
        outcomes = list(ASK[then](desk, IDS[:3]))
    assert [o.status for o in outcomes] == 3 * ["ok"]
    assert sorted(crew.asked) == [*IDS[:3], "mp-2"]


def test_no_more_measured_values_become_labels_than_would_be_bought_ahead(path: Path) -> None:
    crew = SimulatedCrew(2, seconds=lambda _: HOUR)
    with Journal(path) as journal, desk_over(crew, journal, ahead_per_labeller=3) as desk:
        list(desk.measure(IDS))
        next(desk.label(IDS))
        assert set(desk.bought()) == set(IDS[:6])


def test_a_label_that_was_asked_for_and_lost_with_the_driver_is_the_measured_value(
    path: Path,
) -> None:
    crew = SimulatedCrew(1)
    with Journal(path) as journal, desk_over(crew, journal) as desk:
        (measured,) = desk.measure(IDS[:1])
        # What an earlier version asked for all the same, when its driver was killed.
        journal.append({"event": "asked", "for": "label", "ids": ["mp-0"]})
    with Journal(path) as journal, desk_over(crew, journal) as desk:
        (label,) = desk.label(IDS[:1])
    assert label == replace(measured, tries=2)
    assert crew.asked == ["mp-0"]
