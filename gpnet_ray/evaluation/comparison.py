"""Compare the learning curves of active-learning arms: how many labels one saves over another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from gpnet_ray.errors import InputError
from gpnet_ray.types import FloatArray

__all__ = ["LabelSaving", "LearningCurve", "Measure", "compare_arms", "compare_two"]

Measure: TypeAlias = Literal["test", "unlabelled"]
"""On what the error was measured: the fixed test rows, or all that the arm has not labelled yet."""

BASELINE = "random"

ROUNDING = 1e-12
"""Errors that differ by a smaller share are equal: the same labels in another order differ by some 1e-16."""


@dataclass(frozen=True)
class LearningCurve:
    """Error of one arm as its labels come in.

    Attributes:
        arm: name of the arm (its strategy).
        n_labelled: labelled materials at each evaluation, int64 ``(c,)``, never falling. The first
            entry is the start of the arm: labels are counted from there.
        error: error at the same evaluations, float64 ``(c,)``, finite and not negative, in the
            target's unit.

    Raises:
        InputError: arrays that are empty, of different shape, not finite, or out of order.
    """

    arm: str
    n_labelled: npt.NDArray[np.int64]
    error: FloatArray

    def __post_init__(self) -> None:
        n_labelled = np.asarray(self.n_labelled, dtype=np.int64)
        error = np.asarray(self.error, dtype=np.float64)
        if n_labelled.ndim != 1 or n_labelled.shape != error.shape or not len(error):
            raise InputError(
                f"learning curve of {self.arm!r}: n_labelled has shape {n_labelled.shape} and error "
                f"{error.shape}; give two arrays of the same length, one entry an evaluation"
            )
        if not np.isfinite(error).all() or (error < 0).any():
            raise InputError(
                f"learning curve of {self.arm!r} holds errors that are negative or not finite; "
                "leave out the cycles in which the error is unknown"
            )
        if (np.diff(n_labelled) < 0).any():
            raise InputError(
                f"learning curve of {self.arm!r}: the number of labels falls; sort it by cycle"
            )
        object.__setattr__(self, "n_labelled", n_labelled)
        object.__setattr__(self, "error", error)

    @property
    def final_error(self) -> float:
        """Error at the last evaluation."""
        return float(self.error[-1])

    @property
    def labels_bought(self) -> int:
        """Labels from the first to the last evaluation."""
        return int(self.n_labelled[-1] - self.n_labelled[0])

    def labels_to_reach(self, error: float) -> int | None:
        """Labels bought when the error is first ``error`` or lower but for rounding; ``None``: it never is."""
        reached = np.flatnonzero(self.error <= error * (1 + ROUNDING))
        return int(self.n_labelled[reached[0]] - self.n_labelled[0]) if len(reached) else None


@dataclass(frozen=True)
class LabelSaving:
    """How the arm that ends better compares with the one that ends worse.

    Attributes:
        better: the arm with the lower final error. At final errors that are equal but for rounding, the one that reached that
            error with fewer labels; if that is equal too, the one that was named first.
        worse: the other arm.
        measure: on what the error was measured.
        labels_needed: labels of ``better`` at the first evaluation at which its error was equal to
            or below ``final_error_worse``, counted from the start of the arm.
        labels_bought: all labels of ``worse``, counted from the start of the arm.
        saving: ``labels_bought / labels_needed``. 1.0 where neither is ahead: equal final errors,
            reached with equally many labels (so identical curves, flat ones too). ``None`` where
            ``labels_needed`` is 0, that is where ``worse`` ended no better than ``better`` began:
            no finite factor describes that.
        final_error_better: final error of ``better``, in the target's unit.
        final_error_worse: final error of ``worse``, in the target's unit.
        relative_difference: ``(final_error_worse - final_error_better) / final_error_worse``, a
            fraction between 0 and 1; 0 where both are 0.
    """

    better: str
    worse: str
    measure: Measure
    labels_needed: int
    labels_bought: int
    saving: float | None
    final_error_better: float
    final_error_worse: float
    relative_difference: float


def compare_two(first: LearningCurve, second: LearningCurve, *, measure: Measure) -> LabelSaving:
    """Compare two arms: the labels that one needs to reach the final error of the other.

    This is how Allotey, Butler and Thiyagalingam, J. Chem. Phys. 155, 174116 (2021), state the gain
    of entropy sampling over random sampling. An error that touches the level for one evaluation and
    rises again has reached it: curves are taken as measured, without smoothing.

    Returns:
        The comparison; :class:`LabelSaving` says how ties and curves that never fall are treated.
    """
    target = max(first.final_error, second.final_error)
    tied = math.isclose(first.final_error, second.final_error, rel_tol=ROUNDING)

    def rank(curve: LearningCurve) -> tuple[float, int]:
        # Never None: the curve with the largest final error reaches it at its end, and so does a tied one.
        return (0.0, curve.labels_to_reach(target) or 0) if tied else (curve.final_error, 0)

    better, worse = sorted((first, second), key=rank)  # stable: a full tie keeps the order given
    needed = better.labels_to_reach(target) or 0
    if tied and needed == worse.labels_to_reach(target):
        saving: float | None = 1.0
    else:
        saving = worse.labels_bought / needed if needed else None
    lowest = target if tied else better.final_error
    return LabelSaving(
        better=better.arm,
        worse=worse.arm,
        measure=measure,
        labels_needed=needed,
        labels_bought=worse.labels_bought,
        saving=saving,
        final_error_better=lowest,
        final_error_worse=target,
        relative_difference=(target - lowest) / target if target else 0.0,
    )


def compare_arms(curves: Sequence[LearningCurve], *, measure: Measure) -> tuple[LabelSaving, ...]:
    """Compare every arm with ``random`` where that is among them, otherwise with the first arm.

    Args:
        curves: one learning curve an arm; fewer than two give no comparison.
        measure: on what all the errors were measured.

    Returns:
        One comparison for each arm but the baseline, in the order of ``curves``.

    Raises:
        InputError: two curves carry the same name.
    """
    names = [curve.arm for curve in curves]
    if len(set(names)) != len(names):
        raise InputError(f"arms {names} name one twice; give each curve its own name")
    if len(curves) < 2:
        return ()
    baseline = curves[names.index(BASELINE)] if BASELINE in names else curves[0]
    return tuple(
        compare_two(curve, baseline, measure=measure) for curve in curves if curve is not baseline
    )
