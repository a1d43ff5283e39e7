"""cluster.yaml: what Ray's own schema accepts, who gets in, and whether what a run asks for has a place."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.node_provider_availability_tracker import NodeAvailabilitySummary
from ray.autoscaler._private.resource_demand_scheduler import (
    _default_utilization_scorer,
    get_bin_pack_residual,
    get_nodes_for,
)
from ray.autoscaler._private.util import prepare_config, validate_config

FILE = Path(__file__).parents[2] / "cluster.yaml"


def on_aws() -> dict[str, Any]:
    return dict(yaml.safe_load(FILE.read_text("utf-8")))


def at_hand() -> dict[str, Any]:
    """The file as somebody with machines at hand edits it: one block out, the other one in."""
    text = FILE.read_text("utf-8")
    text = re.sub(r"(?s)# === AWS begins ===.*# === AWS ends ===\n", "", text)
    block = re.search(r"(?s)# === Machines.*begin ===\n(.*)# === Machines.*end ===\n", text)
    assert block is not None
    uncommented = re.sub(r"(?m)^# ?", "", block[1])
    return dict(yaml.safe_load(text.replace(block[0], uncommented)))


@pytest.mark.parametrize("edited", [on_aws, at_hand])
def test_ray_accepts_it(edited: Any) -> None:
    config = prepare_config(edited())
    validate_config(config)
    assert config["provider"]["type"] == {on_aws: "aws", at_hand: "local"}[edited]


def test_the_head_has_no_gpu_and_workers_start_from_zero() -> None:
    config = prepare_config(on_aws())
    types = config["available_node_types"]
    assert "GPU" not in types[config["head_node_type"]]["resources"]
    assert types["gpu"]["min_workers"] == 0
    assert types["gpu"]["max_workers"] == config["max_workers"] > 0


def test_every_node_starts_with_the_token_and_the_dashboard_stays_on_loopback() -> None:
    config = prepare_config(on_aws())
    starts = {
        role: [c for c in config[f"{role}_start_ray_commands"] if "ray start" in c]
        for role in ("head", "worker")
    }
    assert all(len(commands) == 1 for commands in starts.values())
    assert all("RAY_AUTH_MODE=token" in commands[0] for commands in starts.values())
    assert "--dashboard-host=127.0.0.1" in starts["head"][0]
    # Where Ray looks for it, on the nodes and on the machine of whoever launches.
    mounts = config["file_mounts"].items()
    assert ("/home/ubuntu/.ray/auth_token", "~/.ray/auth_token") in mounts
    assert "chmod 600 ~/.ray/auth_token" in config["initialization_commands"]
    # The token itself is in no file of the project.
    assert "RAY_AUTH_TOKEN=" not in FILE.read_text("utf-8")


def test_the_package_is_installed_with_the_versions_that_ci_passed_with() -> None:
    config = on_aws()
    installs = [c for c in config["setup_commands"] if "--constraint" in c]
    assert len(installs) == 1
    assert installs[0].endswith("~/gpnet-ray")
    assert config["file_mounts"]["/home/ubuntu/gpnet-ray"] == "."


def test_a_run_on_gpus_starts_gpu_nodes_and_its_labellers_stay_on_the_head() -> None:
    config = prepare_config(on_aws())
    types, head = config["available_node_types"], config["head_node_type"]
    free = [dict(types[head]["resources"])]
    labellers = [{"CPU": 1}] * 2
    waiting, _ = get_bin_pack_residual(free, labellers)
    assert waiting == []
    # The Gaussian process and two shards with a GPU each, and four that share one.
    scorer = partial(
        _default_utilization_scorer, node_availability_summary=NodeAvailabilitySummary({})
    )
    for actors, nodes in (([{"CPU": 1, "GPU": 1}] * 3, 3), ([{"CPU": 1, "GPU": 0.25}] * 4, 1)):
        to_start, nowhere = get_nodes_for(
            types, {head: 1}, head, config["max_workers"], actors, scorer
        )
        assert to_start == {"gpu": nodes}
        assert nowhere == []
