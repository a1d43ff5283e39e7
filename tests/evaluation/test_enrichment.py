"""Counts of elements and formulas among picks against what chance would give."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest

from gpnet_ray.errors import InputError
from gpnet_ray.evaluation.enrichment import enrichment

POOL = {
    **{f"sr{i}": "SrTiO3" for i in range(3)},
    "ba1": "BaTiO3",
    "mg1": "MgO",
    "mg2": "MgO",
    "ca1": "CaO",
    "al1": "Al2O3",
}


def found(kinds, name):
    return next(kind for kind in kinds if kind.name == name)


def test_counts_and_chances_by_hand():
    result = enrichment(POOL, ["sr0", "sr1", "mg1"])
    assert (result.n_pool, result.n_picked) == (8, 3)
    titanium = found(result.elements, "Ti")
    assert (titanium.n_pool, titanium.n_picked) == (4, 2)
    # Three drawn of eight, four of which have titanium.
    assert titanium.expected == pytest.approx(3 * 4 / 8, rel=1e-14)
    at_least_two = (comb(4, 2) * comb(4, 1) + comb(4, 3)) / comb(8, 3)
    assert titanium.p_value == pytest.approx(at_least_two, rel=1e-12)
    assert titanium.ratio == pytest.approx(2 / 1.5, rel=1e-14)
    strontium = found(result.formulas, "SrTiO3")
    assert (strontium.n_pool, strontium.n_picked) == (3, 2)
    perovskites = found(result.stoichiometries, "ABC3")
    assert (perovskites.n_pool, perovskites.n_picked) == (4, 2)


def test_expectation_and_deviation_are_those_of_all_possible_draws():
    draws = [sum(POOL[i] == "MgO" for i in draw) for draw in combinations(POOL, 3)]
    magnesia = found(enrichment(POOL, ["mg1", "mg2", "ca1"]).formulas, "MgO")
    # 56 draws counted one by one: rounding only.
    assert magnesia.expected == pytest.approx(np.mean(draws), rel=1e-13)
    assert magnesia.deviation == pytest.approx((2 - np.mean(draws)) / np.std(draws), rel=1e-13)
    assert (magnesia.low, magnesia.high) == (0, 2)


def test_the_most_over_represented_come_first_and_what_all_have_does_not_count():
    result = enrichment(POOL, ["sr0", "sr1", "sr2"])
    assert result.elements[0].name == "Sr"
    oxygen = found(result.elements, "O")
    assert (oxygen.n_picked, oxygen.expected, oxygen.deviation, oxygen.p_value) == (3, 3, 0, 1)
    # BaTiO3, CaO and Al2O3 are in the pool once: no kind of formula to speak of.
    assert {kind.name for kind in result.formulas} == {"SrTiO3", "MgO"}


@pytest.mark.parametrize(
    ("picked", "message"),
    [([], "nothing to compare"), (["sr0", "xx"], "'xx', which is not"), (["sr0", "sr0"], "twice")],
)
def test_unusable_picks_are_refused(picked, message):
    with pytest.raises(InputError, match=message):
        enrichment(POOL, picked)
