"""summary.json says what the Parquet files say."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpnet_ray.errors import RunFolderError
from gpnet_ray.gp.recalibration import fit_recalibration
from gpnet_ray.report.page import write_report
from gpnet_ray.report.summary import build_summary
from gpnet_ray.report.words import radius_sentence


def rows_of(path: Path, **wanted: Any) -> list[dict[str, Any]]:
    rows = pq.read_table(path).to_pylist()
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def arm_of(summary: dict[str, Any], strategy: str) -> dict[str, Any]:
    return next(arm for arm in summary["arms"] if arm["strategy"] == strategy)


@pytest.mark.parametrize("strategy", ["max-sigma", "random"])
@pytest.mark.parametrize("stage", ["before", "after"])
def test_test_errors_are_those_of_the_stored_predictions(make_run, strategy, stage):
    run = make_run()
    rows = rows_of(run / "predictions.parquet", strategy=strategy, stage=stage)
    residuals = [row["target"] - row["mean"] for row in rows]
    mean_target = sum(row["target"] for row in rows) / len(rows)
    squares = sum(r * r for r in residuals)
    inside = sum(abs(r) <= 2 * row["sigma"] for r, row in zip(residuals, rows, strict=True))
    expected = {
        "mae": sum(map(abs, residuals)) / len(rows),
        "rmse": math.sqrt(squares / len(rows)),
        "r2": 1 - squares / sum((row["target"] - mean_target) ** 2 for row in rows),
        "coverage_2sigma": inside / len(rows),
    }
    measured = arm_of(build_summary(run), strategy)["test"][stage]
    # Sums of 30 float64 numbers in another order: a few units in the last place.
    assert {name: measured[name] for name in expected} == pytest.approx(expected, rel=1e-12)
    # The other metrics are the library's, of the same rows.
    z = [r / row["sigma"] for r, row in zip(residuals, rows, strict=True)]
    crps = [
        row["sigma"] * (u * math.erf(u / math.sqrt(2)) + 2 * normal(u) - 1 / math.sqrt(math.pi))
        for u, row in zip(z, rows, strict=True)
    ]
    sharpness = math.sqrt(sum(row["sigma"] ** 2 for row in rows) / len(rows))
    assert measured["crps"] == pytest.approx(sum(crps) / len(rows), rel=1e-10)
    assert measured["sharpness"] == pytest.approx(sharpness, rel=1e-12)
    assert measured["n"] == len(rows)


def normal(z: float) -> float:
    return math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


def test_sigma_is_checked_against_the_errors_of_the_stored_predictions(make_run):
    run = make_run()
    check = arm_of(build_summary(run), "random")["sigma_check"]["after"]
    rows = rows_of(run / "predictions.parquet", strategy="random", stage="after")
    errors = {row["material_id"]: abs(row["target"] - row["mean"]) for row in rows}
    worst = check["worst_points"]
    assert [p["material_id"] for p in worst] == sorted(errors, key=errors.__getitem__)[:-11:-1]
    sigma = {row["material_id"]: row["sigma"] for row in rows}
    assert all(
        p["beyond_2sigma"] == (errors[p["material_id"]] > 2 * sigma[p["material_id"]])
        for p in worst
    )
    # 30 rows in deciles of three; the first holds the three smallest σ.
    assert [b["n"] for b in check["deciles"]] == [3] * 10
    first = sorted(sigma, key=sigma.__getitem__)[:3]
    assert check["deciles"][0]["mae"] == pytest.approx(sum(errors[i] for i in first) / 3)
    assert check["calibration_curve"]["observed"][-1] == 1.0


def test_calibration_over_all_levels_is_that_of_the_recalibrated_intervals(make_run):
    run = make_run()
    plain = arm_of(build_summary(run), "random")
    content = json.loads((run / "gp.json").read_text())
    found = fit_recalibration("student-t", np.random.default_rng(0).standard_t(2, 200))
    content["recalibration"] = found.to_json()
    (run / "gp.json").write_text(json.dumps(content))
    arm = arm_of(build_summary(run), "random")
    assert arm["recalibration"]["after"] == {
        "how": "student-t",
        "scale": found.scale,
        "n_held_out": 200,
    }
    rows = rows_of(run / "predictions.parquet", strategy="random", stage="after")
    curve = arm["sigma_check"]["after"]["calibration_curve"]
    levels = np.array(curve["expected"])
    by_hand = [
        np.mean([abs(r["target"] - r["mean"]) <= width * r["sigma"] for r in rows])
        for width in found.half_widths(levels)
    ]
    assert curve["observed"] == pytest.approx(by_hand)
    after, before = arm["test"]["after"], plain["test"]["after"]
    assert after["miscalibration_area"] != before["miscalibration_area"]
    # At 2σ it is the σ that was recalibrated, and that is in the predictions already.
    assert after["coverage_2sigma"] == before["coverage_2sigma"]


def test_every_metric_has_its_unit_and_the_unknown_ones_are_null(make_run):
    run = make_run()
    # As of a run that has not come to the end of an arm yet.
    table = pq.read_table(run / "predictions.parquet")
    pq.write_table(table.slice(0, 0), run / "predictions.parquet")
    summary = build_summary(run)
    arm = arm_of(summary, "random")
    assert set(arm["test"]["after"]) <= set(summary["units"])
    assert arm["test"]["after"]["mae"] is not None  # from metrics.parquet
    assert arm["test"]["after"]["crps"] is None
    assert arm["sigma_check"]["after"] is None
    assert arm["enrichment"] is None  # the run has no materials.parquet


def test_labels_are_counted_without_the_failed_one(make_run):
    summary = build_summary(make_run(cycles=8, failed_pick=3))
    sigma, random = arm_of(summary, "max-sigma"), arm_of(summary, "random")
    assert (sigma["picks"], sigma["labels_bought"], sigma["labels_failed"]) == (8, 7, 1)
    assert (random["picks"], random["labels_bought"], random["labels_failed"]) == (8, 8, 0)
    (failed,) = summary["failed_labels"]
    assert (failed["strategy"], failed["cycle"], failed["material_id"]) == (
        *("max-sigma", 3),
        "mp-max-sigma-3",
    )
    assert failed["tries"] == 3


def test_label_saving_is_recomputed_from_the_metrics(make_run):
    run = make_run(failed_pick=None)
    saving = next(s for s in build_summary(run)["label_saving"] if s["measure"] == "unlabelled")
    curves = {
        name: [r["unlabelled_mae"] for r in rows_of(run / "metrics.parquet", strategy=name)]
        for name in ("max-sigma", "random")
    }
    # Without failures one label a cycle: the index in the list is the number of labels.
    needed = next(i for i, e in enumerate(curves["max-sigma"]) if e <= curves["random"][-1])
    assert saving["labels_needed"] == needed
    assert saving["saving"] == 8 / needed
    assert saving["final_error_worse"] == curves["random"][-1]


def test_first_and_last_picks_overlap_in_no_row(make_run):
    short = arm_of(build_summary(make_run("short", cycles=8)), "random")
    assert [p["cycle"] for p in short["first_picks"]] == list(range(1, 9))
    assert short["last_picks"] == []
    middle = arm_of(build_summary(make_run("middle", cycles=13)), "random")
    assert [p["cycle"] for p in middle["first_picks"] + middle["last_picks"]] == list(range(1, 14))
    long = arm_of(build_summary(make_run("long", cycles=40)), "random")
    assert [p["cycle"] for p in long["first_picks"]] == list(range(1, 11))
    assert [p["cycle"] for p in long["last_picks"]] == list(range(31, 41))


def test_a_shrunken_radius_is_told_with_the_one_that_was_asked(make_run):
    run = make_run(strategies=["distance", "random"])
    radius = arm_of(build_summary(run), "distance")["radius"]
    assert (radius["asked"], radius["largest_asked"], radius["smallest_used"]) == (
        0.25,
        0.25,
        0.125,
    )
    assert (radius["cycles_with_smaller_radius"], radius["cycles"]) == ([2], 8)
    assert radius_sentence(radius).endswith(
        "0.25 was asked, but in 1 of 8 cycles the batch could not be filled with it; the smallest"
        " distance used was 0.125."
    )


def test_the_radius_that_was_asked_is_the_one_of_each_cycle(make_run):
    """A share of the length scale is another distance after the network was trained again."""
    run = make_run(strategies=["distance", "random"])
    picks = pq.read_table(run / "picks.parquet").to_pandas()
    is_late = (picks["strategy"] == "distance") & (picks["cycle"] > 4)
    for columns, ending in (
        ({"radius": 0.4, "asked_radius": 0.4}, "1 of 8 cycles"),
        ({"radius": 0.3, "asked_radius": 0.4}, "5 of 8 cycles"),
    ):
        for name, value in columns.items():
            picks.loc[is_late, name] = value
        picks.to_parquet(run / "picks.parquet")
        radius = arm_of(build_summary(run), "distance")["radius"]
        assert (radius["asked"], radius["largest_asked"]) == (0.25, 0.4)
        assert f"0.25 to 0.4 was asked, but in {ending} " in radius_sentence(radius)


def test_where_no_batch_keeps_the_radius_a_smaller_one_is_advised():
    never = {
        "strategy": "distance",
        "asked": 6.9,
        "largest_asked": 6.9,
        "smallest_used": 1.2,
        "cycles_with_smaller_radius": [1, 2],
        "cycles": 2,
    }
    assert radius_sentence(never).endswith("selection.distance_cutoff sets a smaller one.")
    once = {**never, "cycles_with_smaller_radius": [1]}
    assert radius_sentence(once).endswith("the smallest distance used was 1.2.")


def test_rejected_materials_are_counted_by_category_the_most_frequent_first(make_run):
    rejected = build_summary(make_run(n_rejected=3))["rejected"]
    assert rejected["count"] == 3
    assert [(c, r["count"]) for c, r in rejected["by_category"].items()] == [
        ("no bond inside the cut-off", 2),
        ("disordered", 1),
    ]
    assert rejected["by_category"]["no bond inside the cut-off"] == {
        "count": 2,
        "example_id": "mp-bad-1",
        "example_reason": "detail 1",
        "example_where": "file.csv row 1",
    }


def test_the_best_epoch_is_the_one_with_the_lowest_validation_error(make_run):
    # The fixture's validation error falls until epoch 5 and jumps in epoch 6.
    network = build_summary(make_run())["network"]
    assert (network["best_epoch"], network["best_validation_mae"]) == (5, 0.6 / 5)


def test_where_no_epoch_was_better_the_first_network_is_the_one_that_was_kept(make_run):
    run = make_run()
    info = json.loads((run / "run.json").read_text())
    info["network_kept"] = {"epoch": 0, "validation_mae": 0.05}
    (run / "run.json").write_text(json.dumps(info))
    network = build_summary(run)["network"]
    assert (network["best_epoch"], network["best_validation_mae"]) == (0, 0.05)
    assert "weights it began from were kept (validation MAE 0.0500" in write_report(run).read_text(
        "utf-8"
    )


def test_unknown_errors_are_null_and_the_file_is_strict_json(make_run):
    run = make_run(unlabelled_known=False)
    table = pq.read_table(run / "metrics.parquet")
    broken = table.set_column(
        table.schema.get_field_index("test_r2"), "test_r2", pa.array([np.nan] * len(table))
    )
    pq.write_table(broken, run / "metrics.parquet")
    write_report(run)

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is not JSON")

    summary = json.loads((run / "summary.json").read_text("utf-8"), parse_constant=refuse)
    arm = arm_of(summary, "max-sigma")
    assert arm["unlabelled"]["after"]["mae"] is None
    assert arm["unlabelled"]["n_after"] is None
    assert arm["test"]["after"]["r2"] is None
    assert {s["measure"] for s in summary["label_saving"]} == {"test"}
    assert summary == build_summary(run)


FILES = (
    *("metrics.parquet", "picks.parquet", "predictions.parquet", "training_history.parquet"),
    *("run.json", "config.yaml", "gp.json", "rejected.csv"),
)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named_with_what_to_do_and_nothing_is_written(make_run, name):
    run = make_run()
    (run / name).unlink()
    with pytest.raises(RunFolderError, match=f"{name}.*--resume"):
        write_report(run)
    assert not (run / "summary.json").exists()
    assert not (run / "report").exists()


@pytest.mark.parametrize("name", [n for n in FILES if not n.endswith((".csv", ".yaml"))])
def test_a_damaged_file_is_named(make_run, name):
    run = make_run()
    (run / name).write_bytes(b"\x00 not what it was")
    with pytest.raises(RunFolderError, match=name):
        build_summary(run)


def test_a_missing_column_is_named(make_run):
    run = make_run()
    table = pq.read_table(run / "picks.parquet").drop_columns(["sigma"])
    pq.write_table(table, run / "picks.parquet")
    with pytest.raises(RunFolderError, match=r"picks\.parquet lacks the column sigma"):
        build_summary(run)


def test_numbers_in_another_unit_are_refused(make_run):
    run = make_run()
    table = pq.read_table(run / "metrics.parquet").replace_schema_metadata({b"unit": b"meV/atom"})
    pq.write_table(table, run / "metrics.parquet")
    with pytest.raises(RunFolderError, match=r"'meV/atom' but run\.json says 'eV/atom'"):
        build_summary(run)


def test_no_folder_is_an_error_of_its_own(tmp_path):
    with pytest.raises(RunFolderError, match="there is no run folder"):
        build_summary(tmp_path / "nowhere")


def test_no_rejected_file_is_needed_when_nothing_was_rejected(make_run):
    run = make_run(n_rejected=0)
    (run / "rejected.csv").unlink()
    assert build_summary(run)["rejected"] == {"count": 0, "by_category": {}}
