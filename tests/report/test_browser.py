"""The page as a browser shows it: nothing goes wrong, tables sort, charts name the material under the pointer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpnet_ray.gp.scaling import LatentScaler
from gpnet_ray.latent_columns import latent_column
from gpnet_ray.report.page import write_report
from gpnet_ray.report.page_compare import write_comparison

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

# Plotly reads some tags in its texts, and these must be shown as they are.
PREFIX = "<b>&mp</b>-"

WIDE, PHONE = 1280, 400


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


class Visit:
    """A page that was opened, with what the browser complained of and asked for."""

    def __init__(self, browser: Any, path: Path, *, width: int = WIDE) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        # Plotly is 4.8 MB of program; on two cores that others use too it takes some seconds.
        self.page.wait_for_selector("#charts[data-ready]", timeout=60_000)

    def column(self, heading: str) -> list[str]:
        """The visible cells of a column of the table of picks."""
        return self.page.evaluate(
            """heading => {
              const table = document.getElementById("picks");
              const column = [...table.tHead.rows[0].cells]
                .findIndex(cell => cell.textContent.startsWith(heading));
              return [...table.tBodies[0].rows].filter(row => !row.hidden)
                .map(row => row.cells[column].dataset.value ?? row.cells[column].textContent);
            }""",
            heading,
        )

    def hover(self, chart: str, trace: int, point: int) -> str:
        """What is shown under the pointer over a point of a chart."""
        x, y = self.page.evaluate(
            """([chart, trace, point]) => {
              const element = document.getElementById(chart);
              element.scrollIntoView({block: "center"});
              const {xaxis, yaxis} = element._fullLayout, data = element._fullData[trace];
              const box = element.getBoundingClientRect();
              return [box.left + xaxis._offset + xaxis.d2p(data.x[point]),
                      box.top + yaxis._offset + yaxis.d2p(data.y[point])];
            }""",
            [chart, trace, point],
        )
        self.page.mouse.move(x - 3, y)
        self.page.mouse.move(x, y)
        label = self.page.locator(f"#{chart} .hoverlayer .hovertext")
        label.first.wait_for(timeout=10_000)
        return label.first.text_content()


@pytest.fixture(scope="module")
def run(make_run) -> Path:
    """A run with latents, so that it has a map."""
    run = make_run("in-a-browser", cycles=13, id_prefix=PREFIX)
    picks = pq.read_table(run / "picks.parquet").to_pylist()
    tests = pq.read_table(run / "predictions.parquet").column("material_id").unique().to_pylist()
    pool = [pick["material_id"] for pick in picks]
    ids = [*(f"{PREFIX}train-{n}" for n in range(20)), *pool, *tests]
    parts = ["train"] * 20 + ["pool"] * len(pool) + ["test"] * len(tests)
    latents = np.random.default_rng(0).normal(size=(len(ids), 4)).astype(np.float32)
    columns = {"material_id": ids, "latent": latent_column(latents)}
    pq.write_table(pa.table(columns), run / "latents.parquet")
    targets = [None if part == "pool" else -2.0 for part in parts]
    columns = {"material_id": ids, "formula": ["SrTiO3"] * len(ids), "part": parts}
    pq.write_table(
        pa.table({**columns, "target": pa.array(targets, pa.float64())}), run / "materials.parquet"
    )
    gp = json.loads((run / "gp.json").read_text("utf-8"))
    gp["scaler"] = LatentScaler.fit(latents, "min-max").to_json()
    (run / "gp.json").write_text(json.dumps(gp), "utf-8")
    write_report(run)
    return run


@pytest.fixture(scope="module")
def wide(chromium, run) -> Visit:
    return Visit(chromium, run / "report" / "index.html")


def test_the_browser_complains_of_nothing_and_asks_for_nothing_but_the_file(wide, run):
    assert wide.complaints == []
    assert wide.requests == [(run / "report" / "index.html").as_uri()]


@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_the_page_is_as_wide_as_the_screen(chromium, run, wide, width):
    visit = wide if width == WIDE else Visit(chromium, run / "report" / "index.html", width=width)
    assert visit.page.evaluate("document.documentElement.scrollWidth") == width
    assert visit.complaints == []


def test_the_picks_sort_by_a_click_and_say_how(wide):
    heading = wide.page.locator("#picks thead th", has_text="σ")
    for direction in ("ascending", "descending"):
        heading.get_by_role("button").click()
        shown = [float(value) for value in wide.column("σ")]
        assert shown == sorted(shown, reverse=direction == "descending")
        assert len(shown) == 26
        assert heading.get_attribute("aria-sort") == direction
    label = wide.page.locator("#picks thead th", has_text="Label")
    for _ in range(2):
        label.get_by_role("button").click()
        # One label could not be had: it stands last in both directions.
        assert [n for n, value in enumerate(wide.column("Label")) if value == ""] == [25]
    assert heading.get_attribute("aria-sort") is None


def test_numbers_inside_ids_sort_as_numbers(wide):
    button = wide.page.locator("#picks thead th", has_text="Id").get_by_role("button")
    button.focus()
    wide.page.keyboard.press("Enter")
    expected = [
        f"{PREFIX}{arm}-{cycle}" for arm in ("max-sigma", "random") for cycle in range(1, 14)
    ]
    assert wide.column("Id") == expected


def test_the_picks_can_be_searched_and_one_arm_shown(wide):
    form = wide.page.locator("form.filter")
    form.get_by_label("Id or formula").fill("SIGMA-12")
    assert wide.column("Id") == [f"{PREFIX}max-sigma-12"]
    assert form.locator("output").text_content() == "1 of 26"
    form.get_by_label("Arm").select_option("random")
    assert wide.column("Id") == []
    form.get_by_label("Id or formula").fill("")
    assert set(wide.column("Arm")) == {"random"}
    form.get_by_label("Arm").select_option("all")
    assert len(wide.column("Id")) == 26


def test_the_learning_curve_names_the_material_under_the_pointer(wide, run):
    shown = wide.hover("chart-curves", 1, 5)
    assert f"{PREFIX}random-5 (SrTiO3)" in shown
    summary = json.loads((run / "summary.json").read_text("utf-8"))
    wide.page.locator("#chart-measure").select_option("test_rmse")
    last = wide.page.evaluate("document.getElementById('chart-curves').data[1].y.at(-1)")
    assert last == summary["arms"][1]["test"]["after"]["rmse"]


def test_the_map_names_the_material_under_the_pointer(wide):
    names = wide.page.evaluate("document.getElementById('chart-map').data.map(t => t.name)")
    assert names[0].startswith("in the pool (26)")
    shown = wide.hover("chart-map", names.index("picks of max-sigma (13)"), 4)
    assert f"{PREFIX}max-sigma-5 SrTiO3" in shown
    assert "picked in cycle 5" in shown


def test_a_comparison_opens_without_complaints_and_has_a_curve_for_every_arm(
    chromium, make_run, run, tmp_path
):
    page = write_comparison([run, make_run("other", cycles=5)], tmp_path / "comparison.html")
    visit = Visit(chromium, page, width=PHONE)
    assert visit.complaints == []
    assert visit.page.evaluate("document.documentElement.scrollWidth") == PHONE
    names = visit.page.evaluate("document.getElementById('chart-curves').data.map(t => t.name)")
    assert names == [
        f"{r}: {arm}" for r in ("in-a-browser", "other") for arm in ("max-sigma", "random")
    ]
