"""The map of the latent space as the page draws it: every material by name, the picks of every arm on top."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpnet_ray.report.finished_run import FinishedRun
from gpnet_ray.report.latent_map import LatentMap, read_or_make_latent_map
from gpnet_ray.report.materials import RunMaterials, read_materials
from gpnet_ray.report.style import GREY, arm_style
from gpnet_ray.report.summary import arm_rows

__all__ = ["map_data"]

DECIMALS = 3
"""Of places on a map that is some hundred units wide."""

PARTS = {
    "pool": ("in the pool", "#b5b5b5", "circle"),
    "train": ("labelled at the start", GREY, "circle"),
    "test": ("test row, never picked", GREY, "x-thin-open"),
}
SYMBOLS = ("circle", "square", "diamond", "triangle-up")
"""Of the arms' picks, so that they differ without colour too."""


def map_data(run: FinishedRun, folder: Path) -> dict[str, Any] | None:
    """Return what ``drawMap`` in ``page.js`` reads; ``None`` where the run has no latents yet.

    Args:
        run: the run.
        folder: where the map is kept once it is made.
    """
    latent_map = read_or_make_latent_map(
        run.path, folder, gp=run.gp, seed=int(run.config.get("seed") or 0)
    )
    materials = read_materials(run.path)
    if latent_map is None or materials is None:
        return None
    place = dict(zip(latent_map.ids, zip(*_places(latent_map), strict=True), strict=True))
    groups = [*_parts(materials, place), *_picks(run, materials, place)]
    return {
        "caption": f"{latent_map.note()} A click on a name in the legend hides or shows it.",
        "groups": [group for group in groups if group["ids"]],
    }


def _places(latent_map: LatentMap) -> tuple[list[float], list[float]]:
    return latent_map.x.round(DECIMALS).tolist(), latent_map.y.round(DECIMALS).tolist()


Place = dict[str, tuple[float, float]]


def _parts(materials: RunMaterials, place: Place) -> list[dict[str, Any]]:
    known = _known(materials)
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    for material_id, part in zip(materials.ids, materials.parts, strict=True):
        if material_id in place:
            parts[part].append(material_id)
    return [
        {
            "name": f"{name} ({len(parts[part]):,})",
            "shown": True,
            **_marker(colour, symbol=symbol, size=4, opacity=0.5),
            **_points(parts[part], [name] * len(parts[part]), known, place),
        }
        for part, (name, colour, symbol) in PARTS.items()
    ]


def _picks(run: FinishedRun, materials: RunMaterials, place: Place) -> list[dict[str, Any]]:
    known, groups, unit = _known(materials), [], run.info["unit"]
    for number, arm in enumerate(run.arms):
        picks = arm_rows(run.picks, arm)
        rows = [row for row, i in enumerate(picks["material_id"]) if i in place]
        ids = [picks["material_id"][row] for row in rows]
        texts = [
            f"{arm}: picked in cycle {picks['cycle'][row]:,}, σ {picks['sigma'][row]:.4g} {unit}"
            for row in rows
        ]
        bought = {
            i: (known[i][0], float(picks["label"][row])) for i, row in zip(ids, rows, strict=True)
        }
        marker = _marker(
            arm_style(arm, run.arms).colour,
            symbol=SYMBOLS[number % len(SYMBOLS)],
            size=5,
            opacity=0.8,
        )
        groups.append(
            {
                "name": f"picks of {arm} ({len(ids):,})",
                "shown": number == 0,  # those of all arms at once hide each other
                **marker,
                **_points(ids, texts, bought, place),
            }
        )
    return groups


def _known(materials: RunMaterials) -> dict[str, tuple[str, float]]:
    values = zip(materials.formulas, materials.targets.tolist(), strict=True)
    return dict(zip(materials.ids, values, strict=True))


def _marker(colour: str, *, symbol: str, size: int, opacity: float) -> dict[str, Any]:
    return {"colour": colour, "symbol": symbol, "size": size, "opacity": opacity}


def _points(
    ids: Sequence[str],
    texts: Sequence[str],
    known: dict[str, tuple[str, float]],
    place: Place,
) -> dict[str, Any]:
    """Return places, names and labels of materials in columns; a label that is unknown is null."""
    values = [known[i][1] for i in ids]
    return {
        "ids": list(ids),
        "formulas": [known[i][0] for i in ids],
        "texts": list(texts),
        "values": [value if math.isfinite(value) else None for value in values],
        "x": [place[i][0] for i in ids],
        "y": [place[i][1] for i in ids],
    }
