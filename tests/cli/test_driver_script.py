"""``scripts/run_campaign.py``, which users copy."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from support.command_line import rows, write_parquet
from support.tiny_campaign import TINY

from gpnet_ray.campaign.journal import read_journal

SCRIPT = Path(__file__).parents[2] / "scripts" / "run_campaign.py"
Script = Callable[..., int]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    """The script in this process, in a folder with a dataset; returns its exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    write_parquet(tmp_path / "oxides.parquet", rows(24))
    network = {key.partition(".")[2]: value for key, value in TINY.items() if "network." in key}
    settings = {
        "network": network,
        "gp": {"max_evaluations": 5},
        "selection": {"strategies": ["random"]},
        "retraining": {"when": "never"},
        "resources": {"shards": 1},
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(settings))
    main = runpy.run_path(str(SCRIPT))["main"]

    def script(*options: str) -> int:
        small = ["--train", "12", "--test", "4", "--epochs", "1", "--cycles", "2"]
        argv = ["oxides.parquet", "--target", "energy", *small, "--config", "tiny.yaml", *options]
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *argv])
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    return script


def test_an_occupied_folder_is_refused_in_one_line_before_anything_is_trained(
    script: Script,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from gpnet_ray.campaign.stages import NetworkStage

    def trained(*_: object, **__: object) -> None:
        raise AssertionError("a network was trained")

    monkeypatch.setattr(NetworkStage, "__enter__", trained)
    folder = tmp_path / "runs" / "mine"
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("years of work")
    assert script("--unit", "eV", "--name", "mine") == 2
    said = capsys.readouterr().err
    assert said.startswith("Error: runs/mine exists already; go on with it by --resume")
    assert len(said.splitlines()) == 1
    assert script("--name", "other") == 2
    assert "'energy' has no unit; give --unit" in capsys.readouterr().err
    assert script("--unit", "eV", "--name", "other", "--resume") == 2
    assert "runs/other holds no run to resume" in capsys.readouterr().err


@pytest.mark.long
def test_what_was_cut_off_goes_on_to_the_same_end_with_the_network_of_its_folder(
    small_ray: None, script: Script, tmp_path: Path
) -> None:
    assert script("--unit", "eV") == 0
    run = tmp_path / "runs" / "oxides"
    picks, network = pq.read_table(run / "picks.parquet"), (run / "network").stat().st_mtime_ns
    lines = (run / "journal.jsonl").read_text().splitlines(keepends=True)
    kinds = [event["event"] for event in read_journal(run / "journal.jsonl")]
    (run / "journal.jsonl").write_text("".join(lines[: kinds.index("network") + 1]))
    assert script("--unit", "eV", "--resume") == 0
    assert (run / "network").stat().st_mtime_ns == network
    kept = ["strategy", "cycle", "material_id", "label"]
    assert pq.read_table(run / "picks.parquet").select(kept).equals(picks.select(kept))
