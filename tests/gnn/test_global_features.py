"""Numbers that describe a whole crystal: learned from, kept with the network, never mixed up."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gpnet_ray.config import Config, NetworkConfig, TrainingConfig
from gpnet_ray.errors import DataError, InputError
from gpnet_ray.gnn.architecture import weight_shapes
from gpnet_ray.gnn.featurize import Featurizer
from gpnet_ray.gnn.global_state import StateScaling
from gpnet_ray.gnn.graphs import CrystalGraphs, build_graphs
from gpnet_ray.gnn.network_state import NetworkState, load_network_state
from gpnet_ray.gnn.training import Trainer
from gpnet_ray.gnn.training_set import training_fingerprint

TRAINING = TrainingConfig(epochs=40, batch_size=8, peak_learning_rate=3e-2, validation_fraction=0.2)


def with_features(network: NetworkConfig, graphs: CrystalGraphs) -> NetworkConfig:
    return network.model_copy(update={"global_features": graphs.global_features})


def train(graphs: CrystalGraphs, y: np.ndarray, network: NetworkConfig, **more) -> Trainer:
    settings = {"training": TRAINING, "seed": 3, "target": "t", "unit": "eV/atom", **more}
    trainer = Trainer(graphs, y, network=with_features(network, graphs), **settings)
    for _ in trainer.run():
        pass
    return trainer


@pytest.fixture(scope="module")
def by_pressure(graphs_with_features) -> np.ndarray:
    """A target that only the pressure decides: of the crystals themselves nothing can be learned."""
    return 0.1 * graphs_with_features.state[:, 1]


@pytest.fixture(scope="module")
def trained(graphs_with_features, by_pressure, tiniest_network) -> NetworkState:
    return train(graphs_with_features, by_pressure, tiniest_network).best_state()


def held_out_mae(state: NetworkState, graphs: CrystalGraphs, y: np.ndarray) -> float:
    value = dict(zip(graphs.ids, y, strict=True))
    ids, _, predicted = Featurizer(state).featurize(graphs.select(state.held_out_ids))
    return float(np.abs(predicted - [value[i] for i in ids]).mean())


def test_training_is_judged_by_crystals_that_it_knows_under_no_condition(
    structures, graphs, learnable_targets, tiniest_network
):
    names, made = [], []
    for name, structure in zip(graphs.ids, structures, strict=True):
        for pressure in (0.0, 20.0, 40.0):
            copy = structure.copy()
            copy.properties["pressure_GPa"] = pressure
            names.append(f"{name}@{pressure:g}")
            made.append(copy)
    features = ("pressure_GPa",)
    built, _ = build_graphs(names, made, cutoff_angstrom=4.0, global_features=features)
    assert len(set(built.crystals)) == len(graphs)
    assert built.select(names[::-1]).crystals == built.crystals[::-1]
    network = tiniest_network.model_copy(update={"global_features": features})
    settings = {"training": TRAINING, "seed": 3, "target": "t", "unit": "eV/atom"}
    trainer = Trainer(built, np.repeat(learnable_targets, 3), network=network, **settings)
    train, held_out = (
        {name.split("@")[0] for name in part}
        for part in (trainer.train_ids, trainer.validation_ids)
    )
    assert not train & held_out
    assert train | held_out == set(graphs.ids)
    # Without features an id is a crystal of its own, whatever the crystal: as it always was.
    assert graphs.crystal_of() is None


def test_a_target_that_only_a_feature_decides_is_learned_from_it(
    trained, graphs, graphs_with_features, by_pressure, tiniest_network
):
    guess = np.abs(by_pressure - by_pressure.mean()).mean()
    without = train(graphs, by_pressure, tiniest_network).best_state()
    # Of crystals that it has not seen; measured: 0.04 and 0.95 of the error of guessing the mean.
    assert held_out_mae(trained, graphs_with_features, by_pressure) < 0.2 * guess
    assert held_out_mae(without, graphs, by_pressure) > 0.6 * guess


def test_features_are_scaled_on_the_train_part_alone(trained, graphs_with_features):
    ids = [i for i in graphs_with_features.ids if i not in trained.held_out_ids]
    state = graphs_with_features.select(ids).state
    assert trained.state_scaling.mean == pytest.approx(state.mean(axis=0), rel=1e-12)
    assert trained.state_scaling.scale == pytest.approx(state.std(axis=0), rel=1e-12)


def test_a_saved_network_reads_features_as_before(trained, graphs_with_features, tmp_path):
    trained.save(tmp_path)
    read = load_network_state(tmp_path)
    assert read.fingerprint() == trained.fingerprint()
    some = graphs_with_features.select(graphs_with_features.ids[:5])
    ours, theirs = (Featurizer(state).featurize(some)[1:] for state in (read, trained))
    for one, other in zip(ours, theirs, strict=True):
        assert np.abs(one - other).max() == 0.0


def test_training_on_from_a_network_keeps_its_scaling(
    trained, graphs_with_features, by_pressure, tiniest_network
):
    hotter = dataclasses.replace(graphs_with_features, state=graphs_with_features.state + 50.0)
    one_epoch = TRAINING.model_copy(update={"epochs": 1})
    again = train(hotter, by_pressure, tiniest_network, initial=trained, training=one_epoch)
    assert again.best_state().state_scaling == trained.state_scaling


def test_graphs_of_other_features_than_the_networks_are_refused(
    trained, graphs, graphs_with_features, by_pressure, tiniest_network
):
    names = graphs_with_features.global_features
    swapped = dataclasses.replace(graphs_with_features, global_features=names[::-1])
    for other in (graphs, swapped):
        with pytest.raises(
            InputError, match=r"the network reads \['temperature_K', 'pressure_GPa'"
        ):
            Featurizer(trained).featurize(other)
    network = with_features(tiniest_network, graphs_with_features)
    settings = {"network": network, "training": TRAINING, "seed": 0, "target": "t", "unit": "eV"}
    with pytest.raises(InputError, match="the graphs have the global features"):
        Trainer(swapped, by_pressure, **settings)


def test_a_feature_with_one_value_teaches_nothing_and_is_refused(
    graphs_with_features, by_pressure, tiniest_network
):
    state = graphs_with_features.state.copy()
    state[:, 1] = 0.1
    same = dataclasses.replace(graphs_with_features, state=state)
    with pytest.raises(InputError, match=r"pressure_GPa is 0\.1 for all \d+ crystals"):
        train(same, by_pressure, tiniest_network)


@pytest.mark.parametrize("value", [None, np.nan, np.inf, "5", True, [5.0]])
def test_a_crystal_without_a_number_is_set_aside_with_the_reason(structures, value):
    first, second, third = (structure.copy() for structure in structures[:3])
    first.properties["pressure_GPa"], third.properties["pressure_GPa"] = 1, 3.5
    if value is not None:
        second.properties["pressure_GPa"] = value
    graphs, (rejected,) = build_graphs(
        ["a", "b", "c"],
        [first, second, third],
        cutoff_angstrom=4.0,
        global_features=["pressure_GPa"],
    )
    assert graphs.ids == ("a", "c")
    assert graphs.select(["c", "a"]).state.tolist() == [[3.5], [1.0]]
    assert (rejected.material_id, rejected.category) == ("b", "no global feature")
    assert f"pressure_GPa: {value!r}" in rejected.reason


def test_numbers_of_numpy_are_numbers_too_and_its_true_is_none(structures):
    some = [structure.copy() for structure in structures[:3]]
    for structure, value in zip(some, (np.float32(0.5), np.int64(2), np.True_), strict=True):
        structure.properties["pressure_GPa"] = value
    graphs, (rejected,) = build_graphs(
        ["a", "b", "c"], some, cutoff_angstrom=4.0, global_features=["pressure_GPa"]
    )
    assert graphs.state.tolist() == [[0.5], [2.0]]
    assert rejected.material_id == "c"


def test_where_no_crystal_has_the_number_the_message_says_what_to_do(structures):
    with pytest.raises(DataError, match=r"no global feature.*--global-feature"):
        build_graphs(["a"], structures[:1], cutoff_angstrom=4.0, global_features=["pressure_GPa"])


def test_the_hash_of_a_network_depends_on_the_scaling_of_its_features(trained):
    mean, scale = trained.state_scaling.mean, trained.state_scaling.scale
    moved = StateScaling((mean[0] + 1e-9, *mean[1:]), scale)
    assert dataclasses.replace(trained, state_scaling=moved).fingerprint() != trained.fingerprint()


def test_the_hash_of_a_training_depends_on_the_values_of_its_features(
    graphs_with_features, by_pressure, tiniest_network
):
    def fingerprint(state: np.ndarray) -> str:
        graphs = dataclasses.replace(graphs_with_features, state=state)
        network = with_features(tiniest_network, graphs)
        settings = {"network": network, "training": TRAINING, "seed": 0, "initial": None}
        return training_fingerprint(graphs, by_pressure, **settings)

    state = graphs_with_features.state
    moved = state.copy()
    moved[7, 2] += 1e-12
    assert fingerprint(state) == fingerprint(state.copy())
    assert fingerprint(state) != fingerprint(moved)


def test_without_features_networks_keep_the_hash_that_they_had_before_there_were_any(
    tiniest_network,
):
    weights = {
        name: np.zeros(shape, np.float32) for name, shape in weight_shapes(tiniest_network).items()
    }
    state = NetworkState(
        tiniest_network, weights, -2.0, 0.5, "formation_energy_per_atom", "eV/atom"
    )
    assert state.fingerprint() == (
        "a065974ffef3177c937608603d25613a10b4be4c82690604ee0d2819df1a615f"
    )
    assert "network.global_features" not in Config().science()


@pytest.mark.parametrize(
    ("mean", "scale"), [((1.0,), ()), ((np.nan,), (1.0,)), ((1.0,), (0.0,)), ((1.0,), (np.inf,))]
)
def test_a_scaling_that_cannot_be_one_is_refused(mean, scale):
    with pytest.raises(InputError, match="scaling of the global features"):
        StateScaling(mean, scale)
