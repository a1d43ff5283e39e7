"""The label desk over simulated labellers and a simulated clock: order, look-ahead, tries, pauses."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from support.label_desks import HOUR, desk_over, labels_in, random_seconds
from support.simulated_labellers import IDS, SimulatedCrew, failed, ok

from gpnet_ray.actors.labeller_crew import Report
from gpnet_ray.campaign.journal import Event, Journal, read_journal
from gpnet_ray.campaign.message_size import MessageSize
from gpnet_ray.errors import OracleError, RunFolderError
from gpnet_ray.oracles.protocol import LabelOutcome


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def test_what_was_bought_ahead_and_never_taken_is_among_what_was_bought(path: Path) -> None:
    crew = SimulatedCrew(4, seconds=random_seconds(0))
    with Journal(path) as journal, desk_over(crew, journal) as desk:
        assert next(iter(desk.label(IDS))).material_id == IDS[0]
        list(desk.measure(IDS[-1:]))
        desk.collect("now")
        bought = desk.bought()
    assert len(bought) > 1
    assert bought == {o.material_id: o.value for o in labels_in(path) if o.status == "ok"}
    assert IDS[-1] not in bought


def test_outcomes_come_in_the_order_asked_whoever_is_done_first(path: Path) -> None:
    crew = SimulatedCrew(8, seconds=random_seconds(0))
    with Journal(path) as journal, desk_over(crew, journal) as desk:
        assert [o.material_id for o in desk.label(IDS)] == list(IDS)
    journaled = [o.material_id for o in labels_in(path)]
    assert sorted(journaled) == sorted(IDS)
    assert journaled != list(IDS), "the test is of labels that overtake one another"


def test_no_labeller_waits_while_there_is_something_to_label(path: Path) -> None:
    seconds = random_seconds(1)
    crew = SimulatedCrew(8, seconds=seconds)
    with Journal(path) as journal, desk_over(crew, journal) as desk:
        list(desk.label(IDS, all_needed=True))
    # Graham's bound of list scheduling: a barrier anywhere would break it.
    times = [seconds(i) for i in IDS]
    assert crew.now <= sum(times) / 8 + max(times)


@pytest.mark.parametrize("ahead", [1, 3])
def test_no_more_is_bought_ahead_of_a_pending_label_than_is_said(path: Path, ahead: int) -> None:
    crew = SimulatedCrew(4, seconds=lambda i: 1000.0 if i == "mp-5" else 1.0)
    with Journal(path) as journal, desk_over(crew, journal, ahead_per_labeller=ahead) as desk:
        stream = desk.label(IDS)
        assert [next(stream).material_id for _ in range(5)] == list(IDS[:5])
        next(stream)
        assert set(crew.asked) == set(IDS[: 5 + 4 * ahead])


def test_what_a_left_call_had_asked_for_is_kept_and_not_asked_again(path: Path) -> None:
    crew = SimulatedCrew(4, answer=lambda i, _: failed(i) if i == "mp-0" else ok(i))
    with Journal(path) as journal, desk_over(crew, journal) as desk:
        first = next(iter(desk.label(IDS)))
        assert first.status == "failed"
        # Planned again: another order, without some of those that are on their way.
        again = [IDS[9], IDS[2], IDS[7]]
        assert [o.material_id for o in desk.label(again)] == again
    assert len(crew.asked) == len(set(crew.asked))
    assert {o.material_id for o in labels_in(path)} == set(crew.asked), "paid for and lost"


def test_an_oracle_that_raises_is_tried_again_after_growing_pauses(path: Path) -> None:
    crew = SimulatedCrew(1, answer=lambda i, n: ok(i) if n == 4 else "OSError: licence server")
    with Journal(path) as journal:
        desk = desk_over(crew, journal, tries=4, backoff_seconds=5, longest_backoff_seconds=8)
        (outcome,) = desk.label(IDS[:1])
    assert (outcome.status, outcome.tries) == ("ok", 4)
    # One second a try; pauses of 5 s, then 10 s and 20 s cut to 8 s.
    assert crew.asked_at["mp-0"] == [0.0, 6.0, 15.0, 24.0]
    faults = [e for e in read_journal(path) if e["event"] == "fault"]
    assert [e["reason"] for e in faults] == 3 * ["OSError: licence server"]


def test_others_are_labelled_while_one_pauses(path: Path) -> None:
    crew = SimulatedCrew(1, answer=lambda i, n: "OSError: x" if (i, n) == ("mp-0", 1) else ok(i))
    with Journal(path) as journal:
        desk = desk_over(crew, journal, backoff_seconds=10)
        assert [o.material_id for o in desk.label(IDS[:5], all_needed=True)] == list(IDS[:5])
    assert crew.now == 12.0  # a second, ten of pause in which the other four are labelled, a second


def test_a_pause_that_is_over_elsewhere_does_not_make_the_desk_ask_again_and_again(
    path: Path,
) -> None:
    # mp-1 has a fault and stands behind the look-ahead while mp-9 is labelled; so has mp-2, measured.
    crew = SimulatedCrew(
        2,
        answer=lambda i, n: "lost" if i in ("mp-1", "mp-2") and n == 1 else ok(i),
        seconds=lambda i: 100.0 if i == "mp-9" else 2.0 if i == "mp-2" else 1.0,
    )
    with Journal(path) as journal:
        desk = desk_over(crew, journal, ahead_per_labeller=1, backoff_seconds=5)
        next(desk.label(IDS[:2]))
        next(desk.measure([IDS[3], IDS[2]]))
        plan = [IDS[9], *IDS[10:20], IDS[1]]
        before = crew.times_waited
        assert [o.material_id for o in desk.label(plan)] == plan
    # One for every message, a few for pauses.
    assert crew.times_waited - before < 2 * len(plan)


def test_what_raises_at_every_try_has_failed_with_its_reason(path: Path) -> None:
    crew = SimulatedCrew(2, answer=lambda i, _: "ValueError: no pseudopotential of Og")
    with Journal(path) as journal:
        (outcome,) = desk_over(crew, journal, tries=3).label(IDS[:1])
    assert outcome.status == "failed"
    assert outcome.reason == "ValueError: no pseudopotential of Og"
    assert outcome.tries == len(crew.asked) == 3
    assert labels_in(path) == [outcome]


@pytest.mark.parametrize("retried", [(), ("failed",)])
def test_an_answer_failed_is_tried_again_only_where_that_is_wanted(
    path: Path, retried: tuple[str, ...]
) -> None:
    crew = SimulatedCrew(1, answer=lambda i, n: ok(i) if n == 3 else failed(i))
    with Journal(path) as journal:
        (outcome,) = desk_over(crew, journal, tries=3, retry_statuses=retried).label(IDS[:1])
    assert (outcome.status, outcome.tries) == (("ok", 3) if retried else ("failed", 1))


def test_a_label_that_takes_too_long_has_failed_at_once(path: Path) -> None:
    crew = SimulatedCrew(1, answer=lambda i, _: "no label within 60 s")
    crew.out_of_time = {"mp-0"}
    with Journal(path) as journal:
        (outcome,) = desk_over(crew, journal, tries=3).label(IDS[:1])
    assert (outcome.status, outcome.reason, outcome.tries) == ("failed", "no label within 60 s", 1)


def test_one_that_kills_its_labeller_costs_the_others_in_its_message_no_try(path: Path) -> None:
    # So quick that messages double: mp-9 travels in the fourth, with seven others.
    crew = SimulatedCrew(
        1, answer=lambda i, _: "lost" if i == "mp-9" else ok(i), seconds=lambda _: 0.001
    )
    with Journal(path) as journal:
        outcomes = list(desk_over(crew, journal, tries=2).label(IDS[:17], all_needed=True))
    assert [o.status for o in outcomes] == ["failed" if i == "mp-9" else "ok" for i in IDS[:17]]
    counts = Counter(crew.asked)
    others = set(IDS[7:15]) - {"mp-9"}
    assert all(counts[i] == (2 if i in others else 1) for i in set(IDS[:17]) - {"mp-9"})
    assert counts["mp-9"] == 3  # with the others, then twice alone
    assert [o.tries for o in outcomes] == [counts[i] for i in IDS[:17]]


def test_quick_answers_among_slow_labels_put_no_two_of_them_in_one_message(path: Path) -> None:
    # The first three are refused at once, as an oracle does without an entry for some element.
    crew = SimulatedCrew(
        2,
        answer=lambda i, _: failed(i) if i in IDS[:3] else ok(i),
        seconds=lambda i: 0.001 if i in IDS[:3] else HOUR,
    )
    with Journal(path) as journal, desk_over(crew, journal) as desk:
        list(desk.label(IDS[:20], all_needed=True))
    asked = [e["ids"] for e in read_journal(path) if e["event"] == "asked"]
    assert max(map(len, asked)) == 1


def test_the_time_in_which_a_labeller_imports_its_libraries_says_nothing() -> None:
    size = MessageSize()
    quick = (LabelOutcome("mp-1", "ok", 1.0, "", 1, 0.001),)
    size.learn(Report("label", ("mp-1",), quick, "", False, 3.0, cold=True))
    assert size.value == 1
    size.learn(Report("label", ("mp-1",), quick, "", False, 0.001))
    assert size.value == 2


def test_one_slow_label_makes_messages_of_one_for_good_and_quick_ones_double(path: Path) -> None:
    crew = SimulatedCrew(1, seconds=lambda i: HOUR if i == "mp-20" else 0.001)
    with Journal(path) as journal, desk_over(crew, journal) as desk:
        list(desk.label(IDS, all_needed=True))
    asked = [e["ids"] for e in read_journal(path) if e["event"] == "asked"]
    # mp-20 is in the fifth; its hour, shared by sixteen, is still long.
    assert list(map(len, asked)) == [1, 2, 4, 8, 16] + 9 * [1]


def test_a_slow_label_in_one_message_with_failures_counts_whole(path: Path) -> None:
    # 0.9 s among eight are 0.11 s each, but it may be all of one label's.
    crew = SimulatedCrew(
        1,
        answer=lambda i, _: failed(i) if i in IDS[8:15] else ok(i),
        seconds=lambda i: 0.9 if i == "mp-7" else 0.001,
    )
    with Journal(path) as journal, desk_over(crew, journal) as desk:
        list(desk.label(IDS, all_needed=True))
    asked = [e["ids"] for e in read_journal(path) if e["event"] == "asked"]
    assert list(map(len, asked)) == [1, 2, 4, 8] + 25 * [1]


def test_tries_before_the_driver_was_killed_count(path: Path) -> None:
    asked = {"event": "asked", "for": "label", "ids": ["mp-0"]}
    fault = {"event": "fault", "for": "label", "ids": ["mp-0"], "reason": "lost"}
    with Journal(path) as journal:
        journal.append(asked, fault, asked)  # the driver dies here: nobody's fault
    crew = SimulatedCrew(1, answer=lambda i, _: "lost")
    with Journal(path) as journal:
        (outcome,) = desk_over(crew, journal, tries=3).label(IDS[:1])
    assert len(crew.asked) == 2
    assert outcome.tries == 4


def test_failures_forgotten_on_request_have_all_their_tries_again(path: Path) -> None:
    crew = SimulatedCrew(1, answer=lambda i, _: "lost")
    with Journal(path) as journal:
        list(desk_over(crew, journal, tries=2).label(IDS[:1]))
        journal.append({"event": "retry", "ids": ["mp-0"]})
    crew = SimulatedCrew(1, answer=lambda i, n: ok(i) if n == 2 else "lost")
    with Journal(path) as journal:
        (outcome,) = desk_over(crew, journal, tries=2).label(IDS[:1])
    assert (outcome.status, outcome.tries) == ("ok", 4)


def test_an_answer_about_another_material_stops_before_anything_of_it_is_journaled(
    path: Path,
) -> None:
    crew = SimulatedCrew(
        3,
        answer=lambda i, _: ok("mp-39") if i == "mp-0" else ok(i),
        seconds=lambda i: 1.0 if i == "mp-0" else 50.0,
    )
    with Journal(path) as journal:
        desk = desk_over(crew, journal)
        with pytest.raises(OracleError, match=r"asked about \['mp-0'\] and answered .*'mp-39'"):
            list(desk.label(IDS))
    # What the other two were working on is paid for; nobody was asked for more.
    assert [o.material_id for o in labels_in(path)] == ["mp-1", "mp-2"]
    assert crew.asked == list(IDS[:3])


def test_an_answer_that_is_no_outcome_says_what_an_oracle_gives(path: Path) -> None:
    class Answers(SimulatedCrew):
        def next_report(self, timeout_seconds: float | None = None) -> Report | None:
            report = super().next_report(timeout_seconds)
            # What a labeller makes of a dict with a value an id.
            return report and replace(report, outcomes=list(dict.fromkeys(report.ids, -3.0)))  # type: ignore[arg-type]

    with Journal(path) as journal:
        desk = desk_over(Answers(1), journal)
        with pytest.raises(OracleError, match=r"answered with 'mp-0'; .*a list of LabelOutcome"):
            list(desk.label(IDS))
    assert labels_in(path) == []


def slow_but_the_first() -> SimulatedCrew:
    return SimulatedCrew(3, seconds=lambda i: 1.0 if i == "mp-0" else 1e6)


@pytest.mark.parametrize(
    "error", [OracleError("too many"), OSError(28, "No space left"), KeyError("x")]
)
def test_whatever_error_ends_the_run_what_is_being_labelled_is_waited_for(
    path: Path, error: Exception
) -> None:
    crew, lines = slow_but_the_first(), list[str]()

    def stopped() -> None:
        with Journal(path) as journal, desk_over(crew, journal, notify=lines.append) as desk:
            next(desk.label(IDS))
            raise error

    with pytest.raises(type(error)) as raised:
        stopped()
    assert raised.value is error
    assert sorted(o.material_id for o in labels_in(path)) == sorted(crew.asked) == list(IDS[:3])
    (line,) = lines
    assert str(error) in line
    assert "2 labels" in line
    assert "mp-1, mp-2" in line
    assert "Ctrl-C" in line


def test_ctrl_c_waits_for_nothing(path: Path) -> None:
    crew = slow_but_the_first()

    def interrupted() -> None:
        with Journal(path) as journal, desk_over(crew, journal) as desk:
            next(desk.label(IDS))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert crew.now < 1e6


class FullAt(Journal):
    """A disk on which there is no room for the first event of a kind, but for that in the reserve."""

    kind = ""

    def append(self, *events: Event) -> None:
        super().append(*events)
        if any(event["event"] == self.kind for event in events):
            raise RunFolderError(f"no room for {self.kind}; make room")


@pytest.mark.parametrize("kind", ["asked", "cycle"])
def test_no_label_is_lost_where_another_event_is_the_first_without_room(
    path: Path, kind: str
) -> None:
    crew = slow_but_the_first()

    def stopped() -> None:
        journal = FullAt(path)
        with journal, desk_over(crew, journal) as desk:
            stream = desk.label(IDS)
            next(stream)
            journal.kind = kind
            journal.append({"event": "cycle"})
            next(stream)

    with pytest.raises(RunFolderError, match=f"no room for {kind}"):
        stopped()
    sent = set(crew.asked)
    assert {o.material_id for o in labels_in(path)} == sent > {"mp-0"}


def test_an_error_while_waiting_after_another_one_is_told_and_the_first_is_raised(
    path: Path,
) -> None:
    crew = slow_but_the_first()
    crew.answer = lambda i, _: ok("mp-39") if i == "mp-1" else ok(i)
    lines: list[str] = []

    def stopped() -> None:
        with Journal(path) as journal, desk_over(crew, journal, notify=lines.append) as desk:
            next(desk.label(IDS))
            raise RunFolderError("the first")

    with pytest.raises(RunFolderError, match="the first"):
        stopped()
    assert "asked about ['mp-1'] and answered" in lines[-1]
    assert [o.material_id for o in labels_in(path)] == ["mp-0", "mp-2"]


def test_what_is_collected_is_journaled_and_known_and_the_desk_goes_on(path: Path) -> None:
    crew, lines = slow_but_the_first(), list[str]()
    crew.answer = lambda i, n: "lost" if (i, n) == ("mp-2", 1) else ok(i)
    with Journal(path) as journal, desk_over(crew, journal, notify=lines.append) as desk:
        next(desk.label(IDS))
        desk.collect("before the network is trained again")
        assert [o.material_id for o in labels_in(path)] == ["mp-0", "mp-1"]
        assert "before the network is trained again: mp-1, mp-2" in lines[0]
        desk.collect("again")
        assert len(lines) == 1, "there was nothing to wait for"
        assert [o.status for o in desk.label(IDS[:4])] == 4 * ["ok"]
    # The one whose labeller was lost was asked for again, no other.
    assert sorted(crew.asked) == sorted([*IDS[:4], "mp-2"])
