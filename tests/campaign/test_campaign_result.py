"""What a finished campaign hands to Python."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from gpnet_ray.campaign.campaign import CampaignResult
from gpnet_ray.campaign.run_folder import RunFolder


def write_tables(folder: RunFolder, mae: float, picked: str) -> None:
    folder.write_json(folder.summary, {"mae": mae})
    folder.write_table(folder.metrics, pa.table({"test_mae": [mae]}), unit="eV")
    folder.write_table(folder.picks, pa.table({"material_id": [picked]}), unit="eV")


def test_a_result_stays_that_of_its_run_when_another_replaces_it_in_the_folder(
    tmp_path: Path,
) -> None:
    folder, results = RunFolder(tmp_path), []
    for mae, picked in ((0.5, "a"), (0.25, "b")):
        write_tables(folder, mae, picked)
        results.append(CampaignResult.of(folder, tmp_path / "index.html"))
    assert [r.summary["mae"] for r in results] == [0.5, 0.25]
    assert [r.metrics.test_mae.tolist() for r in results] == [[0.5], [0.25]]
    assert [r.picks.material_id.tolist() for r in results] == [["a"], ["b"]]
