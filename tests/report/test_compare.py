"""Several runs on one page: the numbers of each, and a plain word where they do not compare."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpnet_ray.errors import InputError
from gpnet_ray.report.page_compare import write_comparison
from gpnet_ray.report.summary import build_summary


@pytest.fixture(scope="module")
def pair(make_run) -> tuple[Path, Path]:
    return make_run("first", cycles=8), make_run("second", cycles=5, strategies=["max-sigma"])


def changed(run: Path, **info: Any) -> Path:
    content = json.loads((run / "run.json").read_text("utf-8"))
    (run / "run.json").write_text(json.dumps({**content, **info}), "utf-8")
    return run


def test_every_number_is_the_number_in_the_summary_of_its_run(pair, tmp_path):
    page = write_comparison(pair, tmp_path / "new" / "page.html").read_text("utf-8")
    rows = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in page.split("<tr>")]
    values = [re.findall(r'data-value="([^"]*)"', row) for row in page.split("<tr>")]
    for run in pair:
        for arm in build_summary(run)["arms"]:
            (shown,) = [
                v for r, v in zip(rows, values, strict=True) if r[:2] == [run.name, arm["strategy"]]
            ]
            test = arm["test"]["after"]
            assert [float(value) for value in shown] == [
                *(arm["labels_bought"], test["mae"], test["rmse"], test["r2"]),
                *(test["coverage_2sigma"], arm["unlabelled"]["after"]["mae"]),
            ]
    assert 'id="warnings"' not in page
    assert "max-sigma of first reached the final error of max-sigma of second" in page


def test_what_differs_in_the_settings_is_listed_and_nothing_else(make_run, tmp_path):
    runs = [make_run("a"), make_run("b")]
    config = yaml.safe_load((runs[1] / "config.yaml").read_text("utf-8"))
    (runs[1] / "config.yaml").write_text(yaml.safe_dump({**config, "seed": 7}), "utf-8")
    page = write_comparison(runs, tmp_path / "page.html").read_text("utf-8")
    differences = page.split('id="section-differences"')[1].split("</section>")[0]
    assert re.findall(r"<td>([^<]*)</td>", differences) == ["seed", "0", "7"]


@pytest.mark.parametrize(
    ("key", "value"), [("target", "band_gap"), ("unit", "meV/atom")], ids=["target", "unit"]
)
def test_runs_of_another_target_or_unit_are_refused(make_run, tmp_path, key, value):
    run = make_run("other")
    other = changed(run, **{key: value})
    if key == "unit":  # the tables are in the run's unit
        for path in run.glob("*.parquet"):
            _relabel(path, value)
    with pytest.raises(InputError, match=rf"not of the same {key} .*{value}"):
        write_comparison([make_run("one"), other], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def _relabel(path: Path, unit: str) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({b"unit": unit.encode()}), path)


def test_other_test_rows_and_labels_of_another_origin_are_told(make_run, tmp_path):
    other = changed(make_run("other", id_prefix="oqmd-"), label_note="DFT of somebody else")
    page = write_comparison([make_run("one"), other], tmp_path / "page.html").read_text("utf-8")
    assert "The test rows of these runs are not the same materials" in page
    assert "not of the same origin" in page
    assert "other: DFT of somebody else" in page
    assert "of one reached the final error" not in page


def test_one_run_or_one_named_twice_or_a_folder_to_write_to_is_refused(pair, tmp_path):
    with pytest.raises(InputError, match="two runs or more"):
        write_comparison(pair[:1], tmp_path / "page.html")
    with pytest.raises(InputError, match="names a run twice"):
        write_comparison([pair[0], pair[0]], tmp_path / "page.html")
    with pytest.raises(InputError, match="is a folder"):
        write_comparison(pair, tmp_path)


def test_runs_of_one_name_are_told_apart_by_their_folders(make_run, tmp_path):
    runs = [make_run("same"), make_run("same")]
    page = write_comparison(runs, tmp_path / "page.html").read_text("utf-8")
    for run in runs:
        assert f"{run}: max-sigma" in page
