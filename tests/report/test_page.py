"""The page: the numbers of summary.json, safe to open, complete without a network."""

from __future__ import annotations

import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpnet_ray.report import html_picks, html_sigma
from gpnet_ray.report.finished_run import read_finished_run
from gpnet_ray.report.page import write_report

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """Collects what the tests ask for: elements, attributes, table rows, text."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.values: list[list[str]] = []
        self.text = ""
        self._open: list[str] = []
        self.source = path.read_text("utf-8")
        self.feed(self.source)
        assert self._open == []  # every element that was opened was closed

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
            self.values.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.values[-1].append(dict(attrs).get("data-value") or "")

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "script" in self._open:
            return
        self.text += data
        if {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data

    def attributes(self, *names: str) -> list[str]:
        return [v or "" for _, attrs in self.elements for k, v in attrs.items() if k in names]

    def row(self, first: str) -> tuple[list[str], list[str]]:
        return next((r, v) for r, v in zip(self.rows, self.values, strict=True) if r[0] == first)


def written(run: Path) -> tuple[Page, dict]:
    page = Page(write_report(run))
    return page, json.loads((run / "summary.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def usual_run(make_run):
    run = make_run(cycles=13, n_rejected=6)
    table = pq.read_table(run / "picks.parquet")
    means = [-1.5 - 0.25 * row for row in range(len(table))]
    pq.write_table(table.append_column("mean", pa.array(means)), run / "picks.parquet")
    return run


@pytest.fixture(scope="module")
def usual(usual_run):
    """The page and the summary of one ordinary run, for tests that only read them."""
    return written(usual_run)


def test_every_number_of_the_result_table_is_the_number_in_the_summary(usual):
    page, summary = usual
    starts, *_ = summary["arms"]
    for name, arm, stage, labels in [
        ("before the loop", starts, "before", 0),
        *((arm["strategy"], arm, "after", arm["labels_bought"]) for arm in summary["arms"]),
    ]:
        shown, values = page.row(name)
        test = arm["test"][stage]
        expected = [
            *(labels, test["mae"], test["rmse"], test["r2"], test["coverage_2sigma"]),
            arm["unlabelled"][stage]["mae"],
        ]
        assert [float(value) for value in values[1:]] == expected
        # What is shown is that number rounded: half of the last digit shown.
        assert float(shown[2]) == pytest.approx(test["mae"], abs=5.1e-5)
        assert float(shown[5].removesuffix("\u00a0%")) == pytest.approx(
            100 * test["coverage_2sigma"], abs=0.051
        )


def picks_in(page: Page) -> list[tuple[str, ...]]:
    """The rows of the table of picks: texts as shown, numbers as they are."""
    start = next(
        number for number, row in enumerate(page.rows) if row[:3] == ["Arm", "Cycle", "Id"]
    )
    rows = zip(page.rows[start + 1 :], page.values[start + 1 :], strict=True)
    return [
        (row[0], values[1], row[2], row[3], *values[4:])
        for row, values in itertools.takewhile(lambda pair: len(pair[0]) == 8, rows)
    ]


def test_every_pick_stands_in_the_table_with_the_numbers_of_the_run(usual_run, usual):
    page, summary = usual
    shown = picks_in(page)
    rows = pq.read_table(usual_run / "picks.parquet").to_pylist()
    assert shown == [
        (
            *(row["strategy"], repr(row["cycle"]), row["material_id"], row["formula"]),
            *(
                "" if row[k] is None else repr(row[k])
                for k in ("sigma", "mean", "label", "seconds")
            ),
        )
        for row in rows
    ]
    in_summary = {
        (
            p["material_id"],
            *("" if p[k] is None else repr(p[k]) for k in ("sigma", "mean", "label")),
        )
        for arm in summary["arms"]
        for p in arm["first_picks"] + arm["last_picks"]
    }
    assert in_summary == {(row[2], *row[4:7]) for row in shown}


def test_the_metrics_of_sigma_and_the_worst_rows_are_those_of_the_summary(usual):
    page, summary = usual
    numbers = {
        row[0]: [float(value) for value in values[1:]]
        for row, values in zip(page.rows, page.values, strict=True)
        if len(row) == 1 + len(html_sigma.METRICS) and values[1]
    }
    start, *_ = summary["arms"]
    expected = {"before the loop": start["test"]["before"]}
    expected |= {arm["strategy"]: arm["test"]["after"] for arm in summary["arms"]}
    assert numbers == {
        name: [metrics[key] for key in html_sigma.METRICS] for name, metrics in expected.items()
    }
    for arm in summary["arms"]:
        for point in arm["sigma_check"]["after"]["worst_points"]:
            values = [repr(point[key]) for key in ("label", "mean", "residual", "sigma")]
            assert ["", "", *values, ""] in page.values


def test_of_very_many_picks_every_arm_shows_its_first_ones(make_run, monkeypatch, tmp_path):
    monkeypatch.setattr(html_picks, "PICKS_SHOWN", 6)
    run = read_finished_run(make_run(cycles=8, failed_pick=None))
    (tmp_path / "picks.html").write_text(html_picks.picks_section(run, "eV/atom").html(), "utf-8")
    page = Page(tmp_path / "picks.html")
    shown = [(arm, cycle) for arm, cycle, *_ in picks_in(page)]
    assert shown == [(arm, str(c)) for arm in ("max-sigma", "random") for c in (1, 2, 3)]
    assert "… 10 more in picks.parquet" in page.text


def test_the_page_says_what_the_labels_are_and_what_went_wrong(make_run):
    page, summary = written(make_run(strategies=["distance", "random"]))
    assert "What the labels are: Ionic-model energies, not DFT." in page.text
    assert "Ewald sum <did not> converge" in page.text
    assert "no bond inside the cut-off" in page.text
    assert "in 1 of 8 cycles the batch could not be filled" in page.text
    (saving, *_) = summary["label_saving"]
    assert f"a label saving of {saving['saving']:.1f}" in page.text
    assert "test MAE of 0.2125 eV/atom" in page.text
    assert "Not finished" not in page.text


def test_nothing_is_fetched_from_anywhere(usual):
    page, _ = usual
    assert not {tag for tag, _ in page.elements} & {"link", "iframe", "object", "base"}
    for reference in page.attributes("src", "href", "xlink:href", "srcset", "data", "action"):
        assert reference.startswith(("#", "data:image/"))
    assert re.findall(r"url\((?!#|data:)", page.source) == []
    assert "@import" not in page.source
    # Nor is there an address that a viewer could be tempted to follow.
    assert re.findall(r"https?://", page.source) == []


def test_the_browser_runs_no_program_but_those_that_the_page_names(usual):
    page, _ = usual
    (policy,) = (a["content"] or "" for _, a in page.elements if "http-equiv" in a)
    named = re.search(r"script-src ([^;]*)", policy)
    assert named
    assert all(re.fullmatch(r"'sha256-[\w+/]{43}='", source) for source in named[1].split())
    assert policy.startswith("default-src 'none';")


def test_ids_are_unique_and_references_inside_the_page_lead_somewhere(usual):
    page, _ = usual
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    used = re.findall(r"url\(#([^)]+)\)", page.source)
    used += [r[1:] for r in page.attributes("href", "xlink:href") if r.startswith("#")]
    assert used
    assert set(used) <= set(ids)


# The mathematics between the dollars is broken on purpose: matplotlib must not try to read it.
HOSTILE = "</td><script>alert('$\\frac$')</script>&amp;\"<b>"


def test_text_from_the_data_cannot_become_markup(make_run):
    run = make_run(formula=HOSTILE, id_prefix=HOSTILE)
    info = json.loads((run / "run.json").read_text("utf-8"))
    info |= dict.fromkeys(("source", "label_note", "command"), HOSTILE) | {"target": HOSTILE}
    info["versions"] = {HOSTILE: HOSTILE}
    (run / "run.json").write_text(json.dumps(info), "utf-8")
    page, _ = written(run)
    tags = [tag for tag, _ in page.elements]
    assert "b" not in tags
    assert tags.count("script") == 3  # the page's program, Plotly, and what they draw
    assert page.text.count(HOSTILE) > 20  # shown as the text that it is


def test_figures_are_written_as_svg_and_png_and_all_stand_in_the_page(usual_run, usual):
    page, _ = usual
    names = {
        *("learning_curve_test", "learning_curve_unlabelled", "training_curve", "parity_before"),
        *("parity_after_max_sigma", "parity_after_random", "residual_sigma_before"),
        *("residual_sigma_after_max_sigma", "residual_sigma_after_random"),
        *("intervals_before", "intervals_after_max_sigma", "intervals_after_random"),
        *("calibration", "error_against_sigma", "sigma_histogram", "hyperparameter_trace"),
    }
    for suffix in ("svg", "png"):
        assert {p.stem for p in (usual_run / "report").glob(f"*.{suffix}")} == names
    assert sum(tag == "svg" for tag, _ in page.elements) == len(names)


def test_the_same_run_gives_the_same_bytes_whatever_the_users_matplotlib_settings(usual_run, usual):
    run = usual_run
    before = {p.name: p.read_bytes() for p in (run / "report").iterdir()}
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 30, "svg.hashsalt": None}):
        write_report(run)
        assert matplotlib.rcParams["font.size"] == 30  # the user's settings are left as they were
    assert {p.name: p.read_bytes() for p in (run / "report").iterdir()} == before


@pytest.mark.parametrize(
    "corner",
    [
        {"strategies": ["max-sigma"], "unlabelled_known": False},
        {"strategies": ["max-sigma", "random", "top-k", "distance"]},
        {"cycles": 1, "failed_pick": 1},
        {"cycles": 0, "n_rejected": 0, "failed_pick": None},
    ],
    ids=lambda corner: ",".join(f"{k}={v}" for k, v in corner.items()),
)
def test_every_corner_gives_a_whole_page(make_run, corner):
    page, summary = written(make_run(**corner))
    for arm in summary["arms"]:
        assert page.row(arm["strategy"])
    assert ("Failed labels" in page.text) == bool(summary["failed_labels"])
    assert ("Rejected materials" in page.text) == bool(summary["materials"]["n_rejected"])
    unknown = "The error on unlabelled materials is unknown" in page.text
    assert unknown != corner.get("unlabelled_known", True)
    for word in ("None", "nan", "NaN"):
        assert not re.search(rf"\b{word}\b", page.text)


def test_rejected_materials_are_grouped_with_an_example_and_its_detail(usual):
    page, _ = usual
    assert page.row("no bond inside the cut-off")[0][1:] == [
        "4",
        "mp-bad-1",
        "detail 1",
        "file.csv row 1",
    ]
    assert page.row("disordered")[0][1:3] == ["2", "mp-bad-0"]
