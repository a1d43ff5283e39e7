"""The figures of a run with latents: which there are, what their captions say, and the map that is kept."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sklearn.manifold
from matplotlib.figure import Figure

from gpnet_ray.errors import RunFolderError
from gpnet_ray.gp.scaling import LatentScaler
from gpnet_ray.latent_columns import latent_column
from gpnet_ray.report import latent_map
from gpnet_ray.report.finished_run import read_finished_run
from gpnet_ray.report.html_map import map_data
from gpnet_ray.report.html_sigma import enrichment_tables
from gpnet_ray.report.latent_map import MAP_FILE, read_or_make_latent_map
from gpnet_ray.report.panels import draw_panels
from gpnet_ray.report.panels_materials import enrichment_panels
from gpnet_ray.report.summary import summarise

FORMULAS = ("SrTiO3", "MgO", "CaO", "BaTiO3", "Al2O3")


def add_materials(run: Path) -> None:
    """Give a run its materials and latents: two clusters, one of them the test rows'."""
    picks = pq.read_table(run / "picks.parquet")["material_id"].to_pylist()
    test = sorted(set(pq.read_table(run / "predictions.parquet")["material_id"].to_pylist()))
    pool = [*dict.fromkeys(picks), *(f"mp-left-{i}" for i in range(30))]
    ids = [*pool, *test]
    materials = {
        "material_id": ids,
        "formula": [FORMULAS[i % len(FORMULAS)] for i in range(len(ids))],
        "part": ["pool"] * len(pool) + ["test"] * len(test),
        "target": [None if i % 2 else -1.0 - i / 100 for i in range(len(ids))],
    }
    pq.write_table(pa.table(materials), run / "materials.parquet")
    rng = np.random.default_rng(4)
    centre = np.where(np.arange(len(ids)) < len(pool), -3.0, 3.0)
    latents = (centre[:, None] + rng.normal(0, 0.3, (len(ids), 6))).astype(np.float32)
    columns = {"material_id": ids, "latent": latent_column(latents)}
    pq.write_table(pa.table(columns), run / "latents.parquet")
    gp = json.loads((run / "gp.json").read_text("utf-8"))
    step = {"amplitude": 1.0, "length_scale": 2.0, "noise_std": 0.1, "mean": 0.0}
    gp["trace"] = [{"evaluation": 1, "negative_log_likelihood": -3.0, **step}]
    gp["scaler"] = LatentScaler.fit(latents, "min-max").to_json()
    (run / "gp.json").write_text(json.dumps(gp), "utf-8")


@pytest.fixture(scope="module")
def run_dir(make_run) -> Path:
    run: Path = make_run("mapped", cycles=8, failed_pick=None)
    add_materials(run)
    return run


def the_map(run: Path, folder: Path, seed: int = 0) -> latent_map.LatentMap:
    gp = json.loads((run / "gp.json").read_text("utf-8"))
    made = read_or_make_latent_map(run, folder, gp=gp, seed=seed)
    assert made is not None
    return made


@pytest.fixture(scope="module")
def panels(run_dir, tmp_path_factory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("figures")
    run = read_finished_run(run_dir)
    drawn = draw_panels(run, summarise(run), folder)
    assert all(
        (folder / f"{p.name}.{kind}").stat().st_size for p in drawn for kind in ("svg", "png")
    )
    return {panel.name: panel for panel in drawn}


def test_every_figure_of_the_paper_is_there(panels):
    stages = ("before", "after_max_sigma", "after_random")
    assert set(panels) == {
        *("learning_curve_test", "learning_curve_unlabelled", "training_curve"),
        *("hyperparameter_trace", "calibration", "error_against_sigma", "sigma_histogram"),
        *(
            f"{kind}_{stage}"
            for kind in ("parity", "intervals", "residual_sigma", "latent_map_sigma")
            for stage in stages
        ),
        "latent_map_target",
        *("latent_map_picks_max_sigma", "latent_map_picks_random"),
        *("enrichment_max_sigma", "enrichment_random"),
    }


def test_captions_state_the_numbers_of_the_summary(run_dir, panels):
    summary = summarise(read_finished_run(run_dir))
    arm = summary["arms"][0]
    assert f"{arm['test']['after']['spearman']:.4f}" in panels["error_against_sigma"].caption
    assert f"{arm['test']['after']['sharpness']:.4f}" in panels["sigma_histogram"].caption
    found = arm["enrichment"]
    assert (found["n_picked"], found["n_pool"]) == (8, 46)
    assert "its 8 picks from 46 materials" in panels["enrichment_max_sigma"].caption
    assert "all 76 materials" in panels["latent_map_target"].caption
    # Of the materials with no target before the loop some are test rows or were labelled in it.
    grey = 15  # the odd ones of 30 that nobody picked
    assert f"Grey: {grey} materials" in panels["latent_map_target"].caption


def names_in(figure: Figure) -> list[str]:
    return [label.get_text() for axes in figure.axes for label in axes.get_yticklabels()]


def test_figure_and_table_show_the_same_kinds_and_none_that_chance_holds_as_often(run_dir):
    summary = summarise(read_finished_run(run_dir))
    for arm in summary["arms"]:
        one = {**summary, "arms": [arm]}
        (drawing,) = enrichment_panels(one)
        shown = names_in(drawing.figure)
        listed = enrichment_tables(one)
        groups = [arm["enrichment"][key]["rows"] for key in ("elements", "stoichiometries")]
        more = [[r for r in rows if r["n_picked"] > r["expected"]] for rows in groups]
        # Some kinds were picked as often as by chance or less, or this says nothing.
        assert 0 < sum(map(len, more)) < sum(map(len, groups))
        assert shown == [row["name"] for rows in more for row in rows]
        for kind, rows in zip(("element", "stoichiometry"), more, strict=True):
            assert re.findall(f"<td>{kind}</td><td>([^<]*)</td>", listed) == [
                row["name"] for row in rows
            ]
            deviations = [row["deviation"] for row in rows]
            assert deviations == sorted(deviations, reverse=True)


def test_no_figure_of_picks_that_hold_nothing_more_often_than_by_chance(run_dir):
    summary = summarise(read_finished_run(run_dir))
    (arm, *_) = summary["arms"]
    for key in ("elements", "stoichiometries", "formulas"):
        for row in arm["enrichment"][key]["rows"]:
            row["ratio"] = 1.0
    assert list(enrichment_panels({**summary, "arms": [arm]})) == []


def test_likeness_in_the_latent_space_is_nearness_on_the_map(run_dir, tmp_path):
    places = the_map(run_dir, tmp_path)
    xy = np.stack([places.x, places.y], axis=1)
    test = np.array(["test" in i for i in places.ids])
    distance = np.linalg.norm(xy[:, None] - xy[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    nearest = distance.argmin(axis=1)
    # Two clusters ten widths apart: no point's neighbour is of the other one.
    assert (test[nearest] == test).all()


def test_the_map_is_made_once_and_again_when_what_it_is_made_of_changes(
    run_dir, tmp_path, monkeypatch
):
    first = the_map(run_dir, tmp_path)
    kept = (tmp_path / MAP_FILE).read_bytes()

    class MadeAgainError(Exception):
        pass

    def refuse(**_: object) -> None:
        raise MadeAgainError

    with monkeypatch.context() as patched:
        patched.setattr(sklearn.manifold, "TSNE", refuse)
        again = the_map(run_dir, tmp_path)
        assert (again.ids, again.x.tolist()) == (first.ids, first.x.tolist())
        with pytest.raises(MadeAgainError):
            the_map(run_dir, tmp_path, seed=1)
    (tmp_path / MAP_FILE).unlink()
    the_map(run_dir, tmp_path)
    assert (tmp_path / MAP_FILE).read_bytes() == kept  # the seed decides


def test_the_map_says_of_a_pick_when_it_was_picked_and_its_sigma_with_the_unit(run_dir, tmp_path):
    found = map_data(read_finished_run(run_dir), tmp_path)
    assert found is not None
    picks = {group["name"]: group for group in found["groups"]}["picks of random (8)"]
    # The run picks with a σ of 0.3 eV/atom over the number of the cycle.
    assert picks["ids"][2] == "mp-random-3"
    assert picks["texts"][2] == "random: picked in cycle 3, σ 0.1 eV/atom"


def test_a_map_of_too_many_is_one_of_a_random_sample_and_says_so(run_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(latent_map, "MOST_POINTS", 40)
    places = the_map(run_dir, tmp_path)
    assert len(places.ids) == 40
    assert "40 of the 76 materials, drawn at random" in places.note()
    # A sample of 40 from 46 in the pool and 30 test rows: it holds both.
    assert 8 < sum("test" in i for i in places.ids) < 24


def test_no_map_before_there_are_latents_and_an_error_for_a_broken_one(run_dir, tmp_path, make_run):
    bare = make_run("bare")
    assert read_or_make_latent_map(bare, tmp_path, gp={"scaler": {}}, seed=0) is None
    (tmp_path / MAP_FILE).write_bytes(b"not a table")
    with pytest.raises(RunFolderError, match=MAP_FILE):
        the_map(run_dir, tmp_path)
