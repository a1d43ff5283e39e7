"""Paired tests against counting by hand, and when none is made."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from gpnet_ray.errors import InputError
from gpnet_ray.evaluation.paired_tests import paired_t_test, wilcoxon_test


def test_wilcoxon_is_the_share_of_all_sign_flips_that_are_as_extreme():
    differences = np.array([12.0, 40.0, -3.0, 25.0, 71.0, 9.0, 33.0])
    ranks = np.argsort(np.argsort(np.abs(differences))) + 1

    def smaller_sum(signs):
        up = sum(r for r, sign in zip(ranks, signs, strict=True) if sign > 0)
        return min(up, ranks.sum() - up)

    seen = smaller_sum(np.sign(differences))
    flips = list(itertools.product((-1, 1), repeat=len(differences)))
    p = sum(smaller_sum(signs) <= seen for signs in flips) / len(flips)
    result = wilcoxon_test(differences)
    assert (result.n, result.statistic) == (7, seen)
    assert result.p_value == pytest.approx(p, rel=1e-12)  # both are counts


def test_t_is_the_mean_over_its_standard_error():
    differences = np.array([0.011, 0.02, 0.004, 0.013])
    result = paired_t_test(differences)
    t = differences.mean() / (differences.std(ddof=1) / math.sqrt(4))
    assert result.statistic == pytest.approx(t, rel=1e-12)
    # Student's t with three degrees of freedom has a closed form.
    x = t / math.sqrt(3)
    p = 1 - 2 / math.pi * (math.atan(x) + x / (1 + x * x))
    assert result.p_value == pytest.approx(p, rel=1e-9)


def test_no_test_is_made_where_it_could_say_nothing():
    assert paired_t_test(np.array([1.0, 2.0])).not_made == "2 pairs are fewer than 3"
    assert paired_t_test(np.array([1.0, 1.0, 1.0])).not_made == "all differences are equal"
    few = wilcoxon_test(np.array([5.0, 0.0, 7.0, 9.0, -2.0, 8.0]))
    assert few.p_value is None
    assert few.not_made.startswith("5 pairs that differ are fewer than 6")
    with pytest.raises(InputError, match="finite"):
        wilcoxon_test(np.array([1.0, np.nan]))
