"""How long the stages of a run took: what was done within an arm's loop is a part of the loop's time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["StageTime", "stage_times", "total_seconds"]


@dataclass(frozen=True)
class StageTime:
    """One stage.

    Attributes:
        name: As the run calls it.
        seconds: Wall time, that of its parts included.
        parts: Stages that were done within this one.
    """

    name: str
    seconds: float
    parts: tuple[StageTime, ...] = ()


def stage_times(timings: Mapping[str, float]) -> tuple[StageTime, ...]:
    """Put what an arm's loop contains (the network trained again and what follows) below the loop.

    Of a loop that has not ended, only its parts are known: they stand by themselves.

    Args:
        timings: Wall time (s) of every stage, as ``run.json`` and the journal name them.

    >>> [stage.name for stage in stage_times({"GP fit": 1, "GP fit random 1": 2, "loop random": 9})]
    ['GP fit', 'loop random']
    """
    parts: dict[str, list[StageTime]] = {}
    for name, seconds in timings.items():
        parts.setdefault(_whole(name, timings), []).append(StageTime(name, seconds))
    return tuple(
        StageTime(stage.name, stage.seconds, tuple(parts.get(stage.name, ())))
        for stage in parts.get("", ())
    )


def total_seconds(timings: Mapping[str, float]) -> float:
    """Add up the stages, each second once."""
    return float(sum(stage.seconds for stage in stage_times(timings)))


def _whole(name: str, timings: Mapping[str, float]) -> str:
    """Name the loop that a stage was done in ("retraining ARM NUMBER" in "loop ARM"); else nothing."""
    *_, arm, number = ("", *name.rsplit(" ", 2))
    loop = f"loop {arm}"
    return loop if number.isdigit() and loop in timings else ""
