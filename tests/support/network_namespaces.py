"""Machines that share no network address and no folder: network namespaces with a tmpfs over what they could share."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent


class Machines:
    """Namespaces on one bridge, the first with the bridge: 10.77.x.1, .2, ..."""

    def __init__(self, count: int) -> None:
        tag = os.getpid() % 60000
        self.names = [f"gpnet{tag}n{number}" for number in range(count)]
        subnet = f"10.77.{tag % 250}"
        self.addresses = [f"{subnet}.{number + 1}" for number in range(count)]
        self._links = [f"v{tag}n{number}" for number in range(count)]

    def make(self) -> None:
        """Make them.

        Raises:
            subprocess.CalledProcessError: it is not allowed here, or not possible.
        """
        for name in self.names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        first = self.names[0]
        ip("-n", first, "link", "add", "br0", "type", "bridge")
        ip("-n", first, "addr", "add", f"{self.addresses[0]}/24", "dev", "br0")
        ip("-n", first, "link", "set", "br0", "up")
        for name, address, link in list(zip(self.names, self.addresses, self._links, strict=True))[
            1:
        ]:
            there = ("peer", "name", "eth0", "netns", name)
            ip("-n", first, "link", "add", link, "type", "veth", *there)
            ip("-n", first, "link", "set", link, "master", "br0", "up")
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")

    def remove(self) -> None:
        """End what runs in them, by its process ids, and remove them."""
        for name in self.names:
            for pid in ip("netns", "pids", name, check=False).split():
                with_no_error_if_gone(int(pid))
            ip("netns", "del", name, check=False)

    def command(
        self, number: int, command: Sequence[str | Path], *, hidden: Sequence[Path] = ()
    ) -> list[str]:
        """The command line that runs something on a machine, with folders of others ``hidden`` there."""
        script = "".join(f"mount -t tmpfs tmpfs '{folder}' && " for folder in hidden) + 'exec "$@"'
        return [
            "ip",
            "netns",
            "exec",
            self.names[number],
            "sh",
            "-c",
            script,
            "sh",
            *map(str, command),
        ]


def with_no_error_if_gone(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def ip(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=check)
    return done.stdout


@contextmanager
def machines(count: int) -> Iterator[Machines]:
    """Machines until the end of the block; the test is skipped where they cannot be had."""
    if not shutil.which("ip") or os.geteuid() != 0:
        pytest.skip("network namespaces need root and the command `ip` (iproute2)")
    made = Machines(count)
    try:
        try:
            made.make()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr.strip()}")
        yield made
    finally:
        made.remove()


@contextmanager
def ray_on(
    made: Machines, *, hidden: Sequence[Path], environment: Mapping[str, str]
) -> Iterator[str]:
    """Ray on all machines, a head that only drivers run on, and workers of two CPUs; its address."""
    # AF_UNIX paths may have 107 bytes: pytest's own folders are too deep for Ray's sockets.
    folder = Path(f"/tmp/{made.names[0]}")  # noqa: S108 - named after this process, removed below
    folder.mkdir()
    address = f"{made.addresses[0]}:6379"
    common = ["--block", "--object-store-memory=100000000"]
    head = ["--head", "--port=6379", "--num-cpus=0", "--include-dashboard=false"]
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)

        def start(number: int, more: Sequence[str], hide: Sequence[Path]) -> None:
            own = [f"--node-ip-address={made.addresses[number]}", *common, *more]
            log = stack.enter_context((folder / f"log-{number}").open("w"))
            command = made.command(number, [BIN / "ray", "start", *own], hidden=hide)
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.terminate)

        start(0, [*head, f"--temp-dir={folder}"], ())
        wait_for(address, made, environment)
        for number in range(1, len(made.names)):
            start(number, [f"--address={address}"], (*hidden, folder))
        yield address


def wait_for(address: str, made: Machines, environment: Mapping[str, str]) -> None:
    """Wait until a Ray answers there."""
    command = made.command(0, [BIN / "ray", "health-check", "--address", address])
    said = ""
    for _ in range(30):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        said = done.stderr
        time.sleep(0.5)
    pytest.fail(f"no Ray at {address}: {said}")
