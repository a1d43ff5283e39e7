"""Who writes a stored run: one process at a time, which shows signs of life while it does.

Neither pyarrow nor every S3-compatible server can write on a condition, so nothing here relies on that. A writer puts
its claim over any other; after each thing that it writes, and before it acts upon it, it looks whether
the claim is still its own. A new writer looks a last time who holds the claim, puts its own and looks afterwards
what is there. So on a storage in which every read sees the last write (S3, Google Cloud Storage, a disk), of two
writers at most one goes on, and it has seen all that the other has acted upon.
"""

from __future__ import annotations

import json
import os
import platform
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from gpnet_ray.errors import StorageAwayError, StorageError
from gpnet_ray.storage.objects import Objects

__all__ = ["OWNER", "Claim", "Ownership", "Signs", "read_claim"]

OWNER = "owner"
CLAIM = f"{OWNER}/claim.json"


@dataclass(frozen=True)
class Signs:
    """Signs of life: how often a writer gives one, and after which silence it is held to be dead (s)."""

    every_seconds: float = 10.0
    dead_after_seconds: float = 90.0
    look_every_seconds: float = 2.0


@dataclass(frozen=True)
class Claim:
    """One process's claim to be the writer.

    Attributes:
        token: Of this one opening.
        generation: Larger than that of the claim before it.
        machine: Where its process runs, with what tells machines and containers of one name apart.
        host: The machine's name, for people.
        pid: Its process.
        since: UTC.
    """

    token: str
    generation: int
    machine: str
    host: str
    pid: int
    since: str

    @property
    def sign(self) -> str:
        """Key of its sign of life, which nobody else writes."""
        return f"{OWNER}/{self.token}.json"


def read_claim(objects: Objects) -> Claim | None:
    """The claim that holds; ``None`` where nobody has ever written.

    Raises:
        StorageError: the storage does not answer, or what stands there is no claim.
    """
    content = objects.read(CLAIM)
    if content is None:
        return None
    try:
        return Claim(**json.loads(content))
    except (ValueError, TypeError) as error:
        raise StorageError(
            f"{objects.uri}: {CLAIM} cannot be read ({error}); another version of gpnet_ray may have"
            " written it. Give another --storage, or use that version"
        ) from error


class Ownership:
    """The right to write a stored run, from :meth:`take` to :meth:`release`."""

    def __init__(self, objects: Objects, claim: Claim, before: Claim | None) -> None:
        """``before``: the claim that this one was put over."""
        self.claim, self.before = claim, before
        self._objects = objects

    @classmethod
    def take(
        cls,
        objects: Objects,
        *,
        signs: Signs | None = None,
        notify: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Ownership:
        """Claim the run, unless another process that is alive writes it.

        Raises:
            StorageError: another process writes it, or has begun to while a dead one was waited for; or the
                storage does not answer.
        """
        before = read_claim(objects)
        own = cls(
            objects,
            Claim(
                token=uuid.uuid4().hex[:12],
                generation=_generation_after(before),
                machine=_this_machine(),
                host=platform.node(),
                pid=os.getpid(),
                since=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            ),
            before,
        )
        own.show_life()
        try:
            own._wait_for_its_turn(signs or Signs(), notify, sleep)
        except StorageError:
            objects.delete(own.claim.sign)
            raise
        objects.put(CLAIM, json.dumps(asdict(own.claim), indent=1).encode())
        own.check()
        if own.before is not None:
            objects.delete(own.before.sign)
        return own

    def check(self) -> None:
        """Make sure that nobody else has claimed the run.

        Raises:
            StorageAwayError: the claim is not there at all.
            StorageError: somebody has.
        """
        holder = read_claim(self._objects)
        if holder == self.claim:
            return
        if holder is None:
            raise self._lost()
        raise StorageError(
            f"{self._objects.uri} has been taken over by process {holder.pid} on {holder.host}, which did not see this process alive;"
            " this one stops. What it has bought since is in its own run folder alone"
        )

    def show_life(self) -> None:
        """Give a sign of life."""
        self._objects.put(self.claim.sign, b'{"released": false}\n')

    def release(self) -> None:
        """Let others write; where another process has taken the run over, there is nothing to release.

        Raises:
            StorageError: the storage does not answer.
        """
        if read_claim(self._objects) == self.claim:
            self._objects.put(self.claim.sign, b'{"released": true}\n')

    @contextmanager
    def released_after_error(self) -> Iterator[None]:
        """Release the run where the block ends with an error, whichever."""
        try:
            yield
        except BaseException:
            # Of two errors the first is the one that is told.
            with suppress(StorageError):
                self.release()
            raise

    def _lost(self) -> StorageAwayError:
        return StorageAwayError(
            f"{self._objects.uri} has lost {CLAIM}: is its disk mounted, or was it removed?"
        )

    def _wait_for_its_turn(
        self,
        signs: Signs,
        notify: Callable[[str], None],
        sleep: Callable[[float], None],
    ) -> None:
        """Return directly after a look at which the claim was still that of a writer that has ended.

        Raises:
            StorageAwayError: the claim is not there any more.
            StorageError: whoever holds it gives signs of life.
        """
        while True:
            if self.before is not None:
                self._wait_until_dead(self.before, signs, notify, sleep)
            holder = read_claim(self._objects)
            if holder == self.before:
                return
            if holder is None:
                raise self._lost()
            # Another process that waited, or that knew at once that the writer was dead, was quicker.
            self.before = holder
            self.claim = replace(self.claim, generation=_generation_after(holder))

    def _wait_until_dead(
        self,
        before: Claim,
        signs: Signs,
        notify: Callable[[str], None],
        sleep: Callable[[float], None],
    ) -> None:
        """Return once the last writer has released the run or is dead, or another has taken its place.

        Raises:
            StorageError: it gives signs of life.
        """
        objects, first = self._objects, None
        while read_claim(objects) == before and not _has_gone(before, objects):
            signs_of = objects.list(OWNER)
            if before.sign not in signs_of:
                return
            last, now = signs_of[before.sign].written, signs_of[self.claim.sign].written
            # Both times are of the storage's own clock.
            silent = (now - last).total_seconds()
            if silent >= signs.dead_after_seconds:
                notify(
                    f"The last writer of {objects.uri} (process {before.pid} on {before.host}) has given"
                    f" no sign of life for {silent:.0f} s; this process takes over"
                )
                return
            if first is None:
                first = last
                notify(
                    f"{objects.uri} was not released by process {before.pid} on {before.host}; looking"
                    f" whether that is alive, for up to {signs.dead_after_seconds - silent:.0f} s"
                )
            if last != first:
                raise StorageError(
                    f"{objects.uri} is being written by process {before.pid} on {before.host}, since"
                    f" {before.since}; wait until it has ended, or stop it. A process that died is"
                    f" noticed after {signs.dead_after_seconds:g} s without a sign of life"
                )
            sleep(signs.look_every_seconds)
            self.show_life()


def _generation_after(before: Claim | None) -> int:
    return 1 if before is None else before.generation + 1


def _has_gone(claim: Claim, objects: Objects) -> bool:
    """Whether its writer has released the run, or was a process of this machine that is no more."""
    sign = objects.read(claim.sign)
    if sign is not None and json.loads(sign)["released"]:
        return True
    if claim.machine != _this_machine():
        return False
    try:
        os.kill(claim.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _this_machine() -> str:
    """Name, boot and container: where process numbers mean the same."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        processes = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        # Not Linux: no two processes are then known to share a machine.
        return uuid.uuid4().hex
    return f"{platform.node()} {boot} {processes}"
