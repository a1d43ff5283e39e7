"""Training curves for TensorBoard, written while a network is trained.

The driver writes them and imports no TensorFlow, so they are written by tensorboardX; TensorBoard's own writer
imports TensorFlow where it is installed. Events are written at once, without tensorboardX's
queue and thread: there are four an epoch.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

if TYPE_CHECKING:
    from gpnet_ray.gnn.records import EpochRecord

__all__ = ["TensorBoardCurves"]


class TensorBoardCurves:
    """The event file of one training, open within the ``with`` block.

    Scalars, one an epoch: ``mae/train`` and ``mae/validation`` in the target's unit, ``learning_rate``, and
    ``seconds`` of wall time.

    Args:
        folder: where the event file goes; it is made.
        first_epoch: what another event file there says of this epoch and later ones is taken back: they
            are trained again when an interrupted training goes on.
    """

    def __init__(self, folder: Path, *, first_epoch: int = 1) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(folder / "events"), f".{os.getpid()}")
        if first_epoch > 1:
            start = SessionLog(status=SessionLog.START)
            self._write(Event(step=first_epoch, session_log=start))

    def add(self, record: EpochRecord) -> None:
        """Write one epoch; it can be looked at as soon as this returns."""
        for tag, value in (
            ("mae/train", record.train_mae),
            ("mae/validation", record.validation_mae),
            ("learning_rate", record.learning_rate),
            ("seconds", record.seconds),
        ):
            self._write(Event(step=record.epoch, summary=scalar(tag, value)))
        self._writer.flush()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._writer.write_event(event)

    def __enter__(self) -> TensorBoardCurves:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()
