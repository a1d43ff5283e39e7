"""Do two arms differ over seeds by more than chance would have it? Tests on paired differences."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gpnet_ray.errors import InputError
from gpnet_ray.types import FloatArray

__all__ = ["FEWEST_T", "FEWEST_WILCOXON", "PairedTest", "paired_t_test", "wilcoxon_test"]

FEWEST_T = 3
"""With two pairs, Student's t has one degree of freedom: nothing but a huge effect is ever seen."""

FEWEST_WILCOXON = 6
"""The smallest two-sided p of n pairs is 2/2ⁿ, so that with five nothing can be below 0.05."""


@dataclass(frozen=True)
class PairedTest:
    """What a two-sided test says of paired differences.

    Attributes:
        name: The test.
        n: Pairs that it rests on.
        statistic: Student's t, or Wilcoxon's sum of ranks; ``None`` where no test is made.
        p_value: Probability of a difference at least as large if there were none; ``None`` likewise.
        not_made: Why no test is made; empty where it is.
    """

    name: str
    n: int
    statistic: float | None
    p_value: float | None
    not_made: str = ""


def paired_t_test(differences: FloatArray) -> PairedTest:
    """Student's paired t-test, for means over many rows, whose differences are nearly Gaussian.

    Args:
        differences: One a seed, float64 (n,), finite.

    Raises:
        InputError: an array of another shape, or values that are not finite.
    """
    from scipy import stats

    values = _checked(differences)
    name, n = "paired t-test", len(values)
    if n < FEWEST_T:
        return PairedTest(name, n, None, None, f"{n} pairs are fewer than {FEWEST_T}")
    if np.ptp(values) == 0:
        return PairedTest(name, n, None, None, "all differences are equal")
    result = stats.ttest_1samp(values, 0.0)
    return PairedTest(name, n, float(result.statistic), float(result.pvalue))


def wilcoxon_test(differences: FloatArray) -> PairedTest:
    """Wilcoxon's signed-rank test, for differences that are far from Gaussian; zeros are left out.

    Args:
        differences: One a seed, float64 (n,), finite.

    Raises:
        InputError: an array of another shape, or values that are not finite.
    """
    from scipy import stats

    values = _checked(differences)
    values = values[values != 0]
    name, n = "Wilcoxon signed-rank test", len(values)
    if n < FEWEST_WILCOXON:
        why = (
            f"{n} pairs that differ are fewer than {FEWEST_WILCOXON}, and p could not be below 0.05"
        )
        return PairedTest(name, n, None, None, why)
    result = stats.wilcoxon(values)
    return PairedTest(name, n, float(result.statistic), float(result.pvalue))


def _checked(differences: FloatArray) -> FloatArray:
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or not all(map(math.isfinite, values)):
        raise InputError(
            f"paired differences need to be finite and of shape (n,), got {differences!r}; leave out the"
            " seeds in which one of the two is unknown"
        )
    return values
