"""What pymatgen warned of while it read many crystals, in a few lines that name some of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gpnet_ray.progress import Progress

__all__ = ["ParserWarnings"]

NAMED_IDS = 5
SHOWN_KINDS = 10
SHOWN_LETTERS = 200

# The parser of CIF says many of its warnings a second time, all in one that begins so.
_COLLECTED = "Issues encountered while parsing CIF: "
# 0.3333 read as 1/3, by far the commonest and harmless.
_ROUNDED = "fractional coordinates rounded"


@dataclass
class _Kind:
    text: str
    count: int = 0
    first_ids: list[str] = field(default_factory=list)


class ParserWarnings:
    """Counts the crystals of every kind of warning, however many crystals there are."""

    def __init__(self) -> None:
        self._kinds: dict[str, _Kind] = {}

    def add(self, material_id: str, warnings: Sequence[str]) -> None:
        """Take in the warnings of one crystal."""
        for kind, text in {_kind(text): text for text in _single(warnings)}.items():
            known = self._kinds.setdefault(kind, _Kind(text))
            known.count += 1
            if known.count <= NAMED_IDS:
                known.first_ids.append(material_id)

    def say(self, progress: Progress) -> None:
        """Show one line for each kind, with the warning of its first crystal; rounded coordinates come last."""
        kinds = sorted(self._kinds.values(), key=lambda kind: _ROUNDED in kind.text)
        for kind in kinds[:SHOWN_KINDS]:
            more = kind.count - len(kind.first_ids)
            ids = ", ".join(kind.first_ids) + (f" and {more} more" if more else "")
            crystals = "1 crystal" if kind.count == 1 else f"{kind.count} crystals"
            text = kind.text[:SHOWN_LETTERS]
            progress.line(f"pymatgen warned of {crystals} ({ids}): {text}")
        if len(kinds) > SHOWN_KINDS:
            progress.line(f"pymatgen warned of {len(kinds) - SHOWN_KINDS} other kinds of faults")


def _single(warnings: Sequence[str]) -> Iterator[str]:
    for warning in warnings:
        parts = [warning]
        if warning.startswith(_COLLECTED):
            parts = warning.removeprefix(_COLLECTED).splitlines()
        for part in parts:
            if text := " ".join(part.split()):
                yield text


def _kind(text: str) -> str:
    """What a warning says of whatever crystal: what follows are formulas, lines and numbers of this one."""
    return re.sub(r"\d+(\.\d+)?", "N", re.split(r"[:=(]", text)[0])
