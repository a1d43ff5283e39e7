"""Tables of numbers in the terminal: in a narrow one names fold, and numbers stay whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["ROOMY", "number_table"]

ROOMY = 80
"""Columns of a terminal from which there is room between the columns of a table."""

NARROWEST_NAME, USUAL_NAME = 6, 15
"""Columns that names have at least, and that they have before "0.55 ± 0.04" stays on one line."""


def number_table(
    title: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    below: Sequence[str],
    width: int,
) -> Table:
    """Lay out names and their numbers; print it with ``crop=False``.

    Where the terminal is too narrow, "0.55 ± 0.04" is broken behind the sign, and the names fold. Where it is too
    narrow even for the numbers, the lines are longer than it.

    Args:
        title: Stands above it.
        headings: One a column, broken into lines.
        rows: A name and numbers each.
        below: Lines of text that follow.
        width: Columns of the terminal.
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    space = int(width >= ROOMY)
    table = Table(
        title=escape(title),
        title_style="bold",
        title_justify="left",
        caption=escape("\n".join(below)),
        caption_style="",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, space, 0, 0),
    )
    around = len(headings) * (1 + space) + 1
    longest_name, *longest = _widths(headings, rows)
    if min(longest_name, USUAL_NAME) + sum(longest) + around > width:
        rows = [[text.replace("± ", "±\n") for text in row] for row in rows]
    name, *numbers = headings
    widths = [NARROWEST_NAME, *_widths(headings, rows)[1:]]
    table.add_column(name, overflow="fold", min_width=NARROWEST_NAME)
    for heading, widest in zip(numbers, widths[1:], strict=True):
        table.add_column(heading, justify="right", no_wrap=True, min_width=widest)
    for name, *values in rows:
        table.add_row(escape(name), *values)
    if sum(widths) + around > width:
        table.width = sum(widths) + around  # or Rich would leave out the names
    return table


def _widths(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the length of the longest line of each column."""
    columns = zip(headings, *rows, strict=True)
    return [max(len(line) for text in column for line in text.splitlines()) for column in columns]
