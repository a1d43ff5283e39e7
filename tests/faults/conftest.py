"""What the tests of faults share: a count of the faults that were survived."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

SURVIVED: Counter[str] = Counter()


@pytest.fixture
def survived() -> Callable[[str, int], None]:
    """Call it with a kind of fault and how many of them the test has come through."""

    def count(kind: str, times: int = 1) -> None:
        SURVIVED[kind] += times

    return count


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if SURVIVED:
        listing = ", ".join(f"{times} × {kind}" for kind, times in SURVIVED.items())
        terminalreporter.write_line(f"Faults survived: {SURVIVED.total()} ({listing})")
