"""Training a MEGNet: one-cycle Adam on padded batches, the best weights on held-out crystals kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from gpnet_ray.config import NetworkConfig, TrainingConfig
from gpnet_ray.errors import InputError, NumericalError
from gpnet_ray.gnn.batching import PaddedBatch, StratifiedBatches
from gpnet_ray.gnn.forward import ForwardPass, check_cutoff
from gpnet_ray.gnn.graphs import CrystalGraphs
from gpnet_ray.gnn.initial_weights import draw_weights
from gpnet_ray.gnn.model import BatchTensors, apply_network, pack, to_tensors, unpack
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.gnn.records import EpochRecord
from gpnet_ray.gnn.schedule import one_cycle_learning_rate
from gpnet_ray.seeds import derive_seed, generator
from gpnet_ray.tensorflow_devices import use_memory_growth
from gpnet_ray.types import FloatArray, LatentArray

__all__ = ["Trainer"]

_ADAM_BETA_1, _ADAM_BETA_2, _ADAM_EPSILON = 0.9, 0.999, 1e-7
"""Keras' values, with which megnet trains."""


class Trainer:
    """Trains a MEGNet on crystals with targets; a validation part is held out of them.

    The target is scaled by mean and standard deviation of the train part alone; the loss is the mean
    squared error of the scaled target, every crystal weighing the same. On one machine's CPU the same
    seed gives the same weights, bit for bit.

    Args:
        graphs: crystals, built with the network's cut-off.
        targets: float64 (n,), in the order of ``graphs.ids``, finite.
        network: the architecture.
        training: epochs, batch size, learning rate and the rest.
        seed: of the validation part, the first weights and the order of the batches.
        target: name of the property, kept with the network.
        unit: its unit.

    Raises:
        InputError: too few crystals, targets that do not fit or are all equal, another cut-off.
    """

    def __init__(
        self,
        graphs: CrystalGraphs,
        targets: FloatArray,
        *,
        network: NetworkConfig,
        training: TrainingConfig,
        seed: int,
        target: str,
        unit: str,
    ) -> None:
        _check_targets(graphs, targets)
        check_cutoff(graphs, network)
        use_memory_growth()
        self._network, self._training = network, training
        self._target, self._unit = target, unit
        self.train_ids, self.validation_ids = _hold_out(
            graphs.ids, training.validation_fraction, seed
        )
        value = dict(zip(graphs.ids, np.asarray(targets, dtype=np.float64), strict=True))
        y = np.array([value[name] for name in self.train_ids])
        self._validation_targets = np.array([value[name] for name in self.validation_ids])
        self._mean, self._scale = float(y.mean()), float(y.std())
        if self._scale == 0.0:
            raise InputError(
                f"all {len(y)} train targets equal {self._mean:g} {unit}; there is nothing to learn"
            )
        self._scaled_targets = ((y - self._mean) / self._scale).astype(np.float32)
        self._validation_graphs = graphs.select(self.validation_ids)
        self._batches = StratifiedBatches(
            graphs.select(self.train_ids),
            batch_size=training.batch_size,
            epochs=training.epochs,
            rng_seed=derive_seed(seed, "batches"),
        )
        first = pack(draw_weights(network, seed=derive_seed(seed, "network")), network)
        self._weights = tf.Variable(first)
        self._step = _compile_step(self._weights, network, training, self._batches.batch_size)
        self._forward = ForwardPass(network)
        self._epochs_done = 0
        self._best: tuple[float, LatentArray] | None = None

    @property
    def padding_waste(self) -> float:
        """Share of the bonds of the training batches that is padding, from 0 to 1."""
        return self._batches.padding_waste

    def run(self) -> Iterator[EpochRecord]:
        """Train, yielding a record an epoch; stop early by no longer asking for the next one.

        Raises:
            NumericalError: the loss became NaN or infinite.
        """
        while self._epochs_done < self._training.epochs:
            start = time.perf_counter()
            train_mae, learning_rate = self._train_one_epoch(self._epochs_done)
            validation_mae = self._validation_mae()
            self._epochs_done += 1
            if not (math.isfinite(train_mae) and math.isfinite(validation_mae)):
                raise NumericalError(self._divergence(train_mae, validation_mae, learning_rate))
            if self._best is None or validation_mae < self._best[0]:
                self._best = (validation_mae, self._weights.numpy())
            yield EpochRecord(
                epoch=self._epochs_done,
                learning_rate=learning_rate,
                train_mae=train_mae,
                validation_mae=validation_mae,
                seconds=time.perf_counter() - start,
            )

    def best_state(self) -> NetworkState:
        """Give the weights with the smallest validation MAE so far.

        Raises:
            InputError: no epoch has been run.
        """
        if self._best is None:
            raise InputError("no epoch has been run yet; iterate over run() first")
        weights = unpack(tf.constant(self._best[1]), self._network)
        return NetworkState(
            config=self._network,
            weights={name: value.numpy() for name, value in weights.items()},
            target_mean=self._mean,
            target_scale=self._scale,
            target=self._target,
            unit=self._unit,
        )

    def _train_one_epoch(self, epoch: int) -> tuple[float, float]:
        """Run all steps of an epoch (counted from 0); give train MAE and the last learning rate."""
        per_epoch = self._batches.batches_per_epoch
        sum_absolute = 0.0
        learning_rate = 0.0
        for i, batch in enumerate(self._batches.epoch(epoch)):
            step = epoch * per_epoch + i
            learning_rate = one_cycle_learning_rate(
                step, n_steps=self._training.epochs * per_epoch, training=self._training
            )
            targets, present = self._padded_targets(batch)
            absolute = self._step(
                to_tensors(batch),
                targets,
                present,
                tf.constant(learning_rate, tf.float32),
                tf.constant(step + 1, tf.float32),
            )
            sum_absolute += float(absolute)
        return self._scale * sum_absolute / len(self.train_ids), learning_rate

    def _padded_targets(self, batch: PaddedBatch) -> tuple[tf.Tensor, tf.Tensor]:
        """Scaled targets of a batch, and 1 where there is a crystal and 0 where there is none."""
        values = np.zeros((2, self._batches.shape.crystals), dtype=np.float32)
        values[0, : len(batch.rows)] = self._scaled_targets[batch.rows]
        values[1, : len(batch.rows)] = 1.0
        return tf.constant(values[0]), tf.constant(values[1])

    def _validation_mae(self) -> float:
        predicted = np.empty(len(self.validation_ids))
        for result in self._forward.run(self._weights.read_value(), self._validation_graphs):
            predicted[result.rows] = result.prediction
        residual = predicted * self._scale + self._mean - self._validation_targets
        return float(np.abs(residual).mean())

    def _divergence(self, train_mae: float, validation_mae: float, learning_rate: float) -> str:
        return (
            f"training diverged in epoch {self._epochs_done}: train MAE {train_mae}, validation MAE "
            f"{validation_mae} at learning rate {learning_rate:.2g}; lower "
            f"training.peak_learning_rate (now {self._training.peak_learning_rate:g}) or "
            f"training.gradient_clip_norm (now {self._training.gradient_clip_norm:g}), and look for "
            "outliers among the targets"
        )


def _compile_step(
    weights: tf.Variable, network: NetworkConfig, training: TrainingConfig, batch_size: int
) -> Callable[..., tf.Tensor]:
    """Compile one step of Adam (Kingma & Ba, arXiv:1412.6980) with the gradient clipped by its norm."""
    first, second = tf.Variable(tf.zeros_like(weights)), tf.Variable(tf.zeros_like(weights))

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
            loss = tf.reduce_sum(tf.square(residual)) / batch_size
        gradient = tape.gradient(loss, vector)
        gradient *= tf.minimum(1.0, training.gradient_clip_norm / tf.norm(gradient))
        first.assign(_ADAM_BETA_1 * first + (1 - _ADAM_BETA_1) * gradient)
        second.assign(_ADAM_BETA_2 * second + (1 - _ADAM_BETA_2) * tf.square(gradient))
        unbias = tf.sqrt(1 - _ADAM_BETA_2**number) / (1 - _ADAM_BETA_1**number)
        weights.assign_sub(learning_rate * unbias * first / (tf.sqrt(second) + _ADAM_EPSILON))
        return tf.reduce_sum(tf.abs(residual))

    compiled: Callable[..., tf.Tensor] = tf.function(step, jit_compile=True)
    return compiled


def _hold_out(
    ids: tuple[str, ...], fraction: float, seed: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Part ids into train and validation, at least one each, both in the order they came."""
    n_validation = min(max(1, round(fraction * len(ids))), len(ids) - 1)
    chosen = set(generator(seed, "validation").permutation(len(ids))[:n_validation].tolist())
    return (
        tuple(name for i, name in enumerate(ids) if i not in chosen),
        tuple(name for i, name in enumerate(ids) if i in chosen),
    )


def _check_targets(graphs: CrystalGraphs, targets: FloatArray) -> None:
    if len(graphs) < 2:
        raise InputError(f"training needs at least 2 crystals, one held out; got {len(graphs)}")
    if targets.shape != (len(graphs),):
        raise InputError(
            f"targets must have shape ({len(graphs)},), one a crystal; got {targets.shape}"
        )
    bad = np.flatnonzero(~np.isfinite(targets))
    if len(bad):
        raise InputError(
            f"the target of {graphs.ids[bad[0]]!r} is {targets[bad[0]]}; {len(bad)} of "
            f"{len(targets)} targets are not finite, leave these materials out"
        )
