"""The table of picks: every one in its order, to sort and to search."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

import numpy as np

from gpnet_ray.report.finished_run import FinishedRun
from gpnet_ray.report.html_parts import Section, error_number, number, table
from gpnet_ray.report.words import UNKNOWN, counted, seconds_text

__all__ = ["PICKS_SHOWN", "picks_section"]

PICKS_SHOWN = 6000
"""A browser lays out so many rows in about a second; a row takes 300 bytes."""

TABLE = "picks"


def picks_section(run: FinishedRun, unit: str) -> Section | None:
    """Return the table of all picks; ``None`` where there are none.

    Where there are more than ``PICKS_SHOWN``, every arm has the first of its picks in it, and a line
    says how many are left out.
    """
    count = len(run.picks["cycle"])
    if not count:
        return None
    shown = _shown(run)
    rows: list[tuple[Any, ...]] = list(_rows(run, shown))
    if len(shown) < count:
        rows.append((f"… {count - len(shown):,} more in picks.parquet",))
    headings = (
        *("Arm", "Cycle", "Id", "Formula", f"σ ({unit})", f"Predicted ({unit})"),
        *(f"Label ({unit})", "Oracle (s)"),
    )
    arms = "".join(f"<option>{escape(arm)}</option>" for arm in run.arms)
    text = (
        f"{counted(count, 'pick')} in order: σ and prediction as they were when the material was "
        "picked, from all labels before its own. A heading sorts; what has no value stays last."
    )
    search = (
        f'<form class="filter" data-table="{TABLE}" hidden>\n'
        f'<label>Arm <select name="arm"><option value="">all</option>{arms}</select></label>\n'
        '<label>Id or formula <input type="search" name="text" autocomplete="off"></label>\n'
        '<output aria-live="polite"></output>\n</form>\n'
    )
    return Section(
        "picks",
        "Picks",
        f"<p>{escape(text)}</p>\n{search}{table(headings, rows, sortable=True, key=TABLE)}",
    )


def _shown(run: FinishedRun) -> list[int]:
    """Rows of the table, arm by arm, the same number of each where not all can be shown."""
    each = PICKS_SHOWN // max(1, len(run.arms))
    rows = [np.flatnonzero(run.picks["strategy"] == arm).tolist() for arm in run.arms]
    all_fit = sum(map(len, rows)) <= PICKS_SHOWN
    return [row for mine in rows for row in (mine if all_fit else mine[:each])]


def _rows(run: FinishedRun, shown: list[int]) -> Iterator[tuple[Any, ...]]:
    picks = {name: column[shown].tolist() for name, column in run.picks.items()}
    for row in range(len(shown)):
        pick = {name: column[row] for name, column in picks.items()}
        value = {
            name: None if np.isnan(pick.get(name, np.nan)) else pick[name]
            for name in ("sigma", "mean", "label", "seconds")
        }
        labelled = pick["status"] == "ok"
        yield (
            pick["strategy"],
            number(pick["cycle"]),
            pick["material_id"],
            pick["formula"],
            error_number(value["sigma"]),
            error_number(value["mean"]),
            error_number(value["label"]) if labelled else number(None, pick["status"] or UNKNOWN),
            number(value["seconds"], seconds_text(value["seconds"])),
        )
