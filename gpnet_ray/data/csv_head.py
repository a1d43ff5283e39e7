"""What the head of a CSV file gives away before a row is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gpnet_ray.errors import DataError

__all__ = ["refuse_semicolons"]


def refuse_semicolons(head: Sequence[str], path: Path) -> None:
    """Refuse what spreadsheets write where the comma is the decimal sign.

    Raises:
        DataError: the only column's name has semicolons in it.
    """
    if len(head) == 1 and ";" in head[0]:
        raise DataError(
            f"{path} separates its columns by semicolons; save it with commas, and numbers with points"
        )
