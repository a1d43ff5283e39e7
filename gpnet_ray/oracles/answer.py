"""What a user's program answers: a JSON object, read strictly."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from gpnet_ray.oracles.protocol import LabelStatus

__all__ = ["Answer", "BadAnswerError", "parse_answer"]


class BadAnswerError(ValueError):
    """The answer is not what it has to be; the text says what is wrong with it."""


@dataclass(frozen=True)
class Answer:
    """An answer that holds together.

    Attributes:
        status: ``ok`` if and only if ``value`` is a finite number.
        value: the label, in the unit that was asked for.
        reason: why there is none; empty if ``ok``.
    """

    status: LabelStatus
    value: float | None
    reason: str


def parse_answer(text: str, *, unit: str) -> Answer:
    """Read ``{"status": "ok", "value": -3.06, "unit": "eV/atom"}``, or ``failed`` or ``unconverged`` with a ``reason``.

    Raises:
        BadAnswerError: no JSON object, a key that is there twice, an unknown status, a value that is no
            finite number or in another unit than ``unit``, or no reason.
    """
    content = _json(text)
    if not isinstance(content, dict):
        raise BadAnswerError(f"it is no JSON object: {text[:200]!r}")
    status = content.get("status")
    if status == "ok":
        return Answer("ok", _value(content, unit), "")
    if status not in ("failed", "unconverged"):
        raise BadAnswerError(f"its status is {status!r}, not ok, failed or unconverged")
    reason = content.get("reason")
    if not isinstance(reason, str) or not reason.strip():
        raise BadAnswerError(
            f"its status is {status}, which needs a reason, and that is {reason!r}"
        )
    return Answer(status, None, reason.strip())


def _json(text: str) -> object:
    try:
        # Whole numbers as the others: Python's own may be too large for a float, or to be read at all.
        return json.loads(
            text,
            parse_int=float,
            parse_constant=_refuse_constant,
            object_pairs_hook=_each_key_once,
        )
    except json.JSONDecodeError as error:
        raise BadAnswerError(f"it is no JSON ({error}): {text[:200]!r}") from None
    except RecursionError:
        raise BadAnswerError(f"it is nested too deeply: {text[:200]!r}") from None


def _each_key_once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise BadAnswerError(f"it has the key {twice!r} more than once; give each once")
    return content


def _value(content: dict[str, object], unit: str) -> float:
    if content.get("unit") != unit:
        raise BadAnswerError(f"its unit is {content.get('unit')!r}, and labels are in {unit!r}")
    value = content.get("value")
    if not isinstance(value, float) or not math.isfinite(value):
        raise BadAnswerError(f"its value is {value!r}, not a finite number")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise BadAnswerError(f"it holds {name}, which is no number")
