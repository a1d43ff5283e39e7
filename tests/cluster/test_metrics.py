"""The dashboard for Grafana and the metrics of a run; those of a running one are read in test_nodes.py."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

from gpnet_ray.campaign.telemetry import METRICS, PREFIX
from gpnet_ray.campaign.telemetry_standing import ArmFigures, RunFigures

DASHBOARD = Path(__file__).parents[2] / "scripts" / "cluster" / "grafana.json"


def test_the_dashboard_asks_for_what_a_run_exports_and_for_all_of_it() -> None:
    content = json.loads(DASHBOARD.read_text("utf-8"))
    asked = [t["expr"] for panel in content["panels"] for t in panel["targets"]]
    asked += [v["definition"] for v in content["templating"]["list"] if "definition" in v]
    names = set(re.findall(r"ray_\w+", " ".join(asked)))
    assert names == {PREFIX + metric.name for metric in METRICS}
    exported = {metric.field for metric in METRICS}
    numbers = {f.name for figures in (RunFigures, ArmFigures) for f in fields(figures)} - {"arms"}
    assert exported == numbers
