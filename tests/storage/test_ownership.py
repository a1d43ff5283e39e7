"""One writer at a time: a living one is not disturbed, a dead one is followed, and of two one stops."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gpnet_ray.errors import StorageAwayError, StorageError
from gpnet_ray.storage.objects import Objects
from gpnet_ray.storage.ownership import CLAIM, Claim, Ownership, Signs, read_claim
from gpnet_ray.storage.uri import StorageUri

# S3 gives times in whole seconds, so that fewer than two cannot be told apart.
SIGNS = Signs(every_seconds=0.1, dead_after_seconds=2.0, look_every_seconds=0.3)


@pytest.fixture
def objects(address: str) -> Objects:
    return Objects(StorageUri.parse(address))


def pretend(objects: Objects, claim: Claim, **changed: object) -> Claim:
    """Let the claim in the storage be another's."""
    other = replace(claim, **changed)  # type: ignore[arg-type]
    objects.put(CLAIM, json.dumps(other.__dict__).encode())
    return other


def test_a_released_run_is_taken_at_once_and_the_next_claim_is_newer(objects: Objects) -> None:
    first = Ownership.take(objects, signs=SIGNS)
    first.check()
    first.release()
    said: list[str] = []
    second = Ownership.take(objects, signs=SIGNS, notify=said.append)
    assert said == []
    assert second.before == first.claim
    assert second.claim.generation == first.claim.generation + 1
    with pytest.raises(StorageError, match=r"taken over by process \d+ on .* this one stops"):
        first.check()
    second.check()
    # That it ends later changes nothing.
    first.release()
    # Claim and sign of life; nothing of those before.
    assert len(objects.list()) == 2


def test_a_living_writer_is_not_disturbed(objects: Objects) -> None:
    first = Ownership.take(objects)

    def a_while(seconds: float) -> None:
        first.show_life()

    # Its sign of life has to change, which takes a second at most where times are whole seconds.
    with pytest.raises(StorageError, match=rf"is being written by process {first.claim.pid} on"):
        Ownership.take(objects, signs=replace(SIGNS, dead_after_seconds=60.0), sleep=_slow(a_while))
    first.check()
    assert len(objects.list()) == 2


def _slow(then: object) -> object:
    import time

    def sleep(seconds: float) -> None:
        time.sleep(seconds)
        then(seconds)  # type: ignore[operator]

    return sleep


def test_a_writer_of_another_machine_that_died_is_followed_after_its_silence(
    objects: Objects,
) -> None:
    first = Ownership.take(objects, signs=SIGNS)
    pretend(objects, first.claim, machine="elsewhere", host="head-1")
    said: list[str] = []
    Ownership.take(objects, signs=SIGNS, notify=said.append)
    assert "not released" in said[0]
    assert "no sign of life" in said[1]
    assert "head-1" in said[1]


def test_one_that_waits_for_a_dead_writer_does_not_disturb_who_takes_over_meanwhile(
    objects: Objects,
) -> None:
    dead = pretend(objects, Ownership.take(objects).claim, machine="elsewhere", pid=1)
    began: list[Ownership] = []

    def quicker(seconds: float) -> None:
        if not began:
            # On the dead one's own machine, where that is known at once.
            began.append(Ownership.take(objects, signs=replace(SIGNS, dead_after_seconds=0.0)))
        began[0].show_life()

    patient = replace(SIGNS, dead_after_seconds=60.0)
    with pytest.raises(StorageError, match=r"is being written by process"):
        Ownership.take(objects, signs=patient, sleep=_slow(quicker))
    assert began[0].before == dead
    began[0].check()
    assert len(objects.list()) == 2


def test_one_that_waits_asks_at_every_look_who_holds_the_claim(objects: Objects) -> None:
    dead = pretend(objects, Ownership.take(objects).claim, machine="elsewhere")
    new = Ownership(objects, replace(dead, token="b" * 12, generation=2, host="head-2"), dead)

    def claimed(seconds: float) -> None:
        # It has not come to removing the dead one's sign of life.
        new.show_life()
        pretend(objects, new.claim)

    said: list[str] = []
    with pytest.raises(StorageError, match=r"is being written by process .* on head-2"):
        Ownership.take(objects, signs=SIGNS, notify=said.append, sleep=_slow(claimed))
    assert not any("takes over" in line for line in said)
    new.check()


def test_one_that_waits_follows_the_last_of_several_that_died(objects: Objects) -> None:
    first = pretend(objects, Ownership.take(objects).claim, machine="elsewhere", host="head-1")
    others: list[Claim] = []

    def another(seconds: float) -> None:
        if not others:
            begun = Ownership.take(objects, signs=replace(SIGNS, dead_after_seconds=0.0))
            others.append(pretend(objects, begun.claim, machine="elsewhere", host="head-2"))

    said: list[str] = []
    last = Ownership.take(objects, signs=SIGNS, notify=said.append, sleep=_slow(another))
    assert last.before == others[0]
    assert last.claim.generation == first.generation + 2
    assert "head-2" in said[-1]
    last.check()
    assert len(objects.list()) == 2


def test_a_claim_that_is_put_just_before_ones_own_is_seen(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Ownership.take(objects)
    first.release()
    quick: list[Ownership] = []
    as_ever = objects.read

    def read(key: str) -> bytes | None:
        content = as_ever(key)
        if key == first.claim.sign and not quick:
            # Between the look at the sign of life and what follows from it.
            quick.append(Ownership.take(Objects(objects.uri)))
        return content

    monkeypatch.setattr(objects, "read", read)

    def alive(seconds: float) -> None:
        quick[0].show_life()

    with pytest.raises(StorageError, match="is being written by process"):
        Ownership.take(objects, signs=replace(SIGNS, dead_after_seconds=60.0), sleep=_slow(alive))
    quick[0].check()


def test_a_storage_that_goes_away_while_a_dead_writer_is_waited_for_is_not_begun_anew(
    objects: Objects,
) -> None:
    pretend(objects, Ownership.take(objects).claim, machine="elsewhere")

    def unmounted(seconds: float) -> None:
        objects.delete_below()

    with pytest.raises(StorageAwayError, match="mounted"):
        Ownership.take(objects, signs=SIGNS, sleep=unmounted)
    assert read_claim(objects) is None


def test_a_dead_process_of_this_machine_is_followed_at_once(objects: Objects) -> None:
    first = Ownership.take(objects)
    # The largest process number that Linux gives is 2**22.
    pretend(objects, first.claim, pid=2**22 + 1)
    said: list[str] = []
    Ownership.take(objects, notify=said.append)
    assert said == []


def test_a_claim_that_has_gone_is_a_storage_that_is_away(objects: Objects) -> None:
    first = Ownership.take(objects)
    objects.delete(CLAIM)
    with pytest.raises(StorageAwayError, match="mounted"):
        first.check()
    assert read_claim(objects) is None


def test_of_two_that_claim_at_once_one_goes_on(objects: Objects) -> None:
    first = Ownership.take(objects)
    first.release()
    # The second has seen the release and has not claimed when the third does the whole of it.
    second = Ownership(objects, replace(first.claim, token="b" * 12, generation=2), first.claim)
    third = Ownership.take(objects)
    pretend(objects, second.claim)
    second.check()
    with pytest.raises(StorageError, match="taken over"):
        third.check()
