"""What an ask-and-tell campaign makes of answers, without any actor: each case by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from gpnet_ray.campaign.ask_tell_answers import TellReport, judge, judge_all, plausible_range
from gpnet_ray.campaign.ask_tell_state import AskTellState
from gpnet_ray.data.results_file import Result, Results
from gpnet_ray.errors import InputError

ASKED_AT = datetime(2026, 11, 20, 8, tzinfo=timezone.utc)
LATER = ASKED_AT + timedelta(hours=3)


def asked(*ids: str) -> dict[str, Any]:
    rows = {"ids": list(ids), "sigmas": [0.1] * len(ids), "predicted": [-1.0] * len(ids)}
    return {"event": "asked", "for": "label", "when": ASKED_AT.isoformat(), **rows}


def told(material_id: str, value: float | None, reason: str = "") -> dict[str, Any]:
    outcome = {
        "material_id": material_id,
        "status": "failed" if value is None else "ok",
        "value": value,
        "reason": reason,
        "tries": 1,
        "seconds": 0.0,
    }
    return {"event": "label", "outcome": outcome, "when": LATER.isoformat()}


def state(*events: Mapping[str, Any]) -> AskTellState:
    start = [
        {"event": "run", "unit": "eV/atom", "target": "energy"},
        {"event": "start", "labels": {"s1": -1.0, "s2": -3.0}, "test": {"t1": -2.0}},
        {"event": "candidates", "ids": ["a", "b", "c", "d"], "rejected": []},
    ]
    return AskTellState.of([*start, *events])


def test_every_candidate_is_in_exactly_one_place() -> None:
    now = state(
        asked("a", "b", "c"),
        told("a", -1.5),
        told("b", None, "crash"),
        {"event": "withdrawn", "ids": ["c"], "reason": "toxic"},
    )
    assert now.labelled() == {"s1": -1.0, "s2": -3.0, "a": -1.5}
    assert [o.material_id for o in now.failed()] == ["b"]
    assert now.withdrawn == {"c": "toxic"}
    assert (list(now.pending()), now.free()) == ([], ["d"])
    now.take({"event": "put back", "ids": ["b", "c"]})
    assert (now.failed(), now.withdrawn, list(now.pending())) == ([], {}, [])
    assert now.free() == ["b", "c", "d"]


def test_a_label_keeps_the_time_that_it_took() -> None:
    outcome = judge(state(asked("a")), "a", "ok", -1.5, "", now=LATER)
    assert outcome is not None
    assert (outcome.value, outcome.seconds, outcome.tries) == (-1.5, 3 * 3600.0, 1)


def test_labels_that_nobody_asked_for_or_that_came_late_are_kept_all_the_same() -> None:
    now = state(
        asked("a", "b"),
        told("a", None, "walltime"),
        {"event": "withdrawn", "ids": ["b"], "reason": ""},
    )
    for material_id in ("a", "b", "d"):
        outcome = judge(now, material_id, "ok", -1.5, "", now=LATER)
        assert outcome is not None
        assert outcome.value == -1.5
    again = judge(now, "a", "ok", -1.5, "", now=LATER)
    assert again is not None
    assert again.tries == 2
    now.take(told("b", -1.5))
    assert now.labelled()["b"] == -1.5
    assert "b" not in now.free()


WITHDRAWN_AND_TOLD = (
    asked("a"),
    {"event": "withdrawn", "ids": ["a"], "reason": "toxic"},
    told("a", -1.5),
)


def test_a_label_that_comes_after_the_withdrawal_stays_and_cannot_be_put_back() -> None:
    now = state(*WITHDRAWN_AND_TOLD)
    assert (now.withdrawn, list(now.pending())) == ({}, [])
    assert now.free() == ["b", "c", "d"]
    with pytest.raises(InputError, match="have labels, which stay: a"):
        now.check_unlabelled(["b", "a"])
    now.check_unlabelled(["b", "c"])


@pytest.mark.parametrize("later", [[], [asked("a")], [asked("a"), told("a", None, "crash")]])
def test_a_journal_that_puts_back_a_label_has_it_all_the_same(later: list[Any]) -> None:
    now = state(*WITHDRAWN_AND_TOLD, {"event": "put back", "ids": ["a"]}, *later)
    assert now.labelled()["a"] == -1.5
    assert (now.failed(), list(now.pending())) == ([], [])
    assert "a" not in now.free()


def tell_rows(now: AskTellState, *rows: Result) -> TellReport:
    new, report = judge_all(now, Results(rows, (), ()), now=LATER, accept_implausible=False)
    for outcome in new:
        now.take({"event": "label", "outcome": asdict(outcome), "when": LATER.isoformat()})
    return report


def test_a_row_that_is_left_over_from_a_failure_that_was_put_back_changes_nothing() -> None:
    stale, other = Result(2, "a", "failed", None, "crash"), Result(3, "b", "ok", -1.5, "")
    now = state(
        asked("a", "b"),
        told("a", None, "crash"),
        {"event": "put back", "ids": ["a"]},
        asked("a"),
    )
    report = tell_rows(now, stale, other)
    assert (report.n_labels, report.n_failed, report.n_known, report.refused) == (1, 0, 1, ())
    assert (list(now.pending()), now.failed()) == (["a"], [])
    # Another reason or status is the second try's; it is put back too, and both are left over then.
    for second in (
        Result(2, "a", "failed", None, "walltime"),
        Result(2, "a", "unconverged", None, "crash"),
    ):
        assert tell_rows(now, second).n_failed == 1
        now.take({"event": "put back", "ids": ["a"]})
        assert tell_rows(now, stale, second).n_known == 2
    assert tell_rows(now, Result(2, "a", "ok", -1.5, "")).n_labels == 1
    assert tell_rows(now, stale, other).n_known == 2


def test_the_same_failure_of_a_second_request_is_new_and_that_of_the_first_is_left_over() -> None:
    first, second = (Result(2, "a", "failed", None, "crash", request) for request in (1, 2))
    now = state(
        asked("a"), told("a", None, "crash"), {"event": "put back", "ids": ["a"]}, asked("a")
    )
    assert tell_rows(now, first).n_known == 1
    assert list(now.pending()) == ["a"]
    assert tell_rows(now, second).n_failed == 1
    assert tell_rows(now, first, second).n_known == 2
    # Put back once more, and not asked for yet: both are left over.
    now.take({"event": "put back", "ids": ["a"]})
    assert tell_rows(now, first, second).n_known == 2
    assert now.free() == ["a", "b", "c", "d"]


def test_a_failure_that_is_told_by_itself_is_new_once_the_first_was_put_back() -> None:
    now = state(
        asked("a"), told("a", None, "crash"), {"event": "put back", "ids": ["a"]}, asked("a")
    )
    assert judge(now, "a", "failed", None, "crash", now=LATER) is not None


@pytest.mark.parametrize(
    ("material_id", "status", "value", "said"),
    [
        ("x", "ok", -1.0, "no material of this campaign"),
        ("x", "failed", None, "no material of this campaign"),
        ("a", "ok", -1.6, "has the label -1.5"),
        ("a", "failed", None, "has the label -1.5"),
        ("s1", "ok", -1.1, "has the label -1.0"),
        ("t1", "ok", -2.1, "has the label -2.0"),
        ("b", "ok", 8.1, "not plausible"),
        ("b", "ok", -12.1, "not plausible"),
    ],
)
def test_what_cannot_be_right_is_refused(
    material_id: str, status: Any, value: float | None, said: str
) -> None:
    reason = "" if status == "ok" else "crash"
    with pytest.raises(InputError, match=said):
        judge(
            state(asked("a", "b"), told("a", -1.5)), material_id, status, value, reason, now=LATER
        )


def test_the_same_answer_again_changes_nothing() -> None:
    now = state(asked("a", "b"), told("a", -1.5), told("b", None, "crash"))
    assert judge(now, "a", "ok", -1.5, "", now=LATER) is None
    assert judge(now, "b", "failed", None, "crash", now=LATER) is None
    assert judge(now, "s1", "ok", -1.0, "", now=LATER) is None


def test_plausible_is_ten_standard_deviations_to_each_side_of_the_starts_mean() -> None:
    # Labels -1 and -3: mean -2, standard deviation 1.
    assert plausible_range(state().start.values()) == (-12.0, 8.0)
    far = judge(state(), "a", "ok", 8.1, "", now=LATER, accept_implausible=True)
    assert far is not None
    assert far.value == 8.1
    same = state({"event": "start", "labels": {"s1": -1.0, "s2": -1.0}, "test": {}})
    assert judge(same, "a", "ok", 1e6, "", now=LATER) is not None
