"""An oracle that raises exceptions of kinds that do not travel between processes."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any

from gpnet_ray.oracles.protocol import LabelOutcome

__all__ = ["REASONS", "RaisingOracle"]


class TwoArgumentsError(Exception):
    """Its copy would be made by one argument, the text."""

    def __init__(self, what: str, how: str) -> None:
        super().__init__(f"{what} {how}")


class CodeError(Exception):
    """Its copy would be made by its text, and say ``exit code`` twice."""

    def __init__(self, code: object) -> None:
        super().__init__(f"exit code {code}")


class WithLockError(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class NoTextError(Exception):
    def __str__(self) -> str:
        raise KeyError("text")


RAISED = {
    "two arguments": lambda: TwoArgumentsError("SCF", "diverged"),
    "code": lambda: CodeError(5),
    "lock": lambda: WithLockError("no licence"),
    "no text": lambda: NoTextError(),
    "half a character": lambda: ValueError("read \udcc5"),
    "ordinary": lambda: TimeoutError(110, "Connection timed out"),
}

REASONS = {
    "two arguments": "TwoArgumentsError: SCF diverged",
    "code": "CodeError: exit code 5",
    "lock": "WithLockError: no licence",
    "no text": "NoTextError (its text cannot be read: KeyError)",
    "half a character": "ValueError: read \\udcc5",
    "ordinary": "TimeoutError: [Errno 110] Connection timed out",
}
"""The reason that is to be recorded for each material."""


class RaisingOracle:
    """Raises for every material of :data:`REASONS` and labels all others with the number of its process."""

    name, unit = "raising", "eV/atom"

    def label(self, ids: Sequence[str], structures: Sequence[Any]) -> list[LabelOutcome]:
        for material_id in ids:
            if material_id in RAISED:
                raise RAISED[material_id]()
        return [LabelOutcome(i, "ok", float(os.getpid()), "", 1, 0.0) for i in ids]
