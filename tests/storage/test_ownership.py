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
