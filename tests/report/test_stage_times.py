"""Where the network was trained again within an arm's loop, no second is counted twice."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gpnet_ray.campaign.journal import Journal
from gpnet_ray.commands.status import status
from gpnet_ray.report.finished_run import read_finished_run
from gpnet_ray.report.html import page_html
from gpnet_ray.report.page_compare import write_comparison
from gpnet_ray.report.stage_times import total_seconds
from gpnet_ray.report.summary import summarise

TIMINGS = {
    "GP fit": 5.0,
    "retraining max-sigma 1": 40.0,
    "featurising max-sigma 1": 3.0,
    "GP fit max-sigma 1": 2.0,
    "loop max-sigma": 100.0,
    # The loop of random has not ended.
    "retraining random 1": 7.0,
}


@pytest.fixture
def run(make_run) -> Path:
    path = make_run("first")
    info = json.loads((path / "run.json").read_text("utf-8"))
    (path / "run.json").write_text(json.dumps({**info, "timings_s": TIMINGS}), "utf-8")
    return path


def test_parts_of_a_loop_are_not_added_to_it(run, make_run, tmp_path) -> None:
    assert total_seconds(TIMINGS) == 5 + 100 + 7
    assert total_seconds({}) == 0
    page = write_comparison([run, make_run("second")], tmp_path / "page.html").read_text("utf-8")
    runs = page.split('id="section-runs"')[1]
    assert re.findall(r'data-value="([^"]*)"', runs) == ["112.0", "10.25"]


def test_the_page_of_a_run_lists_them_below_their_loop(run) -> None:
    read = read_finished_run(run)
    page = page_html(read, summarise(read), [], run)
    listed = page.split("<summary>Time taken</summary>")[1].split("</table>")[0]
    assert re.findall(r'<th scope="row">([^<]*)</th><td>([^<]*)</td>', listed) == [
        ("GP fit", "5.0 s"),
        ("loop max-sigma", "100.0 s"),
        ("of which retraining max-sigma 1", "40.0 s"),
        ("of which featurising max-sigma 1", "3.0 s"),
        ("of which GP fit max-sigma 1", "2.0 s"),
        ("retraining random 1", "7.0 s"),
    ]


def test_status_says_what_a_loop_contains(tmp_path, capsys) -> None:
    stages = ({"event": "stage", "stage": name, "seconds": s} for name, s in TIMINGS.items())
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.append(*stages)
    status(str(tmp_path))
    assert capsys.readouterr().out.splitlines()[0] == (
        "Stages done: GP fit 5.0 s, loop max-sigma 100.0 s (of which retraining max-sigma 1 40.0 s,"
        " featurising max-sigma 1 3.0 s, GP fit max-sigma 1 2.0 s), retraining random 1 7.0 s"
    )
