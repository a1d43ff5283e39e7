"""The charts of a page that say under the pointer which material it is, drawn by Plotly in the browser.

Plotly comes as its Python package has it, 4.8 MB, packed by gzip into 2 MB of text in the page; there is
no smaller build of it in the package. All points are SVG: WebGL is not everywhere.
"""

from __future__ import annotations

import base64
import gzip
import math
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from typing import Any

from gpnet_ray.report.finished_run import FinishedRun
from gpnet_ray.report.html_parts import Script, Section, json_script, resource, script_element
from gpnet_ray.report.style import ArmStyle, arm_style
from gpnet_ray.report.summary import arm_rows
from gpnet_ray.report.words import counted

__all__ = ["arm_curves", "charts_data", "charts_section", "data_element", "page_scripts"]

IDS_SHOWN = 3
"""How many materials of a batch are named under the pointer."""

LINE_PIXELS = 2


def page_scripts() -> tuple[Script, ...]:
    """Return the page's own program, and Plotly, which that program unpacks."""
    return (_plotly(), script_element(resource("page.js")))


@cache
def _plotly() -> Script:
    from plotly.offline import get_plotlyjs

    text = get_plotlyjs()
    packed = base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()
    return Script(text, f'<script type="application/gzip" id="plotly">{packed}</script>')


def charts_section(data: Mapping[str, Any]) -> Section | None:
    """Return the place of the charts; ``None`` where there is nothing to draw."""
    if not data["curves"] and not data["map"]:
        return None
    options = "".join(
        f'<option value="{key}">{escape(name)}</option>' for key, name in data["measures"].items()
    )
    curves = (
        '<div class="chart">\n<div class="title"><label>Learning curve of '
        f'<select id="chart-measure">{options}</select></label></div>\n<div id="chart-curves"></div>\n</div>\n'
        if data["curves"]
        else ""
    )
    latent = ""
    if data["map"]:
        caption = escape(data["map"]["caption"])
        latent = (
            '<div class="chart">\n<div class="title">Map of the latent space</div>\n'
            f'<div id="chart-map"></div>\n<p class="small">{caption}</p>\n</div>\n'
        )
    return Section(
        "charts",
        "Charts to explore",
        '<p class="small" id="charts-status">The charts are drawn by the browser, without network; '
        "where it runs no programs, the figures below show the same.</p>\n"
        f'<div id="charts" class="charts" hidden>\n{curves}{latent}</div>',
    )


def charts_data(
    curves: Sequence[Mapping[str, Any]],
    *,
    unit: str,
    latent_map: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Put together what the page's program draws.

    Args:
        curves: of :func:`arm_curves`.
        unit: the target's unit.
        latent_map: groups of points, as ``drawMap`` in ``page.js`` reads them.
    """
    return {
        "unit": unit,
        "measures": _measures(curves, unit),
        "curves": list(curves),
        "map": latent_map,
    }


def data_element(data: Mapping[str, Any]) -> str:
    """Return the data as an element of the page."""
    return json_script("charts-data", data)


def _measures(curves: Sequence[Mapping[str, Any]], unit: str) -> dict[str, str]:
    """Return the measures that are known for some curve: column and name for people."""
    names = {
        "test_mae": f"MAE on the test rows ({unit})",
        "test_rmse": f"RMSE on the test rows ({unit})",
        "test_coverage_2sigma": "share of the test rows within 2σ",
        "unlabelled_mae": f"MAE on what is still unlabelled ({unit})",
    }
    known = {key for key in names for curve in curves if any(v is not None for v in curve[key])}
    return {key: name for key, name in names.items() if key in known}


def arm_curves(
    run: FinishedRun, *, names: Mapping[str, str] | None = None, colour: str | None = None
) -> list[dict[str, Any]]:
    """Return the learning curve of every arm, row by row, with what was labelled before each row.

    Args:
        run: the run.
        names: what the arms are called in the legend; their strategies where left out.
        colour: of all its arms; each arm's own where left out.
    """
    return [
        {
            "name": (names or {}).get(arm, arm),
            "colour": colour or arm_style(arm, run.arms).colour,
            "dash": _dash(arm_style(arm, run.arms)),
            **_curve_rows(run, arm),
        }
        for arm in run.arms
    ]


def _curve_rows(run: FinishedRun, arm: str) -> dict[str, Any]:
    rows = arm_rows(run.metrics, arm)
    cycles = rows["cycle"].tolist()
    picked = _picks_by_cycle(run, arm)
    columns = ("test_mae", "test_rmse", "test_coverage_2sigma", "unlabelled_mae")
    return {
        "cycle": cycles,
        "labelled": rows["n_labelled"].tolist(),
        "picks": [picked[c][0] if c in picked else None for c in cycles],
        "sigma": [picked[c][1] if c in picked else None for c in cycles],
        **{
            name: [v if math.isfinite(v) else None for v in rows[name].tolist()] for name in columns
        },
    }


def _picks_by_cycle(run: FinishedRun, arm: str) -> dict[int, tuple[str, float | None]]:
    """Return what was picked in each cycle, in words, and σ where it is of one material."""
    picks = arm_rows(run.picks, arm)
    names: dict[int, list[str]] = {}
    sigmas: dict[int, list[float]] = {}
    for cycle, material_id, formula, sigma in zip(
        *(picks[name].tolist() for name in ("cycle", "material_id", "formula", "sigma")),
        strict=True,
    ):
        names.setdefault(cycle, []).append(f"{material_id} ({formula})")
        sigmas.setdefault(cycle, []).append(sigma)
    return {
        cycle: (_listed(mine), sigmas[cycle][0] if len(mine) == 1 else None)
        for cycle, mine in names.items()
    }


def _listed(names: Sequence[str]) -> str:
    if len(names) <= IDS_SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[:IDS_SHOWN])}, … ({counted(len(names), 'material')})"


def _dash(style: ArmStyle) -> str:
    """Say matplotlib's line style in Plotly's words."""
    if isinstance(style.line, str):
        return "solid"
    _, lengths = style.line
    return ",".join(f"{LINE_PIXELS * length:g}px" for length in lengths)
