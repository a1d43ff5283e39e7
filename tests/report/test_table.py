"""The terminal table and the words that go with the numbers."""

from __future__ import annotations

import doctest
import io
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from gpnet_ray.commands.report import show_result
from gpnet_ray.report import words
from gpnet_ray.report.finished_run import read_finished_run
from gpnet_ray.report.html import page_html
from gpnet_ray.report.summary import build_summary, summarise
from gpnet_ray.report.table import summary_table
from gpnet_ray.report.table_columns import number_table


def printed(summary, width=80):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    show_result(console, summary, Path("index.html"))
    return console.file.getvalue()


@pytest.mark.parametrize("width", [100, 80, 60, 40])
def test_every_number_is_whole_however_narrow_the_terminal_is(make_run, width):
    summary = build_summary(make_run(strategies=["max-sigma", "random", "distance"]))
    summary["arms"][0]["test"]["after"]["r2"] = -12.3456
    text = printed(summary, width)
    lines = [line for line in text.splitlines() if "index.html" not in line]
    # 40 columns do not hold the numbers alone, and the terminal breaks the lines.
    assert max(map(len, lines)) <= (width if width > 40 else 60)
    assert "…" not in text
    for arm in summary["arms"]:
        test = arm["test"]["after"]
        numbers = [
            str(arm["labels_bought"]),
            *(f"{test[m]:.4f}" for m in ("mae", "rmse", "r2")),
            *(f"{100 * test['coverage_2sigma']:.1f}", "%"),
            f"{test['miscalibration_area']:.4f}",
            f"{arm['unlabelled']['after']['mae']:.4f}",
        ]
        at = next(n for n, line in enumerate(lines) if line.split()[1:] == numbers)
        # What does not fit of the name stands below its beginning.
        name = lines[at].split()[0]
        while name != arm["strategy"]:
            at += 1
            name += lines[at].strip()
            assert arm["strategy"].startswith(name)


def test_tables_of_seeds_and_folds_have_whole_numbers_and_names_in_a_narrow_terminal():
    rows = [("distance", "1,500", "0.5505 ± 0.0355", "92.5 %")]
    headings = ("arm", "labels", "test\nMAE", "within")
    table = number_table("t", headings, rows, below=["end"], width=20)
    console = Console(file=io.StringIO(), width=20, color_system=None)
    console.print(table, crop=False)
    text = console.file.getvalue()
    assert "0.5505 ±" in text
    assert "± 0.0355" not in text  # on the next line, so that the table is as narrow as can be
    assert "…" not in text
    for part in ("distan", "ce", "1,500", "0.5505", "±", "0.0355", "92.5"):
        assert part in text.split()


def test_below_the_table_stand_network_saving_failures_and_what_the_labels_are(make_run):
    text = " ".join(printed(build_summary(make_run())).split())
    assert "The network's own output has a test MAE of 0.2125 eV/atom." in text
    assert "a label saving of" in text
    assert "1 picked material got no label; the report lists them." in text
    assert "Labels: Ionic-model energies, not DFT." in text


def test_a_material_that_two_arms_picked_in_vain_is_one_material(make_run):
    run = read_finished_run(make_run())
    summary = summarise(run)
    (failed,) = summary["failed_labels"]
    summary["failed_labels"] = [failed, {**failed, "strategy": "random"}]
    said = "1 picked material got no label (2 picks, as several arms picked the same)"
    assert f"{said}; the report lists them." in " ".join(printed(summary).split())
    assert f"{said}: set aside" in page_html(run, summary, [], run.path)


def test_what_was_left_out_is_said_in_one_line_and_only_where_there_is_something(make_run):
    text = " ".join(printed(build_summary(make_run(n_rejected=4))).split())
    assert (
        "4 materials were left out: 2 disordered, 2 no bond inside the cut-off (rejected.csv)."
    ) in text
    assert "left out" not in printed(build_summary(make_run(n_rejected=0)))


def test_square_brackets_in_names_are_not_taken_for_colours(make_run):
    summary = build_summary(make_run())
    summary["name"], summary["label_note"] = "run [bold]", "column [red]"
    text = printed(summary)
    assert "run [bold]" in text
    assert "column [red]" in text


def saving(**changes):
    start = {
        "better": "max-sigma",
        "worse": "random",
        "measure": "test",
        "labels_needed": 480,
        "labels_bought": 1500,
        "saving": 3.125,
        "final_error_better": 0.0909,
        "final_error_worse": 0.0955,
        "relative_difference": 0.048,
    }
    return words.label_saving_sentence({**start, **changes}, "eV/atom")


def test_label_saving_in_words():
    assert saving() == (
        "On the test rows, max-sigma reached the final error of random (0.0955 eV/atom) with 480 "
        "labels where random bought 1,500: a label saving of 3.1. It ended 4.8\u00a0% lower (0.0909 eV/atom)."
    )


def test_no_saving_is_claimed_in_words_where_there_is_none():
    assert "no finite label saving" in saving(saving=None, labels_needed=0)
    tie = saving(saving=1.0, relative_difference=0.0)
    assert "same error" in tie
    assert "saving" not in tie
    assert saving(saving=3.0, relative_difference=0.0).endswith("Both ended at that error.")


@pytest.mark.parametrize(
    ("target", "unit", "expected"),
    [
        ("formation_energy_per_atom", "eV/atom", "Formation energy"),
        ("formation_energy_per_atom", "eV", "Formation energy per atom"),
        ("PBE_gap", "eV", "PBE gap"),
        ("_", "eV", "_"),
    ],
)
def test_targets_are_named_for_people(target, unit, expected):
    assert words.quantity_name(target, unit) == expected


def test_the_examples_in_the_docstrings_are_true():
    assert doctest.testmod(words).failed == 0


RETRAINED = {
    "strategy": "random",
    "cycle": 8,
    "network": 1,
    "n_labelled": 28,
    "start": "warm",
    "epochs": 40,
    "seconds": 61.4,
    "old_validation_mae": 0.0912,
    "new_validation_mae": 0.1031,
    "kept": "old",
    "network_test_mae": 0.1122,
}


def test_every_training_of_the_network_is_told_with_what_became_of_it(make_run) -> None:
    summary = build_summary(make_run(retrainings=[RETRAINED]))
    caption = " ".join(str(summary_table(summary).caption).split())
    assert (
        "random: the network was trained again on 28 labels (warm, 40 epochs, 61 s): validation MAE"
        " 0.0912 eV/atom before, 0.1031 eV/atom after; its own output has a test MAE of 0.1122 eV/atom."
        " The old network was kept."
    ) in caption


def test_a_training_after_the_last_pick_does_not_count_as_labels_saved(make_run) -> None:
    folder = make_run()
    before = build_summary(folder)["label_saving"]
    # After its last cycle the network of random is trained again, and halves every error.
    metrics = pq.read_table(folder / "metrics.parquet").to_pylist()
    last = [row for row in metrics if row["strategy"] == "random"][-1]
    again = {**last, "test_mae": 0.01, "unlabelled_mae": 0.01}
    table = pa.Table.from_pylist([*metrics, again])
    pq.write_table(table, folder / "metrics.parquet")
    retrained = pa.Table.from_pylist([{**RETRAINED, "cycle": last["cycle"]}])
    pq.write_table(retrained, folder / "retrainings.parquet")
    (folder / "networks" / "random-1").mkdir(parents=True)
    shutil.copy(folder / "gp.json", folder / "networks" / "random-1")
    summary = build_summary(folder)
    assert [{**s, "before_last_training": False} for s in summary["label_saving"]] == before
    (arm,) = (a for a in summary["arms"] if a["strategy"] == "random")
    assert arm["test"]["after"]["mae"] == 0.01
    caption = " ".join(str(summary_table(summary).caption).split())
    assert "before the network was trained again at the end, max-sigma reached" in caption
