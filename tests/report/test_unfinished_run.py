"""The report while the run goes on: from what there is, without the journal's lock, and it says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from gpnet_ray.campaign.journal import Journal
from gpnet_ray.errors import RunFolderError
from gpnet_ray.report.page import write_report
from gpnet_ray.report.summary import build_summary

CYCLES = 8


def asked(*ids: str) -> dict[str, Any]:
    return {"event": "asked", "for": "label", "ids": list(ids)}


def label(material_id: str) -> dict[str, Any]:
    outcome = {"status": "ok", "value": -1.0, "reason": "", "tries": 1, "seconds": 0.1}
    return {"event": "label", "outcome": {"material_id": material_id, **outcome}}


def cycle(strategy: str, number: int) -> dict[str, Any]:
    return {
        "event": "cycle",
        "strategy": strategy,
        "cycle": number,
        "ids": [f"{strategy}-{number}"],
        "sigmas": [0.1],
        "radius": None,
    }


def unfinished(run: Path) -> Path:
    """Turn a finished run's folder into that of one whose driver is at work."""
    info = json.loads((run / "run.json").read_text("utf-8"))
    for key in ("network_test_mae", "timings_s"):
        info.pop(key)
    (run / "run.json").write_text(json.dumps({**info, "finished": False}), "utf-8")
    config = yaml.safe_load((run / "config.yaml").read_text("utf-8"))
    config["selection"]["cycles"] = CYCLES
    (run / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    return run


def keep(run: Path, **cycles: int) -> None:
    """Cut metrics and picks to the cycles that an arm has; predictions are of all arms named."""
    names = {name.replace("_", "-"): n for name, n in cycles.items()}
    for table in ("metrics", "picks", "predictions"):
        rows = pq.read_table(run / f"{table}.parquet")
        kept = [
            row
            for row in rows.to_pylist()
            if row["strategy"] in names and row.get("cycle", 0) <= names[row["strategy"]]
        ]
        pq.write_table(type(rows).from_pylist(kept, schema=rows.schema), run / f"{table}.parquet")


def test_a_run_in_its_second_arm_is_drawn_while_its_journal_is_being_written(make_run):
    run = unfinished(make_run(cycles=CYCLES, failed_pick=None))
    keep(run, max_sigma=CYCLES, random=3)
    with Journal(run / "journal.jsonl") as journal:
        journal.append({"event": "run"}, {"event": "network", "fingerprint": "f"})
        journal.append(*(cycle("max-sigma", n) for n in range(1, CYCLES + 1)))
        journal.append(asked("random-1", "random-2", "random-3", "random-4"))
        journal.append(*(label(f"random-{n}") for n in (1, 2, 3)))
        journal.append(*(cycle("random", n) for n in (1, 2, 3)))
        with (run / "journal.jsonl").open("ab") as file:
            file.write(b'{"crc": "0000')  # what the writer is about to finish
        before = (run / "journal.jsonl").read_bytes()
        page = write_report(run).read_text("utf-8")
        assert (run / "journal.jsonl").read_bytes() == before
    assert "<strong>Not finished.</strong> The arm under way is random" in page
    assert "max-sigma: cycle 8 of 8; random: cycle 3 of 8" in page
    assert "The oracle has given 3 values; 1 material asked for have no answer yet" in page
    summary = json.loads((run / "summary.json").read_text("utf-8"))
    assert summary["progress"]["cycles"] == {"max-sigma": 8, "random": 3}
    assert [arm["cycles"] for arm in summary["arms"]] == [8, 3]


def test_a_run_whose_network_is_in_training_has_a_page_that_says_so(make_run):
    run = unfinished(make_run())
    for name in ("metrics", "picks", "predictions", "training_history", "retrainings"):
        (run / f"{name}.parquet").unlink()
    (run / "gp.json").unlink()
    with Journal(run / "journal.jsonl") as journal:
        journal.append({"event": "run"})
        page = write_report(run).read_text("utf-8")
    assert "The network is not trained yet, and no cycle has begun." in page
    assert "Ionic-model energies, not DFT." in page
    assert build_summary(run)["arms"] == []


def test_a_finished_run_is_not_called_unfinished(make_run):
    assert build_summary(make_run())["progress"] is None


def test_a_table_that_is_damaged_is_named_in_an_unfinished_run_too(make_run):
    run = unfinished(make_run())
    (run / "picks.parquet").write_bytes(b"PAR1 and no more")
    with Journal(run / "journal.jsonl") as journal:
        journal.append({"event": "run"})
        with pytest.raises(RunFolderError, match=r"picks\.parquet cannot be read"):
            write_report(run)
