"""What the rounds of a loop cost: seconds, and messages to the actors that score with their bytes."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

from ray.experimental import get_object_locations

__all__ = ["Meter"]

Step: TypeAlias = Literal["scoring_seconds", "update_seconds"]


class Meter:
    """Adds up a round: one plan, its labels, and what they change."""

    def __init__(self) -> None:
        self._seconds: defaultdict[Step, float] = defaultdict(float)
        self._counts: Counter[str] = Counter()

    @contextmanager
    def timed(self, step: Step) -> Iterator[None]:
        """Add the wall time of the block: of planning from candidates, or of taking labels in."""
        begun = time.monotonic()
        yield
        self._seconds[step] += time.monotonic() - begun

    def exchanged(self, messages: int, answers: Sequence[Any]) -> None:
        """Count messages and the bytes of what was answered.

        Args:
            messages: How many; each has one answer or several.
            answers: References to the answers that are there, each as often as somebody took it. Ray knows
                how large they are; nothing is moved.
        """
        places = get_object_locations(list(set(answers)))
        self._counts["messages"] += messages
        self._counts["bytes"] += sum(places[answer]["object_size"] or 0 for answer in answers)

    def take_round(self) -> dict[str, float]:
        """What has been added up, and begin with the next round."""
        steps: tuple[Step, ...] = ("scoring_seconds", "update_seconds")
        seconds: dict[str, float] = {step: round(self._seconds[step], 6) for step in steps}
        counts = {name: self._counts[name] for name in ("messages", "bytes")}
        self._seconds.clear()
        self._counts.clear()
        return {**seconds, **counts}
