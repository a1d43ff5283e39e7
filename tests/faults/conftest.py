"""What the tests of faults share: a count of the faults that were survived."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.fixture
def survived(record_property: Callable[[str, object], None]) -> Callable[[str, int], None]:
    """Call it with a kind of fault and how many of them the test has come through."""

    def count(kind: str, times: int = 1) -> None:
        record_property("faults survived", [kind, times])

    return count
