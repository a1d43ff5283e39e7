"""The journal in a storage that cannot append: numbered pieces that never change.

A piece is an object with some lines, ``journal/<generation>-<writer>/…/<first>-<last>.jsonl`` by the numbers of its
events. A writer begins with one piece that holds all there was before it, so that its
pieces alone are the whole journal, and what a writer that was taken over still writes is never mixed with it. Every
64 pieces are merged into one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from gpnet_ray.errors import StorageError
from gpnet_ray.storage.objects import Objects
from gpnet_ray.storage.ownership import Claim

__all__ = ["JOURNAL", "JournalCopy", "read_stored_journal"]

JOURNAL = "journal"
MERGED_AT = 64
AT_ONCE = 16
LOOKS = 3
"""A listing is not made in one moment: pieces that are being merged may be missing from one, but not from the next."""

_KEY = re.compile(
    rf"{JOURNAL}/(?P<generation>\d+)-(?P<token>[0-9a-f]+)/(?:tail-\d+/)?(?P<first>\d+)-(?P<last>\d+)\.jsonl"
)


@dataclass(frozen=True)
class _Piece:
    key: str
    writer: tuple[int, str]
    first: int
    last: int


class JournalCopy:
    """Writes the pieces of one writer."""

    def __init__(self, objects: Objects, claim: Claim) -> None:
        self._objects = objects
        self._folder = f"{JOURNAL}/{claim.generation:06d}-{claim.token}"
        self._next = self._tail_first = self._n_tails = 0
        self._tail: list[bytes] = []

    def begin(self, content: bytes) -> None:
        """Write all that there was before this writer."""
        if content:
            self._put("", self._next, content)
            self._next = self._tail_first = content.count(b"\n")

    def add(self, content: bytes) -> None:
        """Write further whole lines, as a piece of their own; where that fails, nothing has changed."""
        self._put(self._tail_folder, self._next, content)
        self._next += content.count(b"\n")
        self._tail.append(content)

    def merge(self, *, at_least: int | None = None) -> None:
        """Make one piece of the small ones, where there are that many (64 where left out)."""
        if len(self._tail) < (at_least or MERGED_AT):
            return
        self._put("", self._tail_first, b"".join(self._tail))
        small = f"{self._folder}/{self._tail_folder}".rstrip("/")
        self._tail, self._tail_first, self._n_tails = [], self._next, self._n_tails + 1
        self._objects.delete_below(small)

    def delete_repeated(self, listed: list[str], content: bytes) -> None:
        """Remove the pieces of earlier writers that this one has begun with, each after a look at its lines.

        What an earlier writer has that ``content`` has not stays: it may be all that is left of a label.

        Raises:
            StorageAwayError: the storage does not answer.
        """
        lines = content.splitlines(keepends=True)

        def remove(piece: _Piece) -> None:
            if self._objects.read(piece.key) == b"".join(lines[piece.first : piece.last + 1]):
                self._objects.delete(piece.key)

        others = [p for p in _pieces(listed) if not p.key.startswith(f"{self._folder}/")]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(remove, others))

    @property
    def _tail_folder(self) -> str:
        return f"tail-{self._n_tails:06d}/"

    def _put(self, below: str, first: int, content: bytes) -> None:
        last = first + content.count(b"\n") - 1
        self._objects.put(f"{self._folder}/{below}{first:09d}-{last:09d}.jsonl", content)


def read_stored_journal(objects: Objects, claim: Claim | None) -> tuple[bytes, list[str]]:
    """Put the pieces of the right writer together.

    That is the writer whose claim is given or, where it has not begun to write, the one of the latest generation.

    Returns:
        Whole lines of the journal, and the keys of all pieces that there are.

    Raises:
        StorageError: a piece is missing before others, or went away while it was read; or the storage does
            not answer.
    """
    for _ in range(LOOKS):
        listed = list(objects.list(JOURNAL))
        chain, missing = _in_order(_that_count(_pieces(listed), claim))
        if not missing:
            return _content(objects, chain), listed
    raise StorageError(
        f"{objects.uri}: pieces of the journal are missing from {_folder_of(chain[0])}: events"
        f" {', '.join(missing)}, while later ones are there. Another process may be writing just now: try"
        " again. Where they stay away, restore them from a copy or from the bucket's versions; or, on a"
        " machine that has the run's own folder, go on with --resume and another --storage. No piece of the"
        " journal was changed"
    )


def _pieces(listed: Iterable[str]) -> list[_Piece]:
    return [
        _Piece(
            found[0],
            (int(found["generation"]), found["token"]),
            int(found["first"]),
            int(found["last"]),
        )
        for found in map(_KEY.fullmatch, listed)
        if found
    ]


def _folder_of(piece: _Piece) -> str:
    generation, token = piece.writer
    return f"{JOURNAL}/{generation:06d}-{token}"


def _that_count(pieces: list[_Piece], claim: Claim | None) -> list[_Piece]:
    """Those of the writer whose journal is the run's; the pieces of others may be half removed."""
    writers = {piece.writer for piece in pieces}
    if claim is not None and (claim.generation, claim.token) in writers:
        right = (claim.generation, claim.token)
    elif writers:
        # Of two that claimed at once, the one that went on has more.
        right = max(pieces, key=lambda piece: (piece.writer[0], piece.last)).writer
    else:
        return []
    return [piece for piece in pieces if piece.writer == right]


def _in_order(pieces: list[_Piece]) -> tuple[list[_Piece], list[str]]:
    """The longest pieces, one behind the other, and which events are missing between them."""
    chain: list[_Piece] = []
    missing: list[str] = []
    due = 0
    for piece in sorted(pieces, key=lambda piece: (piece.first, -piece.last)):
        if piece.last < due:
            # One that was merged, or written again with more behind it.
            continue
        if piece.first != due:
            missing.append(f"{due} to {piece.first - 1 if piece.first > due else piece.last}")
        chain.append(piece)
        due = piece.last + 1
    return chain, missing


def _content(objects: Objects, chain: list[_Piece]) -> bytes:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        contents = list(pool.map(lambda piece: objects.read(piece.key), chain))
    for piece, content in zip(chain, contents, strict=True):
        if content is None or content.count(b"\n") != piece.last - piece.first + 1:
            raise StorageError(
                f"{objects.uri}: {piece.key} went away or is damaged; another process may be writing."
                " Try again"
            )
    return b"".join(filter(None, contents))
