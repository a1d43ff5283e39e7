"""The journal as pieces: it comes back whole, whichever of several writers wrote last."""

from __future__ import annotations

import pytest

from gpnet_ray.errors import StorageError
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
    new.delete_repeated(listed, held)
    new.add(lines(5, 6, by="b"))
    old.add(lines(12, 20, by="a"))
    for asked in (claim(2, "b"), claim(3, "c"), None):
        assert read_stored_journal(objects, asked)[0] == lines(0, 5) + lines(5, 6, by="b")


@pytest.mark.parametrize(("lost", "events"), [(0, "0 to 1"), (2, "4 to 5")])
def test_a_journal_with_a_hole_is_refused_instead_of_being_cut_short(
    address: str, lost: int, events: str
) -> None:
    objects = Objects(StorageUri.parse(address))
    copy = JournalCopy(objects, claim(1, "a"))
    for n in range(0, 10, 2):
        copy.add(lines(n, n + 2))
    key = sorted(objects.list())[lost]
    content = objects.read(key) or b""
    objects.delete(key)
    for asked in (claim(1, "a"), claim(2, "b"), None):
        with pytest.raises(StorageError, match=f"events {events}, .*restore them from a copy"):
            read_stored_journal(objects, asked)
    objects.put(key, content)
    assert read_stored_journal(objects, None)[0] == lines(0, 10)


def test_a_later_writer_that_lost_its_beginning_does_not_count_for_less_than_an_earlier_one(
    address: str,
) -> None:
    objects = Objects(StorageUri.parse(address))
    JournalCopy(objects, claim(1, "a")).add(lines(0, 5))
    new = JournalCopy(objects, claim(2, "b"))
    new.begin(lines(0, 5))
    (begun,) = (key for key in objects.list() if "000002-b" in key)
    new.add(lines(5, 7))
    objects.delete(begun)
    with pytest.raises(StorageError, match=r"missing from journal/000002-b: events 0 to 4"):
        read_stored_journal(objects, None)


def test_an_earlier_writer_that_is_half_removed_is_no_hole(address: str) -> None:
    objects = Objects(StorageUri.parse(address))
    old, new = JournalCopy(objects, claim(1, "a")), JournalCopy(objects, claim(2, "b"))
    for n in range(4):
        old.add(lines(n, n + 1))
    listed = sorted(objects.list())
    new.begin(lines(0, 4))
    # Stopped while it removed them.
    objects.delete(listed[1])
    for asked in (claim(2, "b"), claim(3, "c"), None):
        assert read_stored_journal(objects, asked)[0] == lines(0, 4)
    new.delete_repeated(listed, lines(0, 4))
    assert len(objects.list()) == 1


def test_pieces_that_are_merged_while_they_are_listed_are_no_hole(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = Objects(StorageUri.parse(address))
    copy = JournalCopy(objects, claim(1, "a"))
    for n in range(3):
        copy.add(lines(n, n + 1))
    at_first = objects.list("journal")
    copy.merge(at_least=2)
    copy.add(lines(3, 4))
    now = objects.list("journal")
    # A listing that came by the merged piece too early and by the small ones too late.
    mixed = {key: now[key] for key in now if key.endswith("003.jsonl")}
    assert not at_first.keys() & mixed.keys()
    looks = iter((mixed, now))
    monkeypatch.setattr(objects, "list", lambda _: next(looks))
    assert read_stored_journal(objects, claim(1, "a"))[0] == lines(0, 4)


def test_of_two_that_claimed_at_once_the_one_that_went_on_counts(address: str) -> None:
    objects = Objects(StorageUri.parse(address))
    for token, n in (("a", 4), ("b", 9), ("c", 4)):
        JournalCopy(objects, claim(2, token)).begin(lines(0, n))
    assert read_stored_journal(objects, None)[0] == lines(0, 9)


def test_only_pieces_that_a_new_writer_repeats_are_removed(address: str) -> None:
    objects = Objects(StorageUri.parse(address))
    old, new = JournalCopy(objects, claim(1, "a")), JournalCopy(objects, claim(2, "b"))
    old.begin(lines(0, 3))
    held, _ = read_stored_journal(objects, None)
    # One that seemed dead has bought something else meanwhile, and its own disk may be gone.
    old.add(lines(3, 4, by="a"))
    old.add(lines(4, 6, by="a"))
    new.begin(held + lines(3, 4, by="b"))
    new.delete_repeated(list(objects.list()), held + lines(3, 4, by="b"))
    left = b"".join(objects.read(key) or b"" for key in sorted(objects.list()) if "-a/" in key)
    assert left == lines(3, 6, by="a")
    assert read_stored_journal(objects, None)[0] == lines(0, 3) + lines(3, 4, by="b")
