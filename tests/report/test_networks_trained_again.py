"""The page of a run whose network was trained again: whose σ was recalibrated how, and whose fit had warnings."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from gpnet_ray.gp.recalibration import TWO_SIGMA, Recalibration
from gpnet_ray.report.finished_run import read_finished_run
from gpnet_ray.report.html_sigma import recalibration_sentence
from gpnet_ray.report.page import write_report
from gpnet_ray.report.panels_drawing import stages
from gpnet_ray.report.panels_learning import learning_panels
from gpnet_ray.report.panels_predictions import prediction_panels
from gpnet_ray.report.summary import build_summary, summarise


def retrained(strategy: str, network: int, n_labelled: int) -> dict[str, Any]:
    return {
        "strategy": strategy,
        "network": network,
        "cycle": n_labelled - 40,
        "n_labelled": n_labelled,
        "start": "scratch",
        "epochs": 40,
        "seconds": 61.4,
        "old_validation_mae": 0.09,
        "new_validation_mae": 0.08,
        "kept": "new",
        "network_test_mae": 0.1,
    }


NETWORKS = (
    *(retrained("max-sigma", 1, 44), retrained("max-sigma", 2, 48)),
    retrained("random", 1, 48),
)


def change_gp(folder: Path, **changes: Any) -> None:
    file = folder / "gp.json"
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **changes}), "utf-8")


@pytest.fixture
def run(make_run) -> Path:
    folder: Path = make_run(retrainings=NETWORKS, failed_pick=None)
    first = Recalibration("student-t", scale=1.4, n=180, degrees_of_freedom=3.0)
    change_gp(folder, recalibration=first.to_json())
    return folder


def test_every_recalibration_is_stated_with_the_lines_that_have_it(run):
    later = {
        "max-sigma-1": Recalibration("student-t", scale=9.0, n=190, degrees_of_freedom=3.0),
        "max-sigma-2": Recalibration("student-t", scale=1.25, n=200, degrees_of_freedom=4.0),
        "random-1": Recalibration(),
    }
    for name, found in later.items():
        change_gp(run / "networks" / name, recalibration=found.to_json())
    # Of the networks of max-sigma the last one has made the predictions at the end.
    assert recalibration_sentence(build_summary(run)) == (
        "σ was not recalibrated alike in all lines: before the loop it was recalibrated (student-t, times 1.40)"
        " on 180 rows held out of the network's training; at the end of max-sigma it was recalibrated (student-t,"
        " times 1.25) on 200 rows held out of the network's training; at the end of random it is as the"
        " Gaussian process was fitted, not recalibrated."
    )


def test_a_recalibration_that_all_lines_have_is_stated_once(make_run, run):
    alone = make_run("frozen")
    change_gp(alone, recalibration=Recalibration("variance", scale=1.4, n=180).to_json())
    assert recalibration_sentence(build_summary(alone)) == (
        "σ was recalibrated (variance, times 1.40) on 180 rows held out of the network's training."
    )
    # No network but the first was recalibrated, so that the ends are alike.
    assert recalibration_sentence(build_summary(run)).endswith(
        "at the end of max-sigma and at the end of random it is as the Gaussian process was fitted, not"
        " recalibrated."
    )


def test_the_warnings_of_every_gaussian_process_stand_on_the_page_with_its_network(run):
    change_gp(run, warnings=["noise at its bound"])
    change_gp(run / "networks" / "max-sigma-1", warnings=["length scale at its bound"])
    change_gp(run / "networks" / "random-1", warnings=["search cut short", "jitter < 1e-8"])
    page = html.unescape(write_report(run).read_text("utf-8"))
    for sentence in (
        "GP of the first network: noise at its bound",
        "GP of max-sigma's network 1 (44 labels): length scale at its bound",
        "GP of random's network 1 (48 labels): search cut short",
        "GP of random's network 1 (48 labels): jitter < 1e-8",
    ):
        assert f"<li>{sentence}</li>" in page
    assert "max-sigma's network 2" not in page


def test_errors_in_deciles_of_sigma_are_compared_with_what_each_recalibration_promises(run):
    for name, degrees in (("max-sigma-2", 4.0), ("random-1", 0.9)):
        found = Recalibration("student-t", scale=1.25, n=200, degrees_of_freedom=degrees)
        change_gp(run / "networks" / name, recalibration=found.to_json())
    finished = read_finished_run(run)
    summary = summarise(finished)
    panels = prediction_panels(list(stages(finished, summary)), summary, seed=0)
    panel = next(panel for panel in panels if panel.name == "error_against_sigma")
    lines = [
        line.get_xydata()[-1] for line in panel.figure.axes[0].lines if line.get_label()[0] == "_"
    ]
    # The mean of |t| over half of its 95.45 % interval, 3 degrees before the loop and 4 at max-sigma's end.
    expected = [
        stats.t(degrees).expect(np.abs) / (stats.t(degrees).ppf(0.5 + TWO_SIGMA / 2) / 2)
        for degrees in (3.0, 4.0)
    ]
    assert [y / x for x, y in lines] == pytest.approx(expected, rel=1e-6)
    assert (
        "(Before the loop: MAE 0.67 σ; max-sigma, after 8 labels: MAE 0.70 σ; random, after 8 labels: no line, as"
        " Student's t with one degree of freedom or less has no mean error; of Gaussian errors: MAE 0.80 σ)"
    ) in panel.caption
    promised = [arm["sigma_check"]["after"]["promised_mae_per_sigma"] for arm in summary["arms"]]
    assert promised == [pytest.approx(expected[1], rel=1e-6), None]


def caption_of_the_search(run: Path) -> str:
    finished = read_finished_run(run)
    panels = learning_panels(finished, summarise(finished))
    return next(panel.caption for panel in panels if panel.name == "hyperparameter_trace")


def test_the_caption_of_the_search_says_where_a_recalibration_changed_what_is_listed(make_run, run):
    assert "before σ was recalibrated, which multiplied both by 1.40;" in caption_of_the_search(run)
    assert caption_of_the_search(make_run("as-fitted")).endswith("the best one is kept.")
