"""MEGNet as a pure function of its weights on a padded batch, to be compiled with XLA.

The same mathematics as the Keras model of megnet 1.3.2 (Chen et al., Chem. Mater. 31, 3564 (2019)),
written so that it runs faster: the state is gathered instead of tiled and masked; the first edge
matrix product is split into products per atom, gathered afterwards, and one per bond; bond lengths are
expanded on Gaussians inside the compiled graph; the logarithm in softplus is a polynomial. ``V``, ``E`` and ``U`` are the features of atoms,
bonds and crystals, as ``v``, ``e`` and ``u`` in the paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.polynomial import Chebyshev, Polynomial

from gpnet_ray.config import Layer, NetworkConfig
from gpnet_ray.gnn.architecture import gaussian_centers, n_state, weight_shapes
from gpnet_ray.gnn.batching import PaddedBatch
from gpnet_ray.types import LatentArray

__all__ = ["Activations", "BatchTensors", "apply_network", "pack", "to_tensors", "unpack"]

Weights = Mapping[str, tf.Tensor]

# ln((1 + t) / 2) for t from 0 to 1, to 6e-9, a tenth of the rounding of float32. More than half of a
# forward pass went into softplus; with ten multiply-adds in place of the logarithm it takes 2/3 of the time.
_LOG_POLYNOMIAL: tuple[float, ...] = tuple(
    Chebyshev.interpolate(lambda t: np.log((1.0 + t) / 2.0), 9, domain=[0, 1])
    .convert(kind=Polynomial)
    .coef.tolist()
)


class BatchTensors(NamedTuple):
    """The arrays of a :class:`~gpnet_ray.gnn.batching.PaddedBatch` that the network reads."""

    atomic_numbers: tf.Tensor
    atom_crystals: tf.Tensor
    bond_sources: tf.Tensor
    bond_targets: tf.Tensor
    bond_crystals: tf.Tensor
    bond_lengths_angstrom: tf.Tensor
    bonds_of_atom: tf.Tensor
    atoms_of_crystal: tf.Tensor
    bonds_of_crystal: tf.Tensor
    state: tf.Tensor


class Activations(NamedTuple):
    """What the network gives for every crystal of a batch, the dummy's row included: float32.

    Attributes:
        prediction: (crystals,), in units of the scaled target.
        layers: (crystals, width) for every layer that can be a latent vector, with the width of
            :func:`~gpnet_ray.gnn.architecture.layer_width`.
    """

    prediction: tf.Tensor
    layers: dict[Layer, tf.Tensor]


def to_tensors(batch: PaddedBatch) -> BatchTensors:
    """Hand a padded batch to TensorFlow."""
    return BatchTensors(*(tf.convert_to_tensor(getattr(batch, f)) for f in BatchTensors._fields))


def pack(weights: Mapping[str, LatentArray], network: NetworkConfig) -> LatentArray:
    """Lay all weights behind each other in one float32 vector, in the order of ``weight_shapes``."""
    return np.concatenate([weights[name].ravel() for name in weight_shapes(network)])


def unpack(vector: tf.Tensor, network: NetworkConfig) -> dict[str, tf.Tensor]:
    """Cut one vector into the weights of a network, by name.

    One vector is one variable for the optimiser and one argument for a compiled function, and the
    gradient of the cutting is a single concatenation.
    """
    shapes = weight_shapes(network)
    parts = tf.split(vector, [math.prod(shape) for shape in shapes.values()])
    return {
        name: tf.reshape(part, shape)
        for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }


def apply_network(weights: Weights, batch: BatchTensors, network: NetworkConfig) -> Activations:
    """Run MEGNet on a padded batch.

    Args:
        weights: float32 tensors by the names of :func:`~gpnet_ray.gnn.architecture.weight_shapes`.
        batch: tensors of one padded batch.
        network: the architecture that the weights belong to.
    """
    centers = tf.constant(gaussian_centers(network), tf.float32)
    V = tf.gather(weights["atom_embedding/embeddings"], batch.atomic_numbers)
    spread = (batch.bond_lengths_angstrom[:, None] - centers) / network.gaussian_width_angstrom
    E = tf.exp(-tf.square(spread))
    U = batch.state
    if not network.global_features:
        U = tf.zeros((batch.atoms_of_crystal.shape[0], n_state(network)))
    V, E, U = (
        _feed_forward(weights, f"preblock_{kind}_{{}}", x)
        for kind, x in (("atom", V), ("bond", E), ("state", U))
    )
    for block in range(network.n_blocks):
        inputs = (V, E, U)
        if block > 0:
            inputs = tuple(
                _feed_forward(weights, f"block_{block}_{kind}_ff_{{}}", x)
                for kind, x in zip(("atom", "bond", "state"), inputs, strict=True)
            )
        dV, dE, dU = _megnet_layer(weights, f"megnet_{block}", *inputs, batch)
        V, E, U = V + dV, E + dE, U + dU
    passes = network.set2set_passes
    atoms = _set2set(weights, "set2set_atom", V, batch.atom_crystals, batch, passes)
    bonds = _set2set(weights, "set2set_bond", E, batch.bond_crystals, batch, passes)
    crystal = tf.concat([atoms, bonds, U], axis=-1)
    readout_0 = _softplus2(_dense(weights, "readout_0", crystal))
    readout_1 = _softplus2(_dense(weights, "readout_1", readout_0))
    return Activations(
        prediction=_dense(weights, "readout_2", readout_1)[:, 0],
        layers={
            "readout_0": readout_0,
            "readout_1": readout_1,
            "concatenate": crystal,
            "set2set_atom": atoms,
            "set2set_bond": bonds,
        },
    )


def _megnet_layer(
    weights: Weights, name: str, V: tf.Tensor, E: tf.Tensor, U: tf.Tensor, batch: BatchTensors
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Update bonds, then atoms, then the crystal's state (equations 1 to 6 of the paper)."""
    n_v, n_e = V.shape[-1], E.shape[-1]
    n_atoms, n_crystals = V.shape[0], U.shape[0]

    kernel = weights[f"{name}/phi_e/weight_e_0"]
    per_source, per_target, per_bond, per_crystal = tf.split(
        kernel, [n_v, n_v, n_e, U.shape[-1]], axis=0
    )
    # [v_source, v_target, e, u] W without building it for every bond: there are 20 bonds an atom.
    hidden = (
        tf.gather(
            V @ per_source + tf.gather(U @ per_crystal, batch.atom_crystals), batch.bond_sources
        )
        + tf.gather(V @ per_target, batch.bond_targets)
        + E @ per_bond
        + weights[f"{name}/phi_e/bias_e_0"]
    )
    E_new = _rest_of_mlp(weights, f"{name}/phi_e", "e", hidden)

    bonds_at_atom = tf.math.unsorted_segment_sum(E_new, batch.bond_sources, n_atoms)
    bonds_at_atom /= batch.bonds_of_atom[:, None]
    hidden = tf.concat([bonds_at_atom, V, tf.gather(U, batch.atom_crystals)], axis=-1)
    V_new = _mlp(weights, f"{name}/phi_v", "v", hidden)

    bonds = tf.math.unsorted_segment_sum(E_new, batch.bond_crystals, n_crystals)
    atoms = tf.math.unsorted_segment_sum(V_new, batch.atom_crystals, n_crystals)
    hidden = tf.concat(
        [bonds / batch.bonds_of_crystal[:, None], atoms / batch.atoms_of_crystal[:, None], U],
        axis=-1,
    )
    return V_new, E_new, _mlp(weights, f"{name}/phi_u", "u", hidden)


def _set2set(
    weights: Weights,
    name: str,
    X: tf.Tensor,
    owners: tf.Tensor,
    batch: BatchTensors,
    passes: int,
) -> tf.Tensor:
    """Pool a set of vectors into one a crystal by attention (Vinyals et al., arXiv:1511.06391).

    As in megnet the cell state of the LSTM is never stored: it is zero at the start of every pass, so
    that the forget gate has no effect. Trained weights rely on that.
    """
    n_crystals = batch.atoms_of_crystal.shape[0]
    M = X @ weights[f"{name}/x_to_m_weight"] + weights[f"{name}/x_to_m_bias"]
    q_star = tf.zeros((n_crystals, 2 * M.shape[-1]))
    for _ in range(passes):
        gates = q_star @ weights[f"{name}/recurrent_kernel"] + weights[f"{name}/recurrent_bias"]
        input_gate, _, candidate, output_gate = tf.split(gates, 4, axis=-1)
        cell = _hard_sigmoid(input_gate) * tf.tanh(candidate)
        query = _hard_sigmoid(output_gate) * tf.tanh(cell)
        logits = tf.reduce_sum(M * tf.gather(query, owners), axis=-1)
        # The softmax does not depend on what is subtracted, so neither does its gradient.
        highest = tf.stop_gradient(tf.math.unsorted_segment_max(logits, owners, n_crystals))
        attention = tf.exp(logits - tf.gather(highest, owners))
        summed = tf.math.unsorted_segment_sum(
            tf.concat([attention[:, None] * M, attention[:, None]], axis=-1), owners, n_crystals
        )
        # A place without a crystal has no attention to divide by.
        total = tf.where(summed[:, -1:] > 0, summed[:, -1:], 1.0)
        q_star = tf.concat([query, summed[:, :-1] / total], axis=-1)
    return q_star


def _feed_forward(weights: Weights, layer: str, X: tf.Tensor) -> tf.Tensor:
    for i in (0, 1):
        X = _softplus2(_dense(weights, layer.format(i), X))
    return X


def _dense(weights: Weights, layer: str, X: tf.Tensor) -> tf.Tensor:
    return X @ weights[f"{layer}/kernel"] + weights[f"{layer}/bias"]


def _mlp(weights: Weights, where: str, part: str, X: tf.Tensor) -> tf.Tensor:
    hidden = X @ weights[f"{where}/weight_{part}_0"] + weights[f"{where}/bias_{part}_0"]
    return _rest_of_mlp(weights, where, part, hidden)


def _rest_of_mlp(weights: Weights, where: str, part: str, hidden: tf.Tensor) -> tf.Tensor:
    """Apply the second and third layer of three; megnet leaves the last one linear."""
    for i in (1, 2):
        kernel, bias = weights[f"{where}/weight_{part}_{i}"], weights[f"{where}/bias_{part}_{i}"]
        hidden = _softplus2(hidden) @ kernel + bias
    return hidden


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _softplus2(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """ln((1 + exp x) / 2): zero at zero, without overflow; megnet's activation.

    Its derivative is the logistic function, and 0 at zero as in megnet. Left to find it by itself, TensorFlow goes back through the
    polynomial, which makes a training step some 5 % longer.
    """
    t = tf.exp(-tf.abs(x))
    logarithm = _LOG_POLYNOMIAL[-1] * t + _LOG_POLYNOMIAL[-2]
    for coefficient in _LOG_POLYNOMIAL[-3::-1]:
        logarithm = logarithm * t + coefficient

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        # At zero itself megnet's relu(x) and |x| have none, so a bias that nothing else reaches stays zero.
        return upstream * tf.where(tf.equal(x, 0.0), 0.0, tf.sigmoid(x))

    return tf.nn.relu(x) + logarithm, gradient


def _hard_sigmoid(x: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(0.2 * x + 0.5, 0.0, 1.0)
