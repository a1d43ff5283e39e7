"""The dashboard for Grafana and the metrics of runs; those of a running one are read in test_nodes.py."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gpnet_ray.campaign import telemetry
from gpnet_ray.campaign.context import RunContext
from gpnet_ray.campaign.identity import open_run
from gpnet_ray.campaign.journal import Journal, read_journal
from gpnet_ray.campaign.run_folder import RunFolder
from gpnet_ray.campaign.telemetry import (
    METRICS,
    PREFIX,
    JournalWithMetrics,
    Telemetry,
    read_metrics,
)
from gpnet_ray.campaign.telemetry_standing import ArmFigures, RunFigures, Standing
from gpnet_ray.cli import app
from gpnet_ray.config import Config
from gpnet_ray.oracles.ionic import IonicOracle
from gpnet_ray.progress import NullProgress

DASHBOARD = Path(__file__).parents[2] / "scripts" / "cluster" / "grafana.json"

OF_TWO_RUNS = """\
# TYPE ray_gpnet_labels_ok gauge
ray_gpnet_labels_ok{run="seed-0",run_id="aaaa0000",unit="eV/atom",WorkerId="w1"} 700
ray_gpnet_labels_ok{run="seed-0",run_id="bbbb1111",unit="eV/atom",WorkerId="w2"} 12
# TYPE ray_gpnet_picks gauge
ray_gpnet_picks{run="seed-0",run_id="bbbb1111",unit="eV/atom",strategy="random",WorkerId="w2"} 7
ray_gpnet_picks{run="seed-0",run_id="aaaa0000",unit="eV/atom",strategy="random",WorkerId="w1"} 300
"""
"""What Ray serves of the first repeats of two campaigns on one cluster."""


def test_the_numbers_of_two_runs_of_one_name_are_not_mixed() -> None:
    read = {tags.run_id: figures for tags, figures in read_metrics(OF_TWO_RUNS).items()}
    assert read == {
        "aaaa0000": RunFigures(labels_ok=700, arms={"random": ArmFigures(picks=300)}),
        "bbbb1111": RunFigures(labels_ok=12, arms={"random": ArmFigures(picks=7)}),
    }


def test_status_of_a_cluster_lists_both_of_two_runs_of_one_name(
    small_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry, "_fetch", lambda _: OF_TWO_RUNS)
    done = CliRunner().invoke(app, ["status", "auto"])
    assert done.exit_code == 0, done.output
    said = [line.split(", ")[0] for line in done.output.splitlines()]
    first = said.index("seed-0 (run id aaaa0000):")
    assert said[first + 1 : first + 3] == ["Labels: 700 ok", "random: 300 picks"]
    second = said.index("seed-0 (run id bbbb1111):")
    assert said[second + 1 : second + 3] == ["Labels: 12 ok", "random: 7 picks"]


def test_metrics_of_a_driver_without_run_ids_are_read() -> None:
    text = OF_TWO_RUNS.replace('run_id="aaaa0000",', "").splitlines()[1]
    ((tags, figures),) = read_metrics(text).items()
    assert (tags, figures) == (("seed-0", "", "eV/atom"), RunFigures(labels_ok=700))


def opened(folder: Path) -> dict[str, Any]:
    """Begin a run in a folder, or go on with it; the tags of the metrics that Ray is handed meanwhile."""
    context = RunContext(Config(), RunFolder(folder), IonicOracle(), NullProgress())
    folder.mkdir(parents=True, exist_ok=True)
    with (
        Telemetry(folder.name, "eV/atom") as followed,
        JournalWithMetrics(context.folder.journal, followed) as journal,
    ):
        open_run(context, journal, {"seed": 0}, started="2026-12-01T10:00:00", retry_failed=False)
    (tags,) = Handed.tags
    Handed.tags = []
    return tags


class Handed:
    """Stands for Ray's gauges, and keeps the tags of the first."""

    tags: list[dict[str, Any]] = []  # noqa: RUF012 - of all together

    def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
        self.name, self.tag_keys = name, tag_keys

    def set(self, value: float, tags: dict[str, Any]) -> None:
        assert set(tags) == set(self.tag_keys), "Ray refuses others"
        if self.name == "gpnet_labels_ok" and tags not in self.tags:
            self.tags.append(tags)


def test_a_resumed_run_keeps_its_id_and_one_begun_in_the_same_second_has_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry, "Gauge", Handed)
    first, second = (opened(tmp_path / name / "seed-0") for name in "ab")
    assert first["run"] == second["run"]
    assert first != second
    assert opened(tmp_path / "a" / "seed-0") == first
    # On another machine, where it was fetched from its storage.
    (tmp_path / "c").mkdir()
    (tmp_path / "a" / "seed-0").rename(tmp_path / "c" / "seed-0")
    assert opened(tmp_path / "c" / "seed-0") == first
    said = CliRunner().invoke(app, ["status", str(tmp_path / "c" / "seed-0")])
    assert f"Run id: {first['run_id']}\n" in said.output


def test_runs_of_journals_without_an_id_have_one_by_what_they_are(tmp_path: Path) -> None:
    ids = []
    for started in ("2026-12-01T10:00:00", "2026-12-01T10:00:01"):
        with Journal(tmp_path / started) as journal:
            begun = {"event": "run", "identity": {"seed": 0}, "started": started}
            journal.append(begun, {"event": "finished", "strategies": []})
        ids.append(Standing.of(read_journal(tmp_path / started)).run_id)
        assert ids[-1] == Standing.of([begun]).run_id
    assert len(set(ids)) == 2


def test_the_dashboards_legends_tell_runs_of_one_name_apart() -> None:
    content = json.loads(DASHBOARD.read_text("utf-8"))
    legends = [t["legendFormat"] for panel in content["panels"] for t in panel["targets"]]
    assert all("{{run}} {{run_id}}" in legend for legend in legends)


def test_the_dashboard_asks_for_what_a_run_exports_and_for_all_of_it() -> None:
    content = json.loads(DASHBOARD.read_text("utf-8"))
    asked = [t["expr"] for panel in content["panels"] for t in panel["targets"]]
    asked += [v["definition"] for v in content["templating"]["list"] if "definition" in v]
    names = set(re.findall(r"ray_\w+", " ".join(asked)))
    assert names == {PREFIX + metric.name for metric in METRICS}
    exported = {metric.field for metric in METRICS}
    numbers = {f.name for figures in (RunFigures, ArmFigures) for f in fields(figures)} - {"arms"}
    assert exported == numbers
