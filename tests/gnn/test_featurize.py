from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gpnet_ray.errors import InputError
from gpnet_ray.gnn.featurize import Featurizer
from gpnet_ray.gnn.initial_weights import draw_weights
from gpnet_ray.gnn.network_state import NetworkState


@pytest.fixture(scope="module")
def state(tiniest_network) -> NetworkState:
    return NetworkState(
        config=tiniest_network,
        weights=draw_weights(tiniest_network, seed=0),
        target_mean=-2.0,
        target_scale=3.0,
        target="t",
        unit="eV/atom",
    )


@pytest.fixture(scope="module")
def featurizer(state) -> Featurizer:
    return Featurizer(state)


def test_a_crystal_has_the_same_latents_alone_in_a_crowd_and_in_any_order(featurizer, graphs):
    ids, latents, predictions = featurizer.featurize(graphs)
    assert ids == graphs.ids
    assert latents.dtype == np.float32
    assert latents.shape == (len(graphs), 8)
    assert predictions.dtype == np.float64
    order = list(np.random.default_rng(0).permutation(graphs.ids))
    shuffled_ids, shuffled, shuffled_predictions = featurizer.featurize(graphs.select(order))
    assert shuffled_ids == tuple(order)
    rows = [graphs.ids.index(name) for name in order]
    # float32 sums in another order.
    np.testing.assert_allclose(shuffled, latents[rows], atol=1e-6)
    np.testing.assert_allclose(shuffled_predictions, predictions[rows], atol=3e-6)
    for name in (graphs.ids[0], graphs.ids[4]):
        _, alone, _ = featurizer.featurize(graphs.select([name]))
        np.testing.assert_allclose(alone[0], latents[graphs.ids.index(name)], atol=1e-6)


@pytest.mark.usefixtures("sums_in_one_order")
def test_the_stream_gives_every_id_once_with_the_same_numbers(featurizer, graphs):
    _, latents, predictions = featurizer.featurize(graphs)
    seen: dict[str, tuple[np.ndarray, float]] = {}
    for batch in featurizer.run(graphs):
        for name, latent, prediction in zip(
            batch.ids, batch.latents, batch.predictions, strict=True
        ):
            assert name not in seen
            seen[name] = (latent, prediction)
    assert set(seen) == set(graphs.ids)
    for i, name in enumerate(graphs.ids):
        np.testing.assert_array_equal(seen[name][0], latents[i])
        assert seen[name][1] == predictions[i]


def test_the_prediction_is_the_last_layer_on_the_latents_in_the_targets_unit(
    featurizer, state, graphs
):
    _, latents, predictions = featurizer.featurize(graphs, layer="readout_1")
    assert latents.shape == (len(graphs), 4)
    scaled = latents @ state.weights["readout_2/kernel"] + state.weights["readout_2/bias"]
    # float32 sums of four numbers.
    np.testing.assert_allclose(predictions, 3.0 * scaled[:, 0] - 2.0, atol=3e-6)


def test_readout_1_follows_from_readout_0(featurizer, state, graphs):
    _, first, _ = featurizer.featurize(graphs, layer="readout_0")
    _, second, _ = featurizer.featurize(graphs, layer="readout_1")
    hidden = first @ state.weights["readout_1/kernel"] + state.weights["readout_1/bias"]
    # megnet's softplus: ln((1 + exp x) / 2); float32.
    np.testing.assert_allclose(second, np.logaddexp(hidden, 0) - np.log(2), atol=1e-6)


def test_other_cutoffs_are_refused(featurizer, graphs):
    with pytest.raises(InputError, match="5 Å"):
        featurizer.featurize(dataclasses.replace(graphs, cutoff_angstrom=5.0))


def test_no_crystals_give_no_latents(featurizer, graphs):
    ids, latents, predictions = featurizer.featurize(graphs.select([]))
    assert (ids, latents.shape, predictions.shape) == ((), (0, 8), (0,))
