"""What an arm has done so far: its picks, and the error sums of every row of its learning curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from gpnet_ray.config import Strategy
from gpnet_ray.oracles.protocol import LabelOutcome
from gpnet_ray.types import FloatArray

if TYPE_CHECKING:
    from gpnet_ray.evaluation.metrics import ErrorSums

__all__ = ["ArmRecord", "ArmResult", "CurvePoint", "Pick", "Predictions", "Retraining"]

Predictions: TypeAlias = tuple[tuple[str, ...], FloatArray, FloatArray]
"""Ids, mean and σ."""


@dataclass(frozen=True)
class Pick:
    """One material chosen in one cycle (1-based), with the σ it was chosen by and what became of it.

    ``mean`` is what was predicted from all labels before its own; ``None`` where labelling failed.
    ``network`` counts the arm's networks: 0 is the one that all arms start from.
    """

    cycle: int
    sigma: float
    radius: float | None
    outcome: LabelOutcome
    mean: float | None = None
    network: int = 0
    asked_radius: float | None = None


@dataclass(frozen=True)
class CurvePoint:
    """Where a row of the learning curve stands: after which cycle, with how many labels, with which network.

    A cycle after which the network was trained again has a row with the old and one with the new.
    """

    cycle: int
    n_labelled: int
    network: int


@dataclass(frozen=True)
class Retraining:
    """One training of the network again, on the labels of the start and all that the arm had bought.

    Attributes:
        cycle: After which cycle.
        network: Number of the arm's network that it gave.
        n_labelled: Materials that it was trained on, those held out among them.
        start: ``scratch`` or ``warm``.
        epochs: Epochs run.
        seconds: Wall time of the training alone (s).
        old_validation_mae: Of the network before, on the rows held out of both (target's unit).
        new_validation_mae: Of the new one, on the same.
        kept: Which of the two the arm went on with.
        network_test_mae: Of the network that was kept, through its own output layer, on the test rows
            (target's unit); worked out from its latents' file.
    """

    cycle: int
    network: int
    n_labelled: int
    start: str
    epochs: int
    seconds: float
    old_validation_mae: float
    new_validation_mae: float
    kept: str
    network_test_mae: float | None = None


@dataclass(frozen=True)
class ArmRecord:
    """An arm so far. A stretch of its loop begins with one and ends with another; it changes none.

    ``test`` and ``pool`` hold error sums whose rows, one after another, are those of ``curve``;
    ``pool`` is empty where the pool's true values are not known. ``jitter`` is the variance that a factor needed on its
    diagonal (target's unit squared; 0 as a rule), ``n_clipped`` how many variances came out negative
    by rounding and were set to 0.
    """

    strategy: Strategy
    picks: tuple[Pick, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    test: tuple[ErrorSums, ...] = ()
    pool: tuple[ErrorSums, ...] = ()
    test_before: Predictions | None = None
    test_after: Predictions | None = None
    retrainings: tuple[Retraining, ...] = ()
    jitter: float = 0.0
    n_clipped: int = 0

    @property
    def cycles(self) -> int:
        """Cycles done."""
        return self.picks[-1].cycle if self.picks else 0

    @property
    def labelled(self) -> dict[str, float]:
        """Labels bought, by id, in the order of the picks."""
        return {
            pick.outcome.material_id: pick.outcome.value
            for pick in self.picks
            if pick.outcome.value is not None
        }

    @property
    def failed(self) -> tuple[LabelOutcome, ...]:
        """What could not be labelled."""
        return tuple(pick.outcome for pick in self.picks if pick.outcome.status != "ok")

    def result(self) -> ArmResult:
        """The arm with its metrics worked out."""
        if self.test_before is None or self.test_after is None:
            raise RuntimeError(f"the arm {self.strategy} has not begun, so it has no result")
        return ArmResult(
            strategy=self.strategy,
            picks=self.picks,
            curve=self.curve,
            test=_metrics(self.test),
            unlabelled=_metrics(self.pool) if self.pool else None,
            n_unlabelled=tuple(int(n) for sums in self.pool for n in sums.n) or None,
            test_before=self.test_before,
            test_after=self.test_after,
            retrainings=self.retrainings,
            jitter=self.jitter,
            n_clipped=self.n_clipped,
        )

    def with_retraining(self, retraining: Retraining) -> ArmRecord:
        """The same with one more training."""
        return replace(self, retrainings=(*self.retrainings, retraining))


@dataclass(frozen=True)
class ArmResult:
    """A finished arm: picks in order, and error metrics for every point of its learning curve.

    ``unlabelled`` and ``n_unlabelled`` are ``None`` where the pool's true values are not known; see
    :class:`ArmRecord` for the rest.
    """

    strategy: Strategy
    picks: tuple[Pick, ...]
    curve: tuple[CurvePoint, ...]
    test: Mapping[str, FloatArray]
    unlabelled: Mapping[str, FloatArray] | None
    n_unlabelled: tuple[int, ...] | None
    test_before: Predictions
    test_after: Predictions
    retrainings: tuple[Retraining, ...]
    jitter: float
    n_clipped: int

    @property
    def n_labelled(self) -> tuple[int, ...]:
        """Labels at every point of the curve."""
        return tuple(point.n_labelled for point in self.curve)


def _metrics(sums: Sequence[ErrorSums]) -> dict[str, FloatArray]:
    parts = [part.metrics() for part in sums]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
