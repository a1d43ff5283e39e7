"""Which figures a run has: draw them, save them as SVG and PNG, and caption them for the page."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpnet_ray.report.finished_run import FinishedRun
from gpnet_ray.report.panels_drawing import Drawing, stages
from gpnet_ray.report.panels_learning import learning_panels
from gpnet_ray.report.panels_materials import material_panels
from gpnet_ray.report.panels_predictions import prediction_panels
from gpnet_ray.report.style import figure_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SECTIONS", "Panel", "draw_panels"]

SECTIONS = {
    "learning": "Learning curves and network training",
    "parity": "Predictions on the test rows",
    "sigma": "Is σ right?",
    "map": "Maps of the latent space",
    "enrichment": "What was picked more often than by chance",
}
"""Sections of the page in their order: key and heading."""


@dataclass(frozen=True)
class Panel:
    """One figure of the page.

    Attributes:
        name: its file name without the suffix.
        section: a key of ``SECTIONS``.
        caption: what it shows, plain text.
        svg: an ``<svg>`` element to stand inside an HTML page, with ids of its own.
    """

    name: str
    section: str
    caption: str
    svg: str


def draw_panels(run: FinishedRun, summary: Mapping[str, Any], folder: Path) -> tuple[Panel, ...]:
    """Draw every figure that the run has numbers for; save each as SVG and PNG into ``folder``.

    The same run folder gives the same SVG, byte by byte, on the same machine; on another one with the same
    matplotlib too, but for the maps, whose t-SNE is sensitive to the last digit. A figure that the run has no
    numbers for is left out.

    Args:
        run: what the run left.
        summary: the summary of the same run, whose numbers are printed into the figures.
        folder: an existing folder.
    """
    panels = []
    with figure_style():
        for drawing in _drawings(run, summary, folder):
            svg = _save(drawing.figure, folder / drawing.name)
            inline = _inline_svg(svg, prefix=drawing.name, label=drawing.caption)
            panels.append(Panel(drawing.name, drawing.section, drawing.caption, inline))
    return tuple(panels)


def _drawings(run: FinishedRun, summary: Mapping[str, Any], folder: Path) -> Iterator[Drawing]:
    seed = int(run.config.get("seed") or 0)
    test = list(stages(run, summary))
    yield from learning_panels(run, summary)
    yield from prediction_panels(test, summary, seed=seed)
    yield from material_panels(run, test, summary, folder, seed=seed)


def _save(figure: Figure, path: Path) -> str:
    """Write the SVG and the PNG; return the SVG."""
    # Without a date and a creator the files depend on the numbers alone.
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=no_metadata)
    svg = buffer.getvalue()
    path.with_suffix(".svg").write_text(svg, "utf-8")
    figure.set_layout_engine("none")  # it is laid out, and that took half of the time
    figure.savefig(path.with_suffix(".png"), format="png", metadata={"Software": None})
    return svg


def _inline_svg(svg: str, *, prefix: str, label: str) -> str:
    """Turn an SVG file into an element of an HTML page.

    Ids get a prefix, since several figures share a page; the XML header and the name spaces, which
    HTML knows by itself, go away.
    """
    from html import escape

    element = svg[svg.index("<svg") :]
    element = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", element)
    element = re.sub(r'\bid="', f'id="{prefix}-', element)
    element = re.sub(r'((?:xlink:)?href="|url\()#', rf"\1#{prefix}-", element)
    return element.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)
