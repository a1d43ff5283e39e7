"""Event files for TensorBoard, read without it: the framing of TFRecord by hand, the messages by protobuf."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["curves"]


def _events(folder: Path) -> Iterator[Any]:
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.glob("events*"), key=lambda file: file.stat().st_mtime_ns):
        content, place = path.read_bytes(), 0
        while place < len(content):
            (length,) = struct.unpack_from("<Q", content, place)
            yield Event.FromString(content[place + 12 : place + 12 + length])
            place += 12 + length + 4


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every scalar by step, as TensorBoard shows it: a start takes back what it repeats."""
    read: dict[str, list[tuple[int, float]]] = {}
    for event in _events(folder):
        if event.HasField("session_log"):
            read = {tag: [p for p in points if p[0] < event.step] for tag, points in read.items()}
        for value in event.summary.value:
            read.setdefault(value.tag, []).append((event.step, value.simple_value))
    return read
