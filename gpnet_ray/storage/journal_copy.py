"""The journal in a storage that cannot append: numbered pieces that never change.

A piece is an object with some lines, ``journal/<generation>-<writer>/…/<first>-<last>.jsonl`` by the numbers of its
events. A writer begins with one piece that holds all there was before it, so that its
pieces alone are the whole journal, and what a writer that was taken over still writes is never mixed with it. Every
64 pieces are merged into one.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from gpnet_ray.errors import StorageError
from gpnet_ray.storage.objects import Objects
from gpnet_ray.storage.ownership import Claim

__all__ = ["JOURNAL", "JournalCopy", "read_stored_journal"]

JOURNAL = "journal"
MERGED_AT = 64
READERS = 16

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

    def delete_others(self, listed: list[str]) -> None:
        """Remove the pieces of earlier writers that were there when this one read them."""
        folders = {key.rpartition("/tail-")[0] or key.rpartition("/")[0] for key in listed}
        for folder in sorted(folders - {self._folder}):
            self._objects.delete_below(folder)

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
        StorageError: a piece went away while it was read, or the storage does not answer.
    """
    listed = list(objects.list(JOURNAL))
    pieces = [_piece(found) for found in map(_KEY.fullmatch, listed) if found]
    whole = {writer: _from_the_first_on(writer, pieces) for writer in {p.writer for p in pieces}}
    begun = {writer: chain for writer, chain in whole.items() if chain}
    if not begun:
        return b"", listed
    holder = None if claim is None else (claim.generation, claim.token)
    chosen = begun[holder] if holder in begun else begun[max(begun)]
    with ThreadPoolExecutor(READERS) as pool:
        contents = list(pool.map(lambda piece: objects.read(piece.key), chosen))
    for piece, content in zip(chosen, contents, strict=True):
        if content is None or content.count(b"\n") != piece.last - piece.first + 1:
            raise StorageError(
                f"{objects.uri}: {piece.key} went away or is damaged; another process may be writing."
                " Try again"
            )
    return b"".join(filter(None, contents)), listed


def _piece(found: re.Match[str]) -> _Piece:
    writer = (int(found["generation"]), found["token"])
    return _Piece(found[0], writer, int(found["first"]), int(found["last"]))


def _from_the_first_on(writer: tuple[int, str], pieces: list[_Piece]) -> list[_Piece]:
    """A writer's pieces that follow each other from event 0 on, the longest ones."""
    longest: dict[int, _Piece] = {}
    for piece in pieces:
        if piece.writer == writer:
            known = longest.get(piece.first)
            longest[piece.first] = piece if known is None else max(known, piece, key=_last)
    chain: list[_Piece] = []
    while (due := chain[-1].last + 1 if chain else 0) in longest:
        chain.append(longest[due])
    return chain


def _last(piece: _Piece) -> int:
    return piece.last
