"""Training a MEGNet: one-cycle Adam on padded batches, the best weights on held-out crystals kept."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from gpnet_ray.config import NetworkConfig, TrainingConfig
from gpnet_ray.errors import InputError, NumericalError
from gpnet_ray.gnn.batching import PaddedBatch, StratifiedBatches
from gpnet_ray.gnn.checkpoint import TrainingCheckpoint
from gpnet_ray.gnn.forward import ForwardPass, check_graphs
from gpnet_ray.gnn.global_state import StateScaling
from gpnet_ray.gnn.graphs import CrystalGraphs
from gpnet_ray.gnn.initial_weights import draw_weights
from gpnet_ray.gnn.model import pack, to_tensors, unpack
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.gnn.records import EpochRecord, KeptEpoch
from gpnet_ray.gnn.schedule import one_cycle_learning_rate
from gpnet_ray.gnn.train_step import TrainStep
from gpnet_ray.gnn.trained_rows import TrainedRows
from gpnet_ray.gnn.training_set import check_targets, hold_out, training_fingerprint
from gpnet_ray.seeds import derive_seed
from gpnet_ray.tensorflow_devices import prepare_gpus
from gpnet_ray.types import FloatArray, LatentArray

__all__ = ["Trainer"]


@dataclass(frozen=True, eq=False)
class _Best:
    """The weights with the smallest validation MAE so far, and the epoch after which they were had."""

    epoch: int
    validation_mae: float
    weights: LatentArray


class Trainer:
    """Trains a MEGNet on crystals with targets; a validation part is held out of them.

    The target and the global features are scaled by mean and standard deviation of the train part alone;
    every crystal weighs the same in the loss. On one machine's CPU the same seed gives the same weights, bit for bit, whether
    training was interrupted and gone on with from a checkpoint or not.

    Training may start from a trained network, whose weights are kept where no epoch gives better ones.
    Where its target has the same unit, the target is scaled as it was for that network, since its output
    layer knows no other scale; a property in another unit is scaled anew. Global features are always scaled as
    for that network.

    Args:
        graphs: crystals, built with the network's cut-off and global features.
        targets: float64 (n,), in the order of ``graphs.ids``, finite.
        network: the architecture.
        training: epochs, batch size, learning rate and the rest.
        seed: of the validation part, the first weights and the order of the batches. An id is on the same
            side of the validation part for all sets of crystals that hold it
            (:func:`~gpnet_ray.gnn.training_set.hold_out`).
        target: name of the property, kept with the network.
        unit: its unit.
        initial: a network of the same architecture to start from; drawn from the seed where left out.
        checkpoint: where an interrupted training of the same settings and data goes on.

    Raises:
        InputError: too few crystals, targets that do not fit or are all equal, another cut-off, other global
            features or one that is all equal, a first network of another architecture, frozen embeddings
            without a first network, a checkpoint of another training.
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
        initial: NetworkState | None = None,
        checkpoint: TrainingCheckpoint | None = None,
    ) -> None:
        check_targets(graphs, targets)
        check_graphs(graphs, network)
        _check_initial(initial, network, training)
        prepare_gpus()
        self._network, self._training = network, training
        self._target, self._unit, self._initial = target, unit, initial
        self.train_ids, self.validation_ids = hold_out(
            graphs.ids,
            fraction=training.validation_fraction,
            seed=seed,
            known=initial.trained_rows.among(graphs) if initial else (),
            crystals=graphs.crystal_of(),
        )
        self._fingerprint = training_fingerprint(
            graphs,
            targets,
            network=network,
            training=training,
            seed=seed,
            initial=initial.fingerprint() if initial else None,
        )
        value = dict(zip(graphs.ids, np.asarray(targets, dtype=np.float64), strict=True))
        y = np.array([value[name] for name in self.train_ids])
        self._validation_targets = np.array([value[name] for name in self.validation_ids])
        self._mean, self._scale = self._target_scaling(y)
        self._scaled_targets = ((y - self._mean) / self._scale).astype(np.float32)
        train_graphs = graphs.select(self.train_ids)
        self._trained_rows = TrainedRows.of(train_graphs)
        self._state_scaling = (
            initial.state_scaling
            if initial
            else StateScaling.fit(train_graphs.state, network.global_features)
        )
        self._validation_graphs = graphs.select(self.validation_ids).scaled(self._state_scaling)
        self._batches = StratifiedBatches(
            train_graphs.scaled(self._state_scaling),
            batch_size=training.batch_size,
            epochs=training.epochs,
            rng_seed=derive_seed(seed, "batches"),
        )
        first = (
            initial.weights if initial else draw_weights(network, seed=derive_seed(seed, "network"))
        )
        self._step = TrainStep(
            pack(first, network),
            network=network,
            training=training,
            batch_size=self._batches.batch_size,
        )
        self._forward = ForwardPass(network)
        self._history: list[EpochRecord] = []
        self._best: _Best | None = None
        if checkpoint is not None:
            self._restore(checkpoint)

    @property
    def padding_waste(self) -> float:
        """Share of the bonds of the training batches that is padding, from 0 to 1."""
        return self._batches.padding_waste

    def run(self) -> Iterator[EpochRecord]:
        """Train, yielding a record an epoch; stop early by no longer asking for the next one.

        Raises:
            NumericalError: the loss became NaN or infinite.
        """
        if self._initial is not None and self._best is None:
            self._best = _Best(0, self._validation_mae_now(), self._step.arrays()[0])
        while len(self._history) < self._training.epochs and not self._out_of_patience():
            start = time.perf_counter()
            train_mae, learning_rate = self._train_one_epoch(len(self._history))
            record = EpochRecord(
                epoch=len(self._history) + 1,
                learning_rate=learning_rate,
                train_mae=train_mae,
                validation_mae=self._validation_mae_now(),
                seconds=time.perf_counter() - start,
            )
            if not (math.isfinite(train_mae) and math.isfinite(record.validation_mae)):
                raise NumericalError(self._divergence(record))
            self._history.append(record)
            if self._best is None or record.validation_mae < self._best.validation_mae:
                self._best = _Best(record.epoch, record.validation_mae, self._step.arrays()[0])
            yield record

    def best_state(self) -> NetworkState:
        """Give the weights with the smallest validation MAE so far.

        Raises:
            InputError: no epoch has been run.
        """
        best, initial, rows = self._best_so_far(), self._initial, self._trained_rows
        if initial is not None:
            # The weights of epoch 0 are its own.
            rows = initial.trained_rows if best.epoch == 0 else rows | initial.trained_rows
        weights = unpack(tf.constant(best.weights), self._network)
        return NetworkState(
            config=self._network,
            weights={name: value.numpy() for name, value in weights.items()},
            target_mean=self._mean,
            target_scale=self._scale,
            target=self._target,
            unit=self._unit,
            held_out_ids=self.validation_ids,
            state_scaling=self._state_scaling,
            trained_rows=rows,
            kept=KeptEpoch(best.epoch, best.validation_mae),
        )

    def checkpoint(self) -> TrainingCheckpoint:
        """Give all that the next epoch depends on, to go on from it in another process.

        Raises:
            InputError: no epoch has been run.
        """
        best = self._best_so_far()
        weights, first, second = self._step.arrays()
        return TrainingCheckpoint(
            fingerprint=self._fingerprint,
            history=tuple(self._history),
            best_epoch=best.epoch,
            best_validation_mae=best.validation_mae,
            weights=weights,
            first_moment=first,
            second_moment=second,
            best_weights=best.weights,
        )

    def _restore(self, checkpoint: TrainingCheckpoint) -> None:
        if checkpoint.fingerprint != self._fingerprint:
            raise InputError(
                "the checkpoint is of a training with other settings, data or first weights; give the same "
                "again, or remove the checkpoint to train from the start"
            )
        self._step.restore(checkpoint.weights, checkpoint.first_moment, checkpoint.second_moment)
        self._history = list(checkpoint.history)
        self._best = _Best(
            checkpoint.best_epoch, checkpoint.best_validation_mae, checkpoint.best_weights
        )

    def _target_scaling(self, train_targets: FloatArray) -> tuple[float, float]:
        """Mean and scale: those of the first network where it speaks the unit, or of the train part."""
        if self._initial is not None and self._initial.unit == self._unit:
            return self._initial.target_mean, self._initial.target_scale
        mean, scale = float(train_targets.mean()), float(train_targets.std())
        if scale == 0.0:
            raise InputError(
                f"all {len(train_targets)} train targets equal {mean:g} {self._unit}; there is nothing "
                "to learn"
            )
        return mean, scale

    def _best_so_far(self) -> _Best:
        if self._best is None:
            raise InputError("no epoch has been run yet; iterate over run() first")
        return self._best

    def _out_of_patience(self) -> bool:
        patience = self._training.patience_epochs
        if patience is None or self._best is None:
            return False
        return len(self._history) - self._best.epoch >= patience

    def _train_one_epoch(self, epoch: int) -> tuple[float, float]:
        """Run all steps of an epoch (counted from 0); give train MAE and the last learning rate."""
        per_epoch = self._batches.batches_per_epoch
        learning_rate = 0.0
        # Read when all steps are under way: a GPU computes while the next batches are made.
        sums: list[tf.Tensor] = []
        for i, batch in enumerate(self._batches.epoch(epoch)):
            step = epoch * per_epoch + i
            learning_rate = one_cycle_learning_rate(
                step, n_steps=self._training.epochs * per_epoch, training=self._training
            )
            targets, present = self._padded_targets(batch)
            sums.append(
                self._step(
                    to_tensors(batch),
                    targets,
                    present,
                    learning_rate=learning_rate,
                    number=step + 1,
                )
            )
        sum_absolute = sum(float(value) for value in sums)
        return self._scale * sum_absolute / len(self.train_ids), learning_rate

    def _padded_targets(self, batch: PaddedBatch) -> tuple[LatentArray, LatentArray]:
        """Scaled targets of a batch, and 1 where there is a crystal and 0 where there is none."""
        targets, present = np.zeros((2, self._batches.shape.crystals), dtype=np.float32)
        targets[: len(batch.rows)] = self._scaled_targets[batch.rows]
        present[: len(batch.rows)] = 1.0
        return targets, present

    def _validation_mae_now(self) -> float:
        predicted = np.empty(len(self.validation_ids))
        for result in self._forward.run(self._step.weights, self._validation_graphs):
            predicted[result.rows] = result.prediction
        residual = predicted * self._scale + self._mean - self._validation_targets
        return float(np.abs(residual).mean())

    def _divergence(self, record: EpochRecord) -> str:
        return (
            f"training diverged in epoch {record.epoch}: train MAE {record.train_mae}, validation MAE "
            f"{record.validation_mae} at learning rate {record.learning_rate:.2g}; lower "
            f"training.peak_learning_rate (now {self._training.peak_learning_rate:g}) or "
            f"training.gradient_clip_norm (now {self._training.gradient_clip_norm:g}), and look for "
            "outliers among the targets"
        )


def _check_initial(
    initial: NetworkState | None, network: NetworkConfig, training: TrainingConfig
) -> None:
    if initial is None:
        if training.freeze_atom_embeddings:
            raise InputError(
                "training.freeze_atom_embeddings keeps the embeddings of a network that training starts "
                "from, and there is none; give a pretrained network or set it to false"
            )
        return
    theirs, ours = (c.model_dump(exclude={"layer"}) for c in (initial.config, network))
    differ = [f"{k}: {theirs[k]} there, {ours[k]} here" for k in ours if theirs[k] != ours[k]]
    if differ:
        raise InputError(
            f"the network to start from is of another architecture ({'; '.join(differ)}); set network.* "
            "to its values, or start from another network"
        )
