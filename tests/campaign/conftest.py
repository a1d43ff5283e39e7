"""One finished campaign on a few embedded oxides, with every strategy; the tests look at its files."""

from __future__ import annotations

from typing import Any

import pytest
from support.tiny_campaign import tiny_config


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
