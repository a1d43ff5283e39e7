"""Progress of long steps: bars in a terminal, plain log lines elsewhere, silence in a library.

Code that takes long receives a :class:`Progress` and knows nothing of terminals:

>>> with NullProgress().task("Building graphs", total=3, unit="crystals") as task:
...     for _ in range(3):
...         task.advance()
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import IO, TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["LogProgress", "NullProgress", "Progress", "Task", "TerminalProgress", "make_progress"]

LOG_INTERVAL_SECONDS = 5.0


class Task(Protocol):
    """One long step in progress."""

    def advance(self, steps: float = 1, *, note: str = "") -> None:
        """Count ``steps`` more as done; ``note`` is a short state such as ``MAE 0.12 eV/atom``."""


class Progress(Protocol):
    """Where the progress of long steps is shown."""

    def task(self, title: str, *, total: float, unit: str) -> AbstractContextManager[Task]:
        """Open one step of ``total`` ``unit``s (crystals, epochs, cycles)."""

    def line(self, text: str) -> None:
        """Show one line of text."""


class _NullTask:
    def advance(self, steps: float = 1, *, note: str = "") -> None:
        """Do nothing."""


class NullProgress:
    """Show nothing: the default of the Python API."""

    @contextmanager
    def task(self, title: str, *, total: float, unit: str) -> Iterator[Task]:
        """Open a step that shows nothing."""
        yield _NullTask()

    def line(self, text: str) -> None:
        """Show nothing."""


class _LogTask:
    """Prints a line every few seconds and one at the end.

    The time left is judged by what came after the first step: that one starts actors and compiles, too.
    """

    def __init__(self, stream: IO[str], title: str, total: float, unit: str) -> None:
        self._stream, self._title, self._total, self._unit = stream, title, total, unit
        self._done, self._note = 0.0, ""
        self._start = self._last = time.monotonic()
        self._first: tuple[float, float] | None = None

    def advance(self, steps: float = 1, *, note: str = "") -> None:
        self._done += steps
        self._note = note or self._note
        now = time.monotonic()
        if self._first is None:
            self._first = now, self._done
        if now - self._last >= LOG_INTERVAL_SECONDS and self._done < self._total:
            self._last = now
            self._print(self._timing(now, *self._first))

    def _timing(self, now: float, first_at: float, first_done: float) -> str:
        since = self._done - first_done
        if since <= 0 or now <= first_at:
            return f"{now - self._start:.0f} s so far"
        rate = since / (now - first_at)
        return f"{rate:.3g} {self._unit}/s, {(self._total - self._done) / rate:.0f} s left"

    def finish(self) -> None:
        seconds = time.monotonic() - self._start
        rate = self._done / seconds if seconds > 0 else 0.0
        self._print(f"{seconds:.1f} s, {rate:.3g} {self._unit}/s")

    def _print(self, timing: str) -> None:
        note = f"; {self._note}" if self._note else ""
        print(
            f"{self._title}: {self._done:g}/{self._total:g} {self._unit} ({timing}){note}",
            file=self._stream,
            flush=True,
        )


class LogProgress:
    """Plain lines, for output that is not a terminal (a job's log, a pipe)."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    @contextmanager
    def task(self, title: str, *, total: float, unit: str) -> Iterator[Task]:
        """Open a step that logs a line every few seconds."""
        log = _LogTask(self._stream, title, total, unit)
        yield log
        log.finish()

    def line(self, text: str) -> None:
        """Print one line."""
        print(text, file=self._stream, flush=True)


class TerminalProgress:
    """Bars with rate and time left, drawn by rich."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def task(self, title: str, *, total: float, unit: str) -> Iterator[Task]:
        """Open a step that draws a bar."""
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            ProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as RichProgress
        from rich.progress import Task as RichTask
        from rich.text import Text

        class RateColumn(ProgressColumn):
            def render(self, task: RichTask) -> Text:
                speed = task.finished_speed or task.speed
                if speed is None and task.elapsed:
                    speed = task.completed / task.elapsed
                return Text(f"{speed:.3g} {unit}/s" if speed else "")

        columns = (
            TextColumn("{task.description:<22}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            RateColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with RichProgress(*columns, console=self._console) as bars:
            bar = bars.add_task(title, total=total, note="")

            class _Bar:
                def advance(self, steps: float = 1, *, note: str = "") -> None:
                    bars.update(bar, advance=steps)
                    if note:
                        bars.update(bar, note=note)

            yield _Bar()

    def line(self, text: str) -> None:
        """Print one line above the bars."""
        self._console.print(text, highlight=False, markup=False)


def make_progress(console: Console) -> Progress:
    """Choose bars where the console is a terminal and plain lines where it is not."""
    return TerminalProgress(console) if console.is_terminal else LogProgress(console.file)
