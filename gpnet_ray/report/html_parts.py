"""The building blocks of a page: document, sections, tables of numbers; everything is escaped.

A cell that shows a number carries the number itself in ``data-value``, in full precision.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from typing import Any

from gpnet_ray.report.words import UNKNOWN, error_text

__all__ = [
    "Number",
    "Script",
    "Section",
    "document",
    "error_number",
    "flat_texts",
    "json_script",
    "key_values",
    "number",
    "resource",
    "script_element",
    "table",
]


def resource(name: str) -> str:
    """Return the text of a file that lies beside this module."""
    return resources.files("gpnet_ray.report").joinpath(name).read_text("utf-8")


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading that the contents at the top lead to.

    Attributes:
        key: its id in the page, without spaces.
        heading: plain text.
        content: HTML.
    """

    key: str
    heading: str
    content: str

    def html(self) -> str:
        """Return the section as HTML."""
        return (
            f'<section id="section-{self.key}">\n<h2>{escape(self.heading)}</h2>\n'
            f"{self.content}\n</section>"
        )


@dataclass(frozen=True)
class Script:
    """A program of the page. The browser runs no other: the page states the hash of each.

    Attributes:
        text: the program.
        element: the HTML element that brings it; another element may bring it packed.
    """

    text: str
    element: str

    @property
    def source(self) -> str:
        """What the content security policy says of it."""
        digest = hashlib.sha256(self.text.encode()).digest()
        return f"'sha256-{base64.b64encode(digest).decode()}'"


def script_element(text: str) -> Script:
    """Bring a program as it is."""
    return Script(text, f"<script>{text}</script>")


def json_script(key: str, content: Mapping[str, Any]) -> str:
    """Return data for the page's program as an element that is never run."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Nothing in it can end the element or open another one.
    return f'<script type="application/json" id="{key}">{text.replace("<", chr(92) + "u003c")}</script>'


def document(
    *, title: str, header: str, sections: Sequence[Section], scripts: Sequence[Script], data: str
) -> str:
    """Put a page together that needs nothing from anywhere.

    Args:
        title: of the window; plain text.
        header: HTML above the first section.
        sections: in their order.
        scripts: programs, in the order in which they run.
        data: elements of :func:`json_script`.
    """
    # The browser itself refuses whatever is not in the file.
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; script-src "
        f"{' '.join(script.source for script in scripts) or chr(39) + 'none' + chr(39)}"
    )
    contents = "".join(
        f'<li><a href="#section-{section.key}">{escape(section.heading)}</a></li>\n'
        for section in sections
    )
    body = "\n".join(section.html() for section in sections)
    elements = "\n".join(script.element for script in scripts)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{resource('page.css')}</style>\n</head>\n"
        f"<body>\n<main>\n{header}\n"
        f'<nav aria-label="Contents"><ul>\n{contents}</ul></nav>\n'
        f"{body}\n</main>\n{data}\n{elements}\n</body>\n</html>\n"
    )


@dataclass(frozen=True)
class Number:
    """A number in a cell: what it is and what is shown."""

    value: float | None
    shown: str


NUMERIC = ' class="number"'


def number(value: float | None, shown: str | None = None) -> Number:
    """Put a number into a cell; without a text of its own it is a whole number."""
    if shown is None:
        shown = UNKNOWN if value is None else f"{value:,}"
    return Number(value, shown)


def error_number(value: float | None) -> Number:
    """Put an error, a label, a σ into a cell."""
    return Number(value, error_text(value))


def table(
    headings: Sequence[str], rows: Iterable[Sequence[Any]], *, sortable: bool = False, key: str = ""
) -> str:
    """Lay out text and numbers; a row of a single cell runs over the whole width.

    Args:
        headings: plain text, one a column.
        rows: cells, text or of :func:`number`.
        sortable: whether the page's program puts buttons into the headings that sort the rows.
        key: its id in the page.
    """
    rows = list(rows)
    first: Sequence[Any] = next((row for row in rows if len(row) == len(headings)), headings)
    head = "".join(
        f'<th scope="col"{NUMERIC if isinstance(cell, Number) else ""}>{escape(heading)}</th>'
        for heading, cell in zip(headings, first, strict=True)
    )
    body = "".join(f"<tr>{_cells(row, len(headings))}</tr>\n" for row in rows)
    attributes = (f' id="{key}"' if key else "") + (' class="sortable"' if sortable else "")
    # Reachable by keyboard, so that it can be scrolled without a mouse.
    return (
        f'<div class="scroll{" tall" if sortable else ""}" tabindex="0">'
        f"<table{attributes}>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{body}</tbody>\n</table></div>"
    )


def _cells(row: Sequence[Any], width: int) -> str:
    if len(row) == 1:
        return f'<td class="gap" colspan="{width}">{escape(str(row[0]))}</td>'
    return "".join(
        f'<td{NUMERIC} data-value="{"" if cell.value is None else repr(cell.value)}">'
        f"{escape(cell.shown)}</td>"
        if isinstance(cell, Number)
        else f"<td>{escape(str(cell))}</td>"
        for cell in row
    )


def key_values(content: Mapping[str, Any]) -> str:
    """Lay out settings, nested ones by dotted key."""
    rows = "".join(
        f'<tr><th scope="row">{escape(key)}</th><td>{escape(value)}</td></tr>\n'
        for key, value in flat_texts(content)
    )
    return f'<div class="scroll" tabindex="0"><table class="pairs">\n{rows}</table></div>'


def flat_texts(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield settings as text, nested ones by dotted key.

    >>> dict(flat_texts({"gp": {"kernel": "rbf", "noise_std": None}, "arms": ["random", "top-k"]}))
    {'gp.kernel': 'rbf', 'gp.noise_std': '–', 'arms': 'random, top-k'}
    """
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from flat_texts(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            yield f"{prefix}{key}", ", ".join(map(_short, value))
        else:
            yield f"{prefix}{key}", _short(value)


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return UNKNOWN if value is None else str(value)
