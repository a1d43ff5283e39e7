"""Settings of a campaign that takes seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpnet_ray.config import Config
from gpnet_ray.config_layers import load_config

TINY: dict[str, Any] = {
    "data.hypothetical_count": 90,
    "split.n_train": 30,
    "split.n_test": 20,
    "network.n_blocks": 1,
    "network.n_gaussians": 20,
    "network.n1": 16,
    "network.n2": 8,
    "network.n3": 4,
    "network.set2set_passes": 1,
    "training.epochs": 3,
    "training.batch_size": 16,
    "selection.cycles": 12,
    "retraining.when": "never",
    "resources.shards": 2,
}


def tiny_config(runs_dir: Path, **overrides: Any) -> Config:
    return load_config(overrides={**TINY, "runs_dir": runs_dir, **overrides})
