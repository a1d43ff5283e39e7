"""A small campaign that keeps its run in a storage: a given network, a logged oracle, one arm."""

from __future__ import annotations

from pathlib import Path

from support.logged_oracle import LoggedOracle
from support.small_campaign import NETWORK, network

from gpnet_ray.campaign.campaign import Campaign, CampaignResult
from gpnet_ray.config import Config
from gpnet_ray.data.hypothetical_oxides import hypothetical_dataset
from gpnet_ray.progress import NullProgress

__all__ = ["N_START", "run"]

N_START = 12 + 4
"""Train and test rows: labels that are bought before the loop."""


def run(runs_dir: Path, calls: Path, storage: str, *, resume: bool = False) -> CampaignResult:
    """Begin the run ``small``, or go on with it; every label is a line in ``calls``."""
    config = Config.model_validate(
        {
            "name": "small",
            "runs_dir": runs_dir,
            "data": {"hypothetical_count": 40, "label_pool_beforehand": False},
            "split": {"n_train": 12, "n_test": 4},
            "network": NETWORK,
            "gp": {"max_evaluations": 5},
            "selection": {"cycles": 12, "strategies": ["max-sigma"]},
            "retraining": {"when": "never"},
            "resources": {"shards": 1, "labellers": 2},
            "storage": {"uri": storage, "give_up_after_seconds": 30},
        }
    )
    dataset = hypothetical_dataset(40, seed=0, progress=NullProgress())
    oracle = LoggedOracle(calls, seconds=0.25)
    given = network(dataset.target, dataset.unit)
    return Campaign(dataset, config, oracle=oracle, network=given).run(resume=resume)
