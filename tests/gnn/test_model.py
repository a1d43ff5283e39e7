"""Our compiled function against megnet's own Keras model with the same weights."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from gpnet_ray.config import LAYERS, NetworkConfig
from gpnet_ray.gnn._megnet import build_keras_model
from gpnet_ray.gnn.architecture import layer_width, weight_shapes
from gpnet_ray.gnn.batching import BatchShape, pad_batch
from gpnet_ray.gnn.global_state import StateScaling
from gpnet_ray.gnn.initial_weights import draw_weights, keras_weights
from gpnet_ray.gnn.model import Activations, apply_network, pack, to_tensors, unpack

N_CRYSTALS = 12


class Case(NamedTuple):
    network: NetworkConfig
    weights: dict[str, np.ndarray]
    keras_model: tf_keras.Model
    keras_inputs: list[tf.Tensor]
    targets: np.ndarray
    ours: dict[str, np.ndarray]
    our_gradients: dict[str, np.ndarray]


@pytest.fixture(scope="module", params=["two zeros", "three global features"])
def case(request, graphs, graphs_with_features, tiny_network, keras_inputs) -> Case:
    network = tiny_network
    if request.param == "three global features":
        features = graphs_with_features.global_features
        network = network.model_copy(update={"global_features": features})
        graphs = graphs_with_features.scaled(StateScaling.fit(graphs_with_features.state, features))
    rng = np.random.default_rng(0)
    weights = draw_weights(network, seed=5)
    # Biases away from their starting values, where a wrong sign or a missing bias would not show.
    weights = {
        name: (w + 0.3 * rng.standard_normal(w.shape)).astype(np.float32)
        for name, w in weights.items()
    }
    targets = rng.standard_normal(N_CRYSTALS).astype(np.float32)
    keras_model = build_keras_model(network)
    keras_model.set_weights(list(weights.values()))

    rows = np.arange(N_CRYSTALS)[::-1].copy()
    part = graphs.select([graphs.ids[row] for row in rows])
    shape = BatchShape(
        crystals=N_CRYSTALS + 5,
        atoms=int(part.n_atoms().sum()) + 37,
        bonds=int(part.n_bonds().sum()) + 211,
    )
    tensors = to_tensors(pad_batch(graphs, rows, shape))

    def forward_and_gradient(vector: tf.Tensor) -> tuple[Activations, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(vector)
            out = apply_network(unpack(vector, network), tensors, network)
            loss = tf.reduce_mean(tf.square(out.prediction[:N_CRYSTALS] - targets))
        return out, tape.gradient(loss, vector)

    compiled = tf.function(forward_and_gradient, jit_compile=True)
    out, gradient = compiled(tf.constant(pack(weights, network)))
    ours = {"prediction": out.prediction, **out.layers}
    ours = {name: value.numpy()[:N_CRYSTALS] for name, value in ours.items()}
    our_gradients = {k: v.numpy() for k, v in unpack(gradient, network).items()}
    return Case(
        network, weights, keras_model, keras_inputs(part, network), targets, ours, our_gradients
    )


def test_outputs_and_every_latent_layer_are_those_of_megnets_own_model(case):
    model = case.keras_model
    # megnet names all but this one layer.
    (concatenate,) = (la for la in model.layers if isinstance(la, tf_keras.layers.Concatenate))
    layers = {
        name: concatenate if name == "concatenate" else model.get_layer(name) for name in LAYERS
    }
    outputs = tf_keras.Model(model.inputs, [model.output, *(la.output for la in layers.values())])
    prediction, *activations = outputs(case.keras_inputs)
    theirs = {"prediction": prediction[0, :, 0].numpy()}
    for name, value in zip(layers, activations, strict=True):
        theirs[name] = value[0].numpy()
        assert theirs[name].shape == (N_CRYSTALS, layer_width(case.network, name))
    assert set(case.ours) == set(theirs)
    for name, expected in theirs.items():
        # float32 has 6e-8; sums over some 700 bonds in another order cost about a digit. The pooled
        # vectors cost half a digit more: attention is the exponential of a logit, whose rounding it magnifies.
        pooled = name in ("concatenate", "set2set_atom", "set2set_bond")
        tolerance = (3e-6 if pooled else 1e-6) * max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(case.ours[name], expected, rtol=0, atol=tolerance)


def test_gradients_are_those_of_megnets_own_model(case):
    with tf.GradientTape() as tape:
        prediction = case.keras_model(case.keras_inputs)[0, :, 0]
        loss = tf.reduce_mean(tf.square(prediction - case.targets))
    gradients = tape.gradient(loss, case.keras_model.trainable_variables)
    assert len(gradients) == len(case.our_gradients)
    for name, gradient in zip(weight_shapes(case.network), gradients, strict=True):
        expected = tf.convert_to_tensor(gradient).numpy()  # the embedding's is sparse
        largest = np.abs(expected).max()
        # Sums over thousands of bonds, with cancellation: 7e-5 was seen on larger networks.
        np.testing.assert_allclose(
            case.our_gradients[name], expected, rtol=0, atol=1e-4 * largest + 1e-9, err_msg=name
        )


def test_weights_are_drawn_anew_for_every_kernel_and_equal_for_equal_seeds(tiny_network):
    weights = draw_weights(tiny_network, seed=1)
    again, other = draw_weights(tiny_network, seed=1), draw_weights(tiny_network, seed=2)
    kernels = [w.tobytes() for name, w in weights.items() if w.ndim == 2]
    assert len(set(kernels)) == len(kernels)
    for name, w in weights.items():
        np.testing.assert_array_equal(w, again[name])
        assert w.ndim == 1 or not np.array_equal(w, other[name])
    n3 = tiny_network.n3
    forget = np.repeat([0.0, 1.0, 0.0, 0.0], n3)
    np.testing.assert_array_equal(weights["set2set_atom/recurrent_bias"], forget)


def test_every_kernel_has_the_spread_of_megnets_own(tiny_network):
    wide = NetworkConfig(n_blocks=1)
    ours = draw_weights(wide, seed=0)
    theirs = keras_weights(build_keras_model(wide), wide)
    for name, w in ours.items():
        if w.size > 1000:
            # The spread of 1,000 and more uniform numbers is known to 2 %; three times that.
            assert w.std() == pytest.approx(theirs[name].std(), rel=0.06), name
        elif w.ndim == 1:
            np.testing.assert_array_equal(w, theirs[name])
