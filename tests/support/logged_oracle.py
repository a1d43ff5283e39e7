"""An oracle that writes down every call, and can be told to misbehave."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

from gpnet_ray.oracles.protocol import LabelOutcome

__all__ = ["Call", "LoggedOracle"]


@dataclass(frozen=True)
class Call:
    """One material that the oracle began to label, in which process."""

    material_id: str
    pid: int


@dataclass(frozen=True)
class LoggedOracle:
    """Labels by a checksum of the id, slowly, and appends a line to a file before each.

    ``faults`` says of an id what becomes of its first tries: ``raise``, ``nan``, ``hang`` or ``kill``
    (SIGKILL to its own process), and how often before all is well.
    """

    log: Path
    seconds: float = 0.0
    faults: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    name: str = "logged"
    unit: str = "eV/atom"

    def calls(self) -> list[Call]:
        """All calls so far, in order."""
        if not self.log.is_file():
            return []
        lines = [line.split() for line in self.log.read_text().splitlines()]
        return [Call(material_id, int(pid)) for material_id, pid in lines]

    def truth(self, material_id: str) -> float:
        return crc32(material_id.encode()) / 2**32

    def label(self, ids: Sequence[str], structures: Sequence[Any]) -> list[LabelOutcome]:
        return [self._label(material_id) for material_id in ids]

    def _label(self, material_id: str) -> LabelOutcome:
        with self.log.open("a") as file:
            file.write(f"{material_id} {os.getpid()}\n")
        kind, times = self.faults.get(material_id, ("", 0))
        value = self.truth(material_id)
        if sum(call.material_id == material_id for call in self.calls()) <= times:
            if kind == "raise":
                raise OSError("the licence server is down")
            if kind == "hang":
                time.sleep(3600)
            if kind == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if kind == "nan":
                value = float("nan")
        # A different time for each material, the same in every run.
        time.sleep(self.seconds * (0.5 + self.truth(material_id)))
        return LabelOutcome(material_id, "ok", value, "", 1, self.seconds)
