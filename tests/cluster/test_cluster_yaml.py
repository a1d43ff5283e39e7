"""cluster.yaml: what Ray's own schema accepts, with a head without GPU and workers from zero."""

from __future__ import annotations

from pathlib import Path

import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

CONFIG = Path(__file__).parents[2] / "cluster.yaml"


def test_ray_accepts_it_and_the_dashboard_stays_on_loopback() -> None:
    config = prepare_config(yaml.safe_load(CONFIG.read_text("utf-8")))
    validate_config(config)
    types = config["available_node_types"]
    assert "GPU" not in types[config["head_node_type"]]["resources"]
    assert types["gpu"]["resources"]["GPU"] == 1
    assert types["gpu"]["min_workers"] == 0
    assert any("--dashboard-host=127.0.0.1" in c for c in config["head_start_ray_commands"])
