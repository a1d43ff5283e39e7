"""One finished campaign on a few embedded oxides, with every strategy; the tests look at its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gpnet_ray.config import Config, load_config

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
    "resources.shards": 2,
}


def tiny_config(runs_dir: Path, **overrides: Any) -> Config:
    return load_config(overrides={**TINY, "runs_dir": runs_dir, **overrides})


@pytest.fixture(scope="session")
def finished(small_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from gpnet_ray import Campaign, IonicOracle, hypothetical_dataset
    from gpnet_ray.progress import NullProgress

    config = tiny_config(
        tmp_path_factory.mktemp("runs"),
        name="finished",
        **{"selection.strategies": ["max-sigma", "random", "distance"]},
    )
    dataset = hypothetical_dataset(90, seed=config.seed, progress=NullProgress())
    return Campaign(dataset, config, oracle=IonicOracle()).run()
