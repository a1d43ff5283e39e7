"""The labels that a run starts with: an oracle that does not work is noticed soon and can be mended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.logged_oracle import LoggedOracle
from support.small_campaign import NETWORK, final_state, network

from gpnet_ray.campaign.campaign import Campaign
from gpnet_ray.campaign.journal import read_journal
from gpnet_ray.config import Config
from gpnet_ray.data.hypothetical_oxides import hypothetical_dataset
from gpnet_ray.errors import ClusterError, GpnetError, OracleError
from gpnet_ray.progress import NullProgress

N_START = 30


def run(folder: Path, oracle: LoggedOracle, *, resources: Any = None, **how: bool) -> None:
    config = Config.model_validate(
        {
            "name": "small",
            "runs_dir": folder,
            "data": {"hypothetical_count": 40, "label_pool_beforehand": False},
            "split": {"n_train": 20, "n_test": 10},
            "selection": {"cycles": 2},
            "labels": {"tries": 1},
            "resources": {"labellers": 1, **(resources or {})},
        }
    )
    dataset = hypothetical_dataset(40, seed=0, progress=NullProgress())
    Campaign(dataset, config, oracle=oracle).run(**how)


class WorksNot(LoggedOracle):
    def label(self, ids: Any, structures: Any) -> Any:
        super().label(ids, structures)
        raise OSError("no licence")


def test_an_oracle_that_labels_nothing_is_not_asked_for_everything(
    small_ray: None, tmp_path: Path
) -> None:
    oracle = WorksNot(tmp_path / "calls", seconds=0.5)
    with pytest.raises(OracleError, match=r"10 of 10 materials .*: 10 × OSError: no licence"):
        run(tmp_path, oracle)
    # One more may have been on its way.
    assert len(oracle.calls()) <= 11 < N_START
    # Mended, but not told to try again: what has failed stays failed.
    mended = LoggedOracle(tmp_path / "calls after")
    with pytest.raises(OracleError, match="10 × OSError: no licence"):
        run(tmp_path, mended, resume=True)
    assert mended.calls() == []


def test_failed_labels_are_asked_for_again_on_request(small_ray: None, tmp_path: Path) -> None:
    with pytest.raises(OracleError):
        run(tmp_path, WorksNot(tmp_path / "calls", seconds=0.5))

    class ThenStops(LoggedOracle):
        """Ends the run after the start's labels, before anything is trained."""

        def label(self, ids: Any, structures: Any) -> Any:
            outcomes = super().label(ids, structures)
            return outcomes if len(self.calls()) < N_START else outcomes[:-1]

    mended = ThenStops(tmp_path / "calls after")
    with pytest.raises(GpnetError):
        run(tmp_path, mended, resume=True, retry_failed=True)
    events = read_journal(tmp_path / "small" / "journal.jsonl")
    retried = next(e["ids"] for e in events if e["event"] == "retry")
    assert len(retried) == 10
    labelled = {
        e["outcome"]["material_id"]: e["outcome"]["tries"]
        for e in events
        if e["event"] == "label" and e["outcome"]["status"] == "ok"
    }
    assert all(labelled[i] == 2 for i in retried)


def test_nothing_is_bought_where_the_cluster_lacks_the_gpus_for_what_follows(
    small_ray: None, tmp_path: Path
) -> None:
    oracle = LoggedOracle(tmp_path / "calls")
    resources = {"gp": {"gpus": 0.5}, "start_deadline_seconds": 1}
    with pytest.raises(ClusterError, match="no place after 1 s") as error:
        run(tmp_path, oracle, resources=resources)
    assert "0.5 GPU" in str(error.value)
    assert "0 of 0 GPU" in str(error.value)
    assert oracle.calls() == []
    assert not (tmp_path / "small").exists(), "an empty run was left behind"


def bought_with_a_measured_pool(folder: Path, **how: bool) -> list[str]:
    """Run a campaign of two strategies on a network that is given; what the oracle was asked for."""
    config = Config.model_validate(
        {
            "name": "small",
            "runs_dir": folder,
            "data": {"hypothetical_count": 40, "label_pool_beforehand": True},
            "split": {"n_train": 20, "n_test": 10},
            "network": NETWORK,
            "gp": {"max_evaluations": 5},
            "selection": {"cycles": 4, "strategies": ["max-sigma", "random"]},
            "retraining": {"when": "never"},
            "resources": {"labellers": 1},
        }
    )
    dataset = hypothetical_dataset(40, seed=0, progress=NullProgress())
    oracle = LoggedOracle(folder / "calls")
    given = network(dataset.target, dataset.unit)
    Campaign(dataset, config, oracle=oracle, network=given).run(**how)
    return [call.material_id for call in oracle.calls()]


@pytest.mark.long
def test_a_pool_that_is_labelled_beforehand_is_bought_once(small_ray: None, tmp_path: Path) -> None:
    asked = bought_with_a_measured_pool(tmp_path)
    assert len(asked) == len(set(asked)) == 40
    picks = final_state(tmp_path)["picks"]
    assert set(picks["status"]) == {"ok"}
    # Stopped before the second strategy's first label, it goes on without asking for anything.
    journal = tmp_path / "small" / "journal.jsonl"
    kinds = [event["event"] for event in read_journal(journal)]
    stop = kinds.index("label", kinds.index("cycle"))
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:stop]))
    assert bought_with_a_measured_pool(tmp_path, resume=True) == asked
    pd.testing.assert_frame_equal(final_state(tmp_path)["picks"], picks)
