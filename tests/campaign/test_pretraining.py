"""A pretrained network brings its architecture; what contradicts it is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gpnet_ray.campaign.pretraining import with_pretrained
from gpnet_ray.config import Config, NetworkConfig
from gpnet_ray.config_layers import load_config
from gpnet_ray.errors import InputError
from gpnet_ray.gnn.architecture import weight_shapes
from gpnet_ray.gnn.global_state import StateScaling
from gpnet_ray.gnn.network_state import NetworkState

SMALL = NetworkConfig(n_blocks=1, n1=12, n2=8, n3=4, n_gaussians=10, cutoff_angstrom=5.0)


@pytest.fixture
def saved(tmp_path) -> Path:
    weights = {name: np.zeros(shape, np.float32) for name, shape in weight_shapes(SMALL).items()}
    NetworkState(
        config=SMALL,
        weights=weights,
        target_mean=0.0,
        target_scale=1.0,
        target="energy",
        unit="eV/atom",
    ).save(tmp_path / "network")
    return tmp_path / "network"


def test_its_architecture_becomes_that_of_the_run_and_the_layer_stays_the_users(saved):
    overrides = {"training.pretrained": saved, "network.layer": "readout_1"}
    config, network = with_pretrained(load_config(overrides=overrides))
    assert network is not None
    assert config.network == SMALL.model_copy(update={"layer": "readout_1"})
    assert network.config == config.network
    # The resolved settings, as a run's folder keeps them, mean the same again.
    again = Config.model_validate(config.model_dump(mode="json"))
    assert with_pretrained(again)[0] == config


def test_another_architecture_is_refused_by_name(saved):
    overrides = {"training.pretrained": saved, "network.cutoff_angstrom": 6.0}
    with pytest.raises(InputError, match=r"network\.cutoff_angstrom: 6\.0 asked, 5\.0 there"):
        with_pretrained(load_config(overrides=overrides))


@pytest.mark.parametrize("named", [(), ("temperature_K",), ("temperature_K", "pressure_GPa")])
def test_other_global_features_than_the_networks_own_are_refused(tmp_path, named):
    theirs = SMALL.model_copy(update={"global_features": ("pressure_GPa", "temperature_K")})
    weights = {name: np.zeros(shape, np.float32) for name, shape in weight_shapes(theirs).items()}
    scaling = StateScaling((0.0, 300.0), (1.0, 50.0))
    NetworkState(theirs, weights, 0.0, 1.0, "energy", "eV/atom", state_scaling=scaling).save(
        tmp_path / "network"
    )
    overrides = {"training.pretrained": tmp_path / "network", "network.global_features": named}
    with pytest.raises(InputError, match=r"\['pressure_GPa', 'temperature_K'\].*in its order"):
        with_pretrained(load_config(overrides=overrides))
    overrides["network.global_features"] = theirs.global_features
    config, network = with_pretrained(load_config(overrides=overrides))
    assert network is not None
    assert config.network == network.config == theirs
    assert network.state_scaling == scaling


def test_a_run_is_not_told_apart_by_where_the_file_lies(saved):
    config = load_config(overrides={"training.pretrained": saved})
    assert config.science() == Config().science()


def test_without_one_nothing_changes():
    assert with_pretrained(Config()) == (Config(), None)
