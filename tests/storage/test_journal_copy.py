"""The journal as pieces: it comes back whole, whichever of several writers wrote last."""

from __future__ import annotations

import pytest

from gpnet_ray.storage import journal_copy
from gpnet_ray.storage.journal_copy import JournalCopy, read_stored_journal
from gpnet_ray.storage.objects import Objects
from gpnet_ray.storage.ownership import Claim
from gpnet_ray.storage.uri import StorageUri


def lines(first: int, last: int, by: str = "") -> bytes:
    return b"".join(f'{{"event": "{by}{n}"}}\n'.encode() for n in range(first, last))


def claim(generation: int, token: str) -> Claim:
    return Claim(token, generation, "machine", "host", 1, "now")


def test_pieces_come_back_in_order_and_are_merged_now_and_then(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_copy, "MERGED_AT", 8)
    objects = Objects(StorageUri.parse(address))
    copy = JournalCopy(objects, claim(1, "a"))
    copy.begin(lines(0, 7))
    written = 7
    for step in range(2 * 8 + 5):
        copy.add(lines(written, written + 1 + step % 3))
        written += 1 + step % 3
        copy.merge()
    assert read_stored_journal(objects, None)[0] == lines(0, written)
    # What there was before, two merged pieces, and five small ones.
    assert len(objects.list()) == 1 + 2 + 5
    copy.merge(at_least=2)
    assert read_stored_journal(objects, None)[0] == lines(0, written)
    assert len(objects.list()) == 1 + 2 + 1


def test_a_stop_between_merging_and_removing_changes_nothing(address: str) -> None:
    objects = Objects(StorageUri.parse(address))
    copy = JournalCopy(objects, claim(1, "a"))
    for n in range(4):
        copy.add(lines(n, n + 1))
    small = {key: objects.read(key) or b"" for key in objects.list()}
    copy.merge(at_least=2)
    copy.add(lines(4, 5))
    for key, content in small.items():
        objects.put(key, content)
    assert read_stored_journal(objects, None)[0] == lines(0, 5)


def test_what_an_earlier_writer_still_writes_is_not_mixed_in(address: str) -> None:
    objects = Objects(StorageUri.parse(address))
    old, new = JournalCopy(objects, claim(1, "a")), JournalCopy(objects, claim(2, "b"))
    old.add(lines(0, 5))
    held, listed = read_stored_journal(objects, None)
    # The new one has claimed and not begun; what the old one writes meanwhile may count or not.
    old.add(lines(5, 9, by="a"))
    assert read_stored_journal(objects, claim(2, "b"))[0] == lines(0, 5) + lines(5, 9, by="a")
    new.begin(held)
    old.add(lines(9, 12, by="a"))
    assert read_stored_journal(objects, claim(2, "b"))[0] == lines(0, 5)
    new.delete_others(listed)
    new.add(lines(5, 6, by="b"))
    old.add(lines(12, 20, by="a"))
    for asked in (claim(2, "b"), claim(3, "c"), None):
        assert read_stored_journal(objects, asked)[0] == lines(0, 5) + lines(5, 6, by="b")
