"""How far a run has come, from its journal: read without the lock, so also while the run writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from gpnet_ray.campaign.history import RunHistory
from gpnet_ray.campaign.journal import read_journal

__all__ = ["RunProgress", "read_progress"]


@dataclass(frozen=True)
class RunProgress:
    """How far a run that is not finished has come.

    Attributes:
        cycles_asked: cycles that every arm is to have.
        cycles: cycles that each arm has finished, in the order configured.
        network_trained: whether the network is there that all arms start from.
        labels: labels and true values that the oracle has given.
        pending: materials that were handed to a labeller and have no outcome yet.
        changed: when the journal was last written, UTC, ISO 8601.
    """

    cycles_asked: int
    cycles: Mapping[str, int]
    network_trained: bool
    labels: int
    pending: int
    changed: str


def read_progress(journal: Path, config: Mapping[str, Any]) -> RunProgress:
    """Read how far a run has come.

    A last line that is being written at this moment is left out.

    Args:
        journal: ``journal.jsonl`` of the run.
        config: the content of its ``config.yaml``.

    Raises:
        RunFolderError: the journal is missing or damaged.
    """
    history = RunHistory.of(read_journal(journal))
    changed = datetime.fromtimestamp(journal.stat().st_mtime, timezone.utc)
    selection = config.get("selection") or {}
    answered = {("label", i) for i in history.labels} | {("measured", i) for i in history.measured}
    return RunProgress(
        cycles_asked=int(selection.get("cycles") or 0),
        cycles={
            arm: max(history.cycles.get(arm, {}), default=0)
            for arm in selection.get("strategies") or ()
        },
        network_trained=history.network is not None,
        # A value that served for the other purpose too was asked for once.
        labels=sum(
            outcome.status == "ok" and (purpose, i) in history.asked
            for purpose, outcomes in (("label", history.labels), ("measured", history.measured))
            for i, outcome in outcomes.items()
        ),
        pending=len(set(history.asked) - answered),
        changed=changed.isoformat(timespec="seconds"),
    )
