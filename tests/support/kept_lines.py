"""The lines that a user is shown, kept for a test."""

from __future__ import annotations

from gpnet_ray.progress import NullProgress


class KeptLines(NullProgress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)
