"""MAE in bins of σ and the list of the worst points, by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gpnet_ray.errors import InputError
from gpnet_ray.evaluation.error_against_sigma import error_in_sigma_bins, worst_points


def test_bins_hold_the_points_with_the_smallest_sigmas_first():
    sigmas = np.array([0.3, 0.1, 0.4, 0.2])
    labels = np.zeros(4)
    low, high = error_in_sigma_bins(labels, np.array([3.0, 1.0, -4.0, 2.0]), sigmas, bins=2)
    assert (low.n, low.sigma_from, low.sigma_to) == (2, 0.1, 0.2)
    assert (high.n, high.sigma_from, high.sigma_to) == (2, 0.3, 0.4)
    assert (low.mae, high.mae) == (1.5, 3.5)
    # Two squares of size 1 to 16, one root: a unit in the last place.
    assert (low.rmse, high.rmse) == pytest.approx((np.sqrt(2.5), np.sqrt(12.5)), rel=1e-15)
    assert low.rms_sigma == pytest.approx(np.sqrt(0.025), rel=1e-15)


def test_deciles_hold_every_point_once():
    rng = np.random.default_rng(3)
    labels, means, sigmas = rng.normal(size=57), rng.normal(size=57), rng.uniform(0.1, 1, 57)
    bins = error_in_sigma_bins(labels, means, sigmas)
    assert sorted({b.n for b in bins}) == [5, 6]
    assert sum(b.n for b in bins) == 57
    assert sum(b.n * b.mae for b in bins) == pytest.approx(np.abs(labels - means).sum(), rel=1e-13)
    assert all(a.sigma_to <= b.sigma_from for a, b in itertools.pairwise(bins))


def test_fewer_points_than_bins_are_a_bin_each():
    bins = error_in_sigma_bins(np.zeros(3), np.ones(3), np.array([0.1, 0.3, 0.2]))
    assert [b.n for b in bins] == [1, 1, 1]
    with pytest.raises(InputError, match="at least 1"):
        error_in_sigma_bins(np.zeros(3), np.ones(3), np.ones(3), bins=0)


def test_worst_points_are_sorted_and_say_whether_sigma_warned():
    worst = worst_points(
        ["mp-1", "mp-2", "mp-4", "mp-3"],
        ["TiO2", "BaO", "MgO", "CaO"],
        np.array([0.0, 0.0, 1.0, 1.0]),
        np.array([0.2, -3.0, 2.0, 2.0]),
        np.array([0.05, 1.6, 0.5, 0.4]),
        count=3,
    )
    # Equal residuals stand in the order of their ids; 1.0 is not beyond 2 × 0.5.
    assert [(p.material_id, p.formula, p.residual, p.beyond_2sigma) for p in worst] == [
        ("mp-2", "BaO", 3.0, False),
        ("mp-3", "CaO", -1.0, True),
        ("mp-4", "MgO", -1.0, False),
    ]
    with pytest.raises(InputError, match="1 ids and 2 formulas"):
        worst_points(["a"], ["b", "c"], np.zeros(2), np.ones(2), np.ones(2))
