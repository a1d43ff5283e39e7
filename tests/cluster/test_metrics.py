"""What a run tells of itself: to Prometheus, to Grafana's dashboard, and to people through ``status``."""

from __future__ import annotations

import json
import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from pathlib import Path

import pytest
from support.metrics_run import Seen, run_and_read
from support.small_campaign import final_state, journal_of

from gpnet_ray.campaign.journal import read_journal
from gpnet_ray.campaign.telemetry import METRICS, PREFIX
from gpnet_ray.campaign.telemetry_standing import ArmFigures, RunFigures, Standing

DASHBOARD = Path(__file__).parents[2] / "scripts" / "cluster" / "grafana.json"

N_TRAIN, N_START, N_POOL = 12, 16, 34
"""Of the small campaign: train rows, train and test rows, and the rest of its 50 crystals."""


def test_the_dashboard_asks_for_what_a_run_exports_and_for_all_of_it() -> None:
    content = json.loads(DASHBOARD.read_text("utf-8"))
    asked = [t["expr"] for panel in content["panels"] for t in panel["targets"]]
    asked += [v["definition"] for v in content["templating"]["list"] if "definition" in v]
    names = set(re.findall(r"ray_\w+", " ".join(asked)))
    assert names == {PREFIX + metric.name for metric in METRICS}
    exported = {metric.field for metric in METRICS}
    numbers = {f.name for figures in (RunFigures, ArmFigures) for f in fields(figures)} - {"arms"}
    assert exported == numbers


@pytest.mark.slow
def test_a_runs_metrics_can_be_scraped_and_status_says_the_same(tmp_path: Path) -> None:
    # Other tests may be connected to a Ray of theirs in this one.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        seen: Seen = pool.submit(run_and_read, tmp_path).result()
    events = read_journal(journal_of(tmp_path))
    figures = Standing.of(events).figures()
    assert seen.scraped == {("small", "eV/atom"): figures}
    # Counted by hand: the start's labels and what two strategies bought, some of it by both.
    picks = final_state(tmp_path)["picks"]
    assert figures.labels_ok == N_START + picks.material_id.nunique()
    assert (figures.labels_failed, figures.labels_pending) == (0, 0)
    metrics = final_state(tmp_path)["metrics"].set_index(["strategy", "cycle"])
    for strategy in ("max-sigma", "random"):
        arm = figures.arms[strategy]
        assert (arm.picks, arm.pool_left) == (8, N_POOL - 8)
        assert arm.test_mae == metrics.loc[(strategy, 8), "test_mae"]
        # Of the pick before; it falls with every label, and by less than half here.
        last = picks[(picks.strategy == strategy)].sigma.iloc[-1]
        assert last / 2 < arm.largest_sigma <= picks.sigma.max()
        rounds = [e for e in events if e["event"] == "round" and e["strategy"] == strategy]
        assert sum(e["cycles"] for e in rounds) == 8
        # To the process and two shards, for planning and for the labels.
        assert all(e["messages"] % 3 == 0 and e["messages"] >= 6 for e in rounds)
        # At least the latents and columns of what was labelled, in float64.
        assert all(e["bytes"] > 8 * N_TRAIN * e["cycles"] for e in rounds)
        assert all(0 < e[f"{step}_seconds"] < 60 for e in rounds for step in ("scoring", "update"))
    assert "Finished" not in seen.in_the_middle
    assert re.search(r"Labels: \d+ ok, 0 failed, \d+ pending", seen.in_the_middle)
    assert "eV/atom) of hypothetical" in seen.in_the_middle
    assert "Finished." in seen.at_the_end
    of_random = f"random: 8 picks, {N_POOL - 8} left in the pool, largest σ "
    assert of_random in seen.at_the_end
    assert of_random in seen.of_the_cluster
    assert "Nodes: 1; " in seen.of_the_cluster
