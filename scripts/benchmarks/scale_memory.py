"""Peak memory of this process and of its actors, read from /proc (Linux) four times a second."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

import psutil

__all__ = ["PeakMemory"]

KINDS = {"ray::BoundedShard": "shard", "ray::GpWorker": "GP"}
_PERIOD_SECONDS = 0.25


class PeakMemory:
    """Peaks while the ``with`` block is open.

    Anonymous memory is what a process has to itself; the pool's mapped pages, which the system takes back when it needs
    them, come beside it in the resident memory. Actors are counted where they descend from this process, that is where it
    started Ray itself: those of other runs on the machine are not.
    """

    def __init__(self) -> None:
        self._peaks: dict[str, float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def peaks(self) -> dict[str, float]:
        """The largest of every kind of process, MiB."""
        return dict(self._peaks)

    def _watch(self) -> None:
        this = psutil.Process()
        while not self._ended.wait(_PERIOD_SECONDS):
            self._look(this.pid, "driver")
            for process in this.children(recursive=True):
                kind = _kind_of(process)
                if kind is not None:
                    self._look(process.pid, kind)

    def _look(self, pid: int, kind: str) -> None:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            return  # It has ended.
        kibibytes = {line.split(":")[0]: line.split()[1] for line in lines if line.endswith(" kB")}
        for field, name in (("RssAnon", f"{kind} anonymous"), ("VmRSS", f"{kind} resident")):
            if field in kibibytes:
                peak = int(kibibytes[field]) / 1024
                self._peaks[name] = max(peak, self._peaks.get(name, 0.0))


def _kind_of(process: psutil.Process) -> str | None:
    try:
        command = "".join(process.cmdline())
    except psutil.NoSuchProcess:
        return None
    return next((kind for start, kind in KINDS.items() if command.startswith(start)), None)
