"""Progress where there is no terminal: plain lines with counts, rates and the note."""

from __future__ import annotations

import io

import pytest

from gpnet_ray import progress
from gpnet_ray.progress import LogProgress, make_progress


def test_plain_lines_say_count_rate_time_left_and_note(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 20.0, 21.0, 26.0, 27.0, 28.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    stream = io.StringIO()
    with LogProgress(stream).task("Training", total=8, unit="epochs") as task:
        task.advance(1)  # after 20 s: what starts and compiles says nothing of the others
        task.advance(1)  # 1 s later: too early for a line
        task.advance(2, note="MAE 0.1 eV/atom")  # 3 in 6 s
        task.advance(4)
    lines = stream.getvalue().splitlines()
    assert lines == [
        "Training: 1/8 epochs (20 s so far)",
        "Training: 4/8 epochs (0.5 epochs/s, 8 s left); MAE 0.1 eV/atom",
        "Training: 8/8 epochs (28.0 s, 0.286 epochs/s); MAE 0.1 eV/atom",
    ]


def test_output_that_is_no_terminal_gets_plain_lines() -> None:
    from rich.console import Console

    assert isinstance(make_progress(Console(file=io.StringIO())), LogProgress)
