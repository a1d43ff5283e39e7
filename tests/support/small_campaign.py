"""A small campaign whose processes are killed by the tests: a given network, a slow logged oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from support.logged_oracle import LoggedOracle

from gpnet_ray.campaign.campaign import Campaign
from gpnet_ray.config import Config, NetworkConfig
from gpnet_ray.data.hypothetical_oxides import hypothetical_dataset
from gpnet_ray.gnn.architecture import weight_shapes
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.progress import NullProgress

__all__ = ["final_state", "journal_of", "network", "oracle_of", "run"]

NETWORK = NetworkConfig(n_blocks=1, n_gaussians=20, n1=16, n2=8, n3=4, set2set_passes=1)


def oracle_of(folder: Path) -> LoggedOracle:
    """The oracle of the campaign in a folder.

    Each label takes 0.26 to 0.78 s, so that no message to a labeller holds two.
    """
    return LoggedOracle(folder / "calls", seconds=0.52)


def journal_of(folder: Path) -> Path:
    return folder / "small" / "journal.jsonl"


def run(
    folder: Path, address: str | None, labellers: int, resources: dict[str, Any] | None = None
) -> None:
    """Begin the campaign, or go on with it; ``resources``: further settings of that section."""
    asked = {"address": address, "shards": 2, "labellers": labellers, **(resources or {})}
    config = Config.model_validate(
        {
            "name": "small",
            "runs_dir": folder,
            "data": {"hypothetical_count": 50, "label_pool_beforehand": False},
            "split": {"n_train": 12, "n_test": 4},
            "network": NETWORK,
            "gp": {"max_evaluations": 5},
            "selection": {"cycles": 8, "strategies": ["max-sigma", "random"]},
            "retraining": {"when": "never"},
            "labels": {"backoff_seconds": 0.1},
            "resources": asked,
        }
    )
    dataset = hypothetical_dataset(50, seed=0, progress=NullProgress())
    campaign = Campaign(
        dataset, config, oracle=oracle_of(folder), network=network(dataset.target, dataset.unit)
    )
    campaign.run(resume=journal_of(folder).is_file())


def final_state(folder: Path) -> dict[str, Any]:
    """Picks with their labels, and metrics, as a finished campaign has them on disk."""
    tables = {
        name: pq.read_table(folder / "small" / f"{name}.parquet").to_pandas()
        for name in ("picks", "metrics")
    }
    # How often it was tried and how long it took are the traces that a fault may leave.
    picks = tables["picks"]
    traces = [name for name in ("tries", "seconds") if name in picks]
    return {"picks": picks.drop(columns=traces), "metrics": tables["metrics"]}


def network(target: str, unit: str) -> NetworkState:
    """A network that was never trained: its latents differ between crystals, that is enough."""
    random = np.random.default_rng(0)
    weights = {
        name: random.normal(0.0, 0.3, shape).astype(np.float32)
        for name, shape in weight_shapes(NETWORK).items()
    }
    return NetworkState(NETWORK, weights, -2.0, 1.0, target, unit)
