"""A pretrained network brings its architecture; what contradicts it is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from gpnet_ray.campaign.pretraining import with_asked_layer, with_pretrained
from gpnet_ray.campaign.surrogate import load_network
from gpnet_ray.cli import app
from gpnet_ray.config import Config, NetworkConfig
from gpnet_ray.config_layers import load_config
from gpnet_ray.errors import InputError
from gpnet_ray.gnn.architecture import weight_shapes
from gpnet_ray.gnn.global_state import StateScaling
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.progress import NullProgress

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


def test_the_default_that_was_asked_for_is_refused_like_any_other_value(saved, tmp_path):
    overrides = {"training.pretrained": saved, "network.cutoff_angstrom": 4.0}
    said = r"network\.cutoff_angstrom: 4\.0 asked, 5\.0 there"
    with pytest.raises(InputError, match=said):
        with_pretrained(load_config(overrides=overrides))
    (tmp_path / "mine.yaml").write_text("network: {cutoff_angstrom: 4.0}")
    with pytest.raises(InputError, match=said):
        with_pretrained(load_config(file=tmp_path / "mine.yaml", overrides=overrides))
    # A configuration that a run has saved holds all settings, and nobody asked for each of them.
    whole = Config().model_dump(mode="json") | {"training": {"pretrained": saved}}
    assert with_pretrained(Config.model_validate(whole))[0].network == SMALL


def test_what_the_network_brings_is_said(saved):
    said = []

    class Said(NullProgress):
        def line(self, text: str) -> None:
            said.append(text)

    overrides = {"training.pretrained": saved, "network.n1": 12}
    config, _ = with_pretrained(load_config(overrides=overrides), Said())
    (line,) = said
    assert "cutoff_angstrom 5.0 instead of 4.0" in line
    assert "n1 " not in line
    with_pretrained(config, Said())
    assert len(said) == 1


def test_a_networks_latents_are_of_the_layer_that_was_asked_for_however_it_was(saved):
    network = load_network(saved)

    def layer(option: str | None, **overrides: object) -> str:
        return with_asked_layer(network, load_config(overrides=overrides), option).config.layer

    assert layer(None) == "readout_0"
    assert layer("readout_1", **{"network.layer": "readout_1"}) == "readout_1"
    assert layer(None, **{"network.layer": "set2set_bond"}) == "set2set_bond"
    assert layer(None, **{"network.cutoff_angstrom": 5.0}) == "readout_0"
    with pytest.raises(InputError, match=r"network\.n1: 64 asked, 12 there"):
        layer(None, **{"network.n1": 64})


@pytest.mark.parametrize("command", [("featurize",), ("pool", "build")])
def test_the_commands_that_make_latents_take_the_layer_from_any_setting(
    saved, command, tmp_path, monkeypatch
):
    asked = []

    def instead(_out, _source, network, **_):
        asked.append(network.config.layer)
        names = ("n_featurised", "layer", "n_rejected", "kind")
        return dict.fromkeys(names, "") | {"shards": []}

    monkeypatch.setattr("gpnet_ray.campaign.surrogate_use.featurise_into", instead)
    monkeypatch.setattr("gpnet_ray.campaign.pool_build.build_pool", instead)
    pool = ("hypothetical-oxides:5",)
    if command[0] == "pool":
        pool = ("--from", "hypothetical-oxides", "--count", "5", "--network")
    named = (*pool, str(saved)) if command[0] == "pool" else (str(saved), *pool)
    given = (*command, *named, "--out", str(tmp_path / "out"))
    for more in (("--set", "network.layer=readout_1"), ()):
        done = CliRunner().invoke(app, [*given, *more])
        assert done.exit_code == 0, done.output
    assert asked == ["readout_1", "readout_0"]
    done = CliRunner().invoke(app, [*given, "--set", "network.n1=64"])
    assert isinstance(done.exception, InputError)


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
