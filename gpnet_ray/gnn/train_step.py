"""One compiled step of training: loss, gradient, clipping and Adam in a single XLA program."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from gpnet_ray.config import NetworkConfig, TrainingConfig
from gpnet_ray.gnn.architecture import weight_shapes
from gpnet_ray.gnn.model import BatchTensors, apply_network, unpack
from gpnet_ray.types import LatentArray

__all__ = ["TrainStep"]

_ADAM_BETA_1, _ADAM_BETA_2, _ADAM_EPSILON = 0.9, 0.999, 1e-7
"""Keras' values, with which megnet trains."""

_EMBEDDING = "atom_embedding/embeddings"


class TrainStep:
    """The packed weights with Adam's moments, and the function that moves them.

    Adam is that of Kingma & Ba (arXiv:1412.6980); the gradient is clipped by its norm beforehand.

    Args:
        first_weights: packed, float32.
        network: the architecture that they belong to.
        training: loss, clipping, whether the atom embeddings stay as they are.
        batch_size: crystals in a full batch, by which the loss is divided.
    """

    def __init__(
        self,
        first_weights: LatentArray,
        *,
        network: NetworkConfig,
        training: TrainingConfig,
        batch_size: int,
    ) -> None:
        self._weights = tf.Variable(first_weights)
        self._first = tf.Variable(tf.zeros_like(first_weights))
        self._second = tf.Variable(tf.zeros_like(first_weights))
        self._compiled = self._compile(network, training, batch_size)

    @property
    def weights(self) -> tf.Tensor:
        """The packed weights as they are now, float32."""
        return self._weights.read_value()

    def __call__(
        self,
        batch: BatchTensors,
        targets: LatentArray,
        present: LatentArray,
        *,
        learning_rate: float,
        number: int,
    ) -> tf.Tensor:
        """Take one step; give the sum of absolute residuals (scaled target) before it, a float32 scalar.

        On a GPU the step may still be running when this returns: reading the scalar waits for it.

        Args:
            batch: one padded batch.
            targets: (crystals,) of the batch, scaled.
            present: (crystals,), 1 where there is a crystal and 0 where there is none.
            learning_rate: of this step.
            number: of the step, counted from 1 (Adam's bias correction).
        """
        return self._compiled(
            batch,
            tf.constant(targets),
            tf.constant(present),
            tf.constant(learning_rate, tf.float32),
            tf.constant(number, tf.float32),
        )

    def arrays(self) -> tuple[LatentArray, LatentArray, LatentArray]:
        """Weights and first and second moments as NumPy arrays: all that the next step depends on."""
        return self._weights.numpy(), self._first.numpy(), self._second.numpy()

    def restore(self, weights: LatentArray, first: LatentArray, second: LatentArray) -> None:
        """Go back to what :meth:`arrays` gave."""
        self._weights.assign(weights)
        self._first.assign(first)
        self._second.assign(second)

    def _compile(
        self, network: NetworkConfig, training: TrainingConfig, batch_size: int
    ) -> Callable[..., tf.Tensor]:
        weights, first, second = self._weights, self._first, self._second
        distance = tf.square if training.loss == "mse" else tf.abs
        moving = tf.constant(_moving(network)) if training.freeze_atom_embeddings else None

        def step(
            batch: BatchTensors,
            targets: tf.Tensor,
            present: tf.Tensor,
            learning_rate: tf.Tensor,
            number: tf.Tensor,
        ) -> tf.Tensor:
            vector = weights.read_value()
            with tf.GradientTape() as tape:
                tape.watch(vector)
                prediction = apply_network(unpack(vector, network), batch, network).prediction
                residual = present * (prediction - targets)
                # Not the mean over this batch: a batch that is one crystal short must not weigh more.
                loss = tf.reduce_sum(distance(residual)) / batch_size
            gradient = tape.gradient(loss, vector)
            if moving is not None:
                gradient *= moving
            gradient *= tf.minimum(1.0, training.gradient_clip_norm / tf.norm(gradient))
            first.assign(_ADAM_BETA_1 * first + (1 - _ADAM_BETA_1) * gradient)
            second.assign(_ADAM_BETA_2 * second + (1 - _ADAM_BETA_2) * tf.square(gradient))
            unbias = tf.sqrt(1 - _ADAM_BETA_2**number) / (1 - _ADAM_BETA_1**number)
            weights.assign_sub(learning_rate * unbias * first / (tf.sqrt(second) + _ADAM_EPSILON))
            return tf.reduce_sum(tf.abs(residual))

        compiled: Callable[..., tf.Tensor] = tf.function(step, jit_compile=True, autograph=False)
        return compiled


def _moving(network: NetworkConfig) -> LatentArray:
    """1 for every packed weight that is trained, 0 for those of the atom embeddings."""
    return np.concatenate(
        [
            np.full(np.prod(shape), float(name != _EMBEDDING), dtype=np.float32)
            for name, shape in weight_shapes(network).items()
        ]
    )
