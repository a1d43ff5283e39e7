"""Curves for TensorBoard: every epoch of a training, every cycle of an arm.

The driver writes them and imports no TensorFlow, so they are written by tensorboardX; TensorBoard's own writer
imports TensorFlow where it is installed. Events are written at once, without tensorboardX's
queue and thread: there is one an epoch or cycle.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.summary import scalar

if TYPE_CHECKING:
    from gpnet_ray.campaign.arm_record import ArmResult
    from gpnet_ray.gnn.records import EpochRecord

__all__ = ["CycleCurves", "TensorBoardCurves"]


class _EventFile:
    """An event file, open within the ``with`` block.

    Args:
        folder: where it goes; it is made.
        first_step: what other event files there say of this step and later ones is taken back; ``None``:
            nothing is.
    """

    def __init__(self, folder: Path, *, first_step: int | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(folder / "events"), f".{os.getpid()}")
        if first_step is not None:
            start = SessionLog(status=SessionLog.START)
            self._write(Event(step=first_step, session_log=start))

    def _scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write what is known at one step."""
        summary = Summary()
        for tag, value in values.items():
            summary.MergeFrom(scalar(tag, value))
        self._write(Event(step=step, summary=summary))

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._writer.write_event(event)

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


class TensorBoardCurves(_EventFile):
    """The event file of one training, open within the ``with`` block.

    Scalars, one an epoch: ``mae/train`` and ``mae/validation`` in the target's unit, ``learning_rate``, and
    ``seconds`` of wall time.

    Args:
        folder: where the event file goes; it is made.
        first_epoch: what another event file there says of this epoch and later ones is taken back: they
            are trained again when an interrupted training goes on.
    """

    def __init__(self, folder: Path, *, first_epoch: int = 1) -> None:
        super().__init__(folder, first_step=first_epoch if first_epoch > 1 else None)

    def add(self, record: EpochRecord) -> None:
        """Write one epoch; it can be looked at as soon as this returns."""
        self._scalars(
            record.epoch,
            {
                "mae/train": record.train_mae,
                "mae/validation": record.validation_mae,
                "learning_rate": record.learning_rate,
                "seconds": record.seconds,
            },
        )
        self._writer.flush()

    def __enter__(self) -> TensorBoardCurves:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class CycleCurves(_EventFile):
    """The event file of one arm. An arm has a folder, which TensorBoard shows as a run of its own.

    Scalars, one a cycle, cycle 0 being before the loop: ``test/mae``, ``test/rmse`` and ``unlabelled/mae`` in
    the target's unit, ``test/r2``, ``test/coverage_2sigma`` as a fraction, ``labelled``, and
    ``pick/sigma``, the largest σ among the cycle's picks, in the target's unit. What is unknown is
    left out. A cycle after which the network was trained again has two of each.

    Args:
        folder: where the event file goes; what an interrupted run wrote there is taken back.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, first_step=0)
        self._rows = 0

    def add(self, arm: ArmResult) -> None:
        """Write the rows of the learning curve that are new; they can be looked at once this returns."""
        sigmas: dict[int, float] = {}
        for pick in arm.picks:
            sigmas[pick.cycle] = max(pick.sigma, sigmas.get(pick.cycle, 0.0))
        for row in range(self._rows, len(arm.curve)):
            point = arm.curve[row]
            values = {f"test/{name}": float(arm.test[name][row]) for name in arm.test}
            if arm.unlabelled is not None:
                values["unlabelled/mae"] = float(arm.unlabelled["mae"][row])
            if point.cycle in sigmas:
                values["pick/sigma"] = sigmas[point.cycle]
            values["labelled"] = point.n_labelled
            known = {tag: value for tag, value in values.items() if math.isfinite(value)}
            self._scalars(point.cycle, known)
        self._rows = max(self._rows, len(arm.curve))
        self._writer.flush()
