"""Panels of the materials: maps of the latent space, and what the arms picked more often than by chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpnet_ray.evaluation.enrichment import Enriched
from gpnet_ray.report.figures_enrichment import EnrichedGroup, enrichment_figure
from gpnet_ray.report.figures_map import latent_picks_figure, latent_value_figure
from gpnet_ray.report.finished_run import FinishedRun
from gpnet_ray.report.latent_map import LatentMap, read_or_make_latent_map
from gpnet_ray.report.materials import read_materials
from gpnet_ray.report.panels_drawing import Drawing, Stage, file_name, quantity
from gpnet_ray.report.summary import arm_rows
from gpnet_ray.report.summary_sigma import SIGNIFICANT, picked_more_often
from gpnet_ray.report.words import counted
from gpnet_ray.types import FloatArray

__all__ = ["enrichment_panels", "material_panels"]

ELEMENTS_SHOWN = 12
STOICHIOMETRIES_SHOWN = 8


def material_panels(
    run: FinishedRun,
    stages: Sequence[Stage],
    summary: Mapping[str, Any],
    folder: Path,
    *,
    seed: int,
) -> Iterator[Drawing]:
    """Draw the maps of the latent space, and of every arm what it picked; the map is kept in ``folder``."""
    places = read_or_make_latent_map(run.path, folder, gp=run.gp, seed=seed)
    if places is not None:
        yield from _target_map(run, places, summary)
        yield from _sigma_maps(places, stages, summary)
        yield from _pick_maps(run, places)
    yield from enrichment_panels(summary)


def _target_map(
    run: FinishedRun, places: LatentMap, summary: Mapping[str, Any]
) -> Iterator[Drawing]:
    value = _values(places, _known_targets(run))
    known = np.isfinite(value)
    if not known.any():
        return
    figure = latent_value_figure(
        places.x,
        places.y,
        value,
        label=f"{quantity(summary)} ({summary['unit']})",
        title=f"Latent space by {quantity(summary).lower()}",
    )
    unknown = int((~known).sum())
    rest = f" Grey: {counted(unknown, 'material')} whose target the run does not know." * (
        unknown > 0
    )
    caption = f"Latent space coloured by the target.{rest} {places.note()}"
    yield Drawing("latent_map_target", "map", caption, figure)


def _known_targets(run: FinishedRun) -> dict[str, float]:
    """The targets of the run's materials: labels that were bought, and what was known before the loop."""
    known = dict(zip(run.picks["material_id"], run.picks["label"], strict=True))
    known |= dict(zip(run.predictions["material_id"], run.predictions["target"], strict=True))
    materials = read_materials(run.path)
    if materials is not None:
        before = zip(materials.ids, materials.targets.tolist(), strict=True)
        known |= {material_id: target for material_id, target in before if np.isfinite(target)}
    return known


def _sigma_maps(
    places: LatentMap, stages: Sequence[Stage], summary: Mapping[str, Any]
) -> Iterator[Drawing]:
    values = [
        _values(places, dict(zip(s.rows["material_id"], s.rows["sigma"], strict=True)))
        for s in stages
    ]
    if not any(np.isfinite(v).any() for v in values):
        return
    everything = np.concatenate([v[np.isfinite(v)] for v in values])
    low, high = np.quantile(everything, (0.01, 0.99))
    for stage, value in zip(stages, values, strict=True):
        figure = latent_value_figure(
            places.x,
            places.y,
            value,
            label=f"Predicted σ ({summary['unit']})",
            title=stage.title,
            limits=(float(low), float(high)),
        )
        n = counted(int(np.isfinite(value).sum()), "test row")
        caption = (
            f"{stage.title}: σ of the {n} on the map, over all materials in grey. {places.note()}"
        )
        yield Drawing(f"latent_map_sigma_{stage.name}", "map", caption, figure)


def _pick_maps(run: FinishedRun, places: LatentMap) -> Iterator[Drawing]:
    for arm in run.arms:
        ids = arm_rows(run.picks, arm)["material_id"].tolist()
        order = _values(places, {material_id: n + 1 for n, material_id in enumerate(ids)})
        shown = int(np.isfinite(order).sum())
        if not shown:
            continue
        figure = latent_picks_figure(
            places.x, places.y, order, title=f"{arm}: {counted(len(ids), 'pick')} in their order"
        )
        all_there = shown == len(ids)
        which = (
            "" if all_there else f" {shown:,} of the {len(ids):,} picks are among the points drawn."
        )
        caption = (
            f"Picks of {arm} coloured by their order, the first few on the map numbered; grey: not picked."
            f"{which} {places.note()}"
        )
        yield Drawing(f"latent_map_picks_{file_name(arm)}", "map", caption, figure)


def _values(places: LatentMap, of_id: Mapping[str, float]) -> FloatArray:
    return np.array([of_id.get(i, np.nan) for i in places.ids], dtype=np.float64)


def enrichment_panels(summary: Mapping[str, Any]) -> Iterator[Drawing]:
    """Draw of every arm what it picked more often than by chance, the same as stands in the tables."""
    for arm in summary["arms"]:
        found = arm["enrichment"]
        if found is None:
            continue
        kinds = [
            EnrichedGroup(
                heading,
                [_enriched(row) for row in rows[:shown]],
                significant=SIGNIFICANT / found[key]["tested"],
            )
            for key, heading, shown in (
                ("elements", "Elements", ELEMENTS_SHOWN),
                ("stoichiometries", "Stoichiometries", STOICHIOMETRIES_SHOWN),
            )
            if (rows := picked_more_often(found[key]))
        ]
        if not kinds:
            continue
        figure = enrichment_figure(
            kinds, title=f"{arm['strategy']}: picked more often than by chance"
        )
        caption = (
            f"{arm['strategy']}: elements and stoichiometries of which its"
            f" {counted(found['n_picked'], 'pick')} from {found['n_pool']:,} materials hold more than random"
            " picks would, by standard deviations above chance (hypergeometric distribution). "
            + " ".join(
                _beyond_chance(found[key], name) for key, name in _KINDS if found[key]["tested"]
            )
        )
        yield Drawing(f"enrichment_{file_name(arm['strategy'])}", "enrichment", caption, figure)


_KINDS = (
    ("elements", "elements"),
    ("stoichiometries", "stoichiometries"),
    ("formulas", "formulas with several materials"),
)


def _beyond_chance(found: Mapping[str, Any], name: str) -> str:
    return (
        f"{found['significant']:,} of {found['tested']:,} {name} lie beyond chance"
        f" (p < {SIGNIFICANT}, Bonferroni)."
    )


def _enriched(row: Mapping[str, Any]) -> Enriched:
    return Enriched(**{key: value for key, value in row.items() if key != "ratio"})
