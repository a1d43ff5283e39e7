"""What the network's actor tells the driver, which imports no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass

from gpnet_ray.types import FloatArray, LatentArray

__all__ = ["EpochRecord", "FeaturizedBatch", "KeptEpoch"]


@dataclass(frozen=True)
class EpochRecord:
    """One epoch in the training curve.

    Attributes:
        epoch: counted from 1.
        learning_rate: of its last step.
        train_mae: over the train part, measured while its weights were still changing; target's unit.
        validation_mae: over the held-out part after the epoch; target's unit.
        seconds: wall time.
    """

    epoch: int
    learning_rate: float
    train_mae: float
    validation_mae: float
    seconds: float


@dataclass(frozen=True)
class KeptEpoch:
    """The epoch whose weights a training kept.

    Attributes:
        epoch: counted from 1; 0 where none was better than the network that training began from.
        validation_mae: of these weights, over the held-out part; target's unit.
    """

    epoch: int
    validation_mae: float


@dataclass(frozen=True, eq=False)
class FeaturizedBatch:
    """Some crystals with what the network says of them.

    Attributes:
        ids: b ids.
        latents: float32 (b, d), activations of the chosen layer.
        predictions: float64 (b,), in the target's unit.
    """

    ids: tuple[str, ...]
    latents: LatentArray
    predictions: FloatArray
