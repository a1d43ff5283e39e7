"""Whether an answer fits to what an ask-and-tell campaign knows already."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean, pstdev

from gpnet_ray.campaign.ask_tell_state import AskTellState
from gpnet_ray.data.results_file import RefusedRow, Result, Results
from gpnet_ray.errors import InputError
from gpnet_ray.oracles.protocol import LabelOutcome, LabelStatus, real_number

__all__ = [
    "PLAUSIBLE_DEVIATIONS",
    "TellReport",
    "check_plausible",
    "checked_value",
    "judge",
    "judge_all",
    "plausible_range",
]

PLAUSIBLE_DEVIATIONS = 10.0
"""A value farther from the mean of the start's labels than so many of their standard deviations is
taken for a slip: another unit, a total energy, a lost sign."""


@dataclass(frozen=True)
class TellReport:
    """What became of a file of results.

    Attributes:
        n_labels: Labels that were taken.
        n_failed: Failures that were taken.
        n_known: Rows that said what had been told before.
        n_open: Rows that are not filled in yet.
        refused: Rows that were not taken, by line.
    """

    n_labels: int
    n_failed: int
    n_known: int
    n_open: int
    refused: tuple[RefusedRow, ...]


def judge(
    state: AskTellState,
    material_id: str,
    status: LabelStatus,
    value: float | None,
    reason: str,
    *,
    now: datetime,
    accept_implausible: bool = False,
) -> LabelOutcome | None:
    """Decide what an answer is worth.

    A label is believed for anything that is or was in the pool: also where it was not asked for, was
    withdrawn since, or was first told as failed; it cost somebody hours.

    Returns:
        The outcome to be kept; ``None`` where the same has been told before.

    Raises:
        InputError: an unknown id, a value that differs from the one that is there, or one that is not
            plausible.
    """
    known = state.labelled() | state.test
    if material_id in known:
        if status == "ok" and value == known[material_id]:
            return None
        answer = value if status == "ok" else status
        raise InputError(
            f"{material_id!r} has the label {known[material_id]} {state.unit} already and now"
            f" {answer}; a material keeps its first label"
        )
    if material_id not in state.candidates:
        raise InputError(f"{material_id!r} is no material of this campaign; correct the id")
    request, before = state.requests.get(material_id), state.outcomes.get(material_id)
    if before is not None and (before.status, before.reason) == (status, reason):
        return None
    if value is not None and not accept_implausible:
        check_plausible(state.start.values(), {material_id: value}, unit=state.unit)
    tries = 1 if before is None else before.tries + 1
    seconds = 0.0 if request is None else max(0.0, (now - request.asked_at).total_seconds())
    return LabelOutcome(material_id, status, value, reason, tries, seconds)


def check_plausible(start: Collection[float], told: Mapping[str, float], *, unit: str) -> None:
    """Check that values, by id, are not far from the labels of the start.

    Raises:
        InputError: names the first that is, and says what is plausible.
    """
    if not told:
        return
    lowest, highest = plausible_range(start)
    for material_id, value in told.items():
        if not lowest <= value <= highest:
            raise InputError(
                f"{material_id!r}: {value} {unit} is not plausible: the labels of the start lie around"
                f" {fmean(start):.4g}, and {lowest:.4g} to {highest:.4g} is {PLAUSIBLE_DEVIATIONS:g} standard"
                " deviations to each side. Check unit and sign; where it is right, say --accept-implausible"
                " (in Python accept_implausible=True)"
            )


def checked_value(material_id: str, value: float, *, unit: str) -> float:
    """What was told of one material, as a finite number.

    Raises:
        InputError: several ids instead of one, or a value that is no number or not finite.
    """
    if not isinstance(material_id, str):
        raise InputError(
            f"one id and its value are told at a time, not {material_id!r}; tell several one by one, or"
            " in a file with tell_results"
        )
    try:
        number = real_number(value)
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f"{material_id!r}: the value is a number ({unit}), not {value!r}; use tell_failed for a label"
            " that could not be computed"
        ) from None
    if not math.isfinite(number):
        raise InputError(
            f"{material_id!r}: the value {value} is not finite; use tell_failed for a label that"
            " could not be computed"
        )
    return number


def judge_all(
    state: AskTellState, results: Results, *, now: datetime, accept_implausible: bool
) -> tuple[list[LabelOutcome], TellReport]:
    """Judge every row of a file by itself; the outcomes to be kept, and what became of the rest.

    A failure that was put back since counts as known: the row is left over from when it was told. One of
    the second try is new where its request or its reason is another.
    """
    refused, new, n_known = list(results.refused), [], 0
    for row in results.rows:
        if _is_left_over(state, row):
            n_known += 1
            continue
        try:
            outcome = judge(
                state,
                row.material_id,
                row.status,
                row.value,
                row.reason,
                now=now,
                accept_implausible=accept_implausible,
            )
        except InputError as error:
            refused.append(RefusedRow(row.line, row.material_id, str(error)))
            continue
        if outcome is None:
            n_known += 1
        else:
            new.append(outcome)
    n_labels = sum(outcome.status == "ok" for outcome in new)
    refused.sort(key=lambda r: r.line)
    n_failed = len(new) - n_labels
    return new, TellReport(n_labels, n_failed, n_known, results.n_open, tuple(refused))


def _is_left_over(state: AskTellState, row: Result) -> bool:
    """Whether a row tells a failure that was put back, and not one of a request since then."""
    if (row.status, row.reason) not in state.put_back.get(row.material_id, ()):
        return False
    request = state.requests.get(row.material_id)
    return row.request is None or request is None or row.request != request.number


def plausible_range(start: Collection[float]) -> tuple[float, float]:
    """Smallest and largest value that is taken without a question (target's unit).

    Args:
        start: The labels of the start.
    """
    spread = PLAUSIBLE_DEVIATIONS * pstdev(start)
    # Labels that are all the same say nothing of the range.
    return (fmean(start) - spread, fmean(start) + spread) if spread else (-math.inf, math.inf)
