"""How many materials go to a labeller in one message."""

from __future__ import annotations

from gpnet_ray.actors.labeller_crew import Report

__all__ = ["MessageSize"]

LARGEST = 16
MESSAGE_SECONDS = 0.5
"""A message holds as many materials as are labelled in this time: one where a label takes hours, so that
none waits for another; several where labels are quick, so that messages are few."""

SHARE_OF_TIME_LIMIT = 0.25
"""Nor does a message hold more than what takes this share of a label's time limit."""


class MessageSize:
    """Grows by at most a doubling a report, and never beyond what the slowest answer so far allows.

    Nothing of a message is journaled before its end, and all of it is lost with its labeller. So a
    material that is refused at once says nothing about how long a label takes, and after one slow label
    a message holds one material for good. A labeller's first label counts neither way: its process
    imports the oracle's libraries then.
    """

    def __init__(self, time_limit_seconds: float | None = None) -> None:
        """``time_limit_seconds``: after which a labeller is killed."""
        self._seconds = MESSAGE_SECONDS
        if time_limit_seconds is not None:
            self._seconds = min(self._seconds, SHARE_OF_TIME_LIMIT * time_limit_seconds)
        self._slowest = 0.0
        self.value = 1
        """Materials in the next message."""

    def learn(self, report: Report) -> None:
        """Take what an answer says about how long labels take; a message without one says nothing."""
        if report.outcomes is None or report.cold:
            return
        n_ok = sum(outcome.status == "ok" for outcome in report.outcomes)
        # Of a mixed answer nobody knows who took how long: the failed ones may have taken no time.
        self._slowest = max(self._slowest, report.seconds / (n_ok or len(report.ids)))
        fits = max(1, min(LARGEST, int(self._seconds / max(self._slowest, 1e-6))))
        self.value = min(fits, 2 * self.value if n_ok else self.value)
