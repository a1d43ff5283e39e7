"""Label saving: what two learning curves say, worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpnet_ray.errors import InputError
from gpnet_ray.evaluation.comparison import LearningCurve, compare_arms, compare_two


def curve(arm: str, error: Any, n_labelled: Any = None) -> LearningCurve:
    error = np.asarray(error, dtype=np.float64)
    if n_labelled is None:
        n_labelled = 100 + np.arange(len(error))
    return LearningCurve(arm=arm, n_labelled=np.asarray(n_labelled), error=error)


def test_saving_is_labels_bought_over_labels_needed():
    # random ends at 0.5 with 12 labels; max-sigma first reaches 0.5 with its fourth label.
    random = curve("random", np.linspace(1.1, 0.5, 13))
    sigma = curve("max-sigma", [1.1, 0.9, 0.8, 0.6, 0.5, 0.45, 0.4])
    saving = compare_two(sigma, random, measure="test")
    assert (saving.better, saving.worse, saving.measure) == ("max-sigma", "random", "test")
    assert (saving.labels_needed, saving.labels_bought) == (4, 12)
    assert saving.saving == 12 / 4
    assert (saving.final_error_better, saving.final_error_worse) == (0.4, 0.5)
    # Exact but for the one rounding of 0.5 - 0.4.
    assert saving.relative_difference == pytest.approx(0.2, rel=1e-15)


def test_reference_run_on_materials_project_oxides():
    # 1,500 labels an arm; max-sigma is at random's final 0.0955 after about 480 of them: 3.1 times fewer.
    random = curve("random", [0.1068, 0.1017, 0.0986, 0.0955], [1800, 2300, 2800, 3300])
    sigma = curve("max-sigma", [0.1068, 0.0955, 0.0946, 0.0909], [1800, 2280, 2300, 3300])
    assert compare_two(random, sigma, measure="test").saving == pytest.approx(3.1, abs=0.05)


def test_the_order_of_the_arguments_does_not_decide_who_is_better():
    worse, better = curve("max-sigma", [1.0, 0.9]), curve("random", [1.0, 0.8])
    assert compare_two(worse, better, measure="test") == compare_two(better, worse, measure="test")
    assert compare_two(worse, better, measure="test").better == "random"


def test_labels_are_counted_not_cycles():
    # Batches of ten, and one cycle whose labels all failed (20 labelled twice).
    random = curve("random", [1.0, 0.9, 0.8, 0.8, 0.7], [0, 10, 20, 20, 30])
    sigma = curve("max-sigma", [1.0, 0.9, 0.7, 0.6], [0, 10, 20, 30])
    saving = compare_two(sigma, random, measure="test")
    assert (saving.labels_needed, saving.labels_bought) == (20, 30)
    assert saving.saving == 1.5


@pytest.mark.parametrize(
    "errors",
    [
        pytest.param([1.0, 0.7, 0.5], id="falling"),
        pytest.param([1.0, 0.5, 0.8], id="rises-again-at-the-end"),
        pytest.param([1.0, 1.0, 1.0], id="flat"),
        pytest.param([0.0, 0.0], id="no-error-at-all"),
        pytest.param([1.0], id="single-evaluation"),
    ],
)
def test_identical_curves_save_nothing(errors):
    saving = compare_two(curve("a", errors), curve("b", errors), measure="unlabelled")
    assert saving.saving == 1.0
    assert saving.relative_difference == 0.0
    assert (saving.better, saving.worse) == ("a", "b")


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_same_labels_in_another_order_end_equal_whatever_the_rounding(sign):
    """Both arms labelled the whole pool."""
    early = curve("max-sigma", [0.5, 0.2, 0.2])
    late = curve("random", [0.5, 0.4, 0.2 + sign * 2e-16])
    for pair in ((early, late), (late, early)):
        saving = compare_two(*pair, measure="test")
        assert (saving.better, saving.labels_needed, saving.saving) == ("max-sigma", 1, 2.0)
        assert saving.final_error_better == saving.final_error_worse
        assert saving.relative_difference == 0
    both = [curve(arm, [0.5, 0.4, 0.2 + n * 1e-16]) for n, arm in enumerate(("a", "b"))]
    assert compare_two(*both, measure="test").saving == 1.0


def test_equal_final_errors_go_to_the_arm_that_was_there_first():
    slow, fast = curve("slow", [1.0, 0.9, 0.8, 0.5]), curve("fast", [1.0, 0.5, 0.5, 0.5])
    saving = compare_two(slow, fast, measure="test")
    assert (saving.better, saving.saving, saving.relative_difference) == ("fast", 3.0, 0.0)


@pytest.mark.parametrize("last", [1.0, 1.2])
def test_no_factor_is_claimed_when_the_worse_arm_never_improved(last):
    saving = compare_two(curve("a", [1.0, 0.8]), curve("b", [1.0, last]), measure="test")
    assert saving.labels_needed == 0
    assert saving.saving is None


def test_both_got_worse_names_the_one_that_lost_less():
    saving = compare_two(curve("a", [1.0, 1.5]), curve("b", [1.0, 1.25]), measure="test")
    assert (saving.better, saving.saving) == ("b", None)
    assert saving.relative_difference == pytest.approx(1 / 6, rel=1e-15)  # one rounding


def test_every_arm_is_compared_with_random():
    curves = [curve(name, [1.0, end]) for name, end in
              [("max-sigma", 0.5), ("random", 0.7), ("distance", 0.6)]]  # fmt: skip
    pairs = [(s.better, s.worse) for s in compare_arms(curves, measure="test")]
    assert pairs == [("max-sigma", "random"), ("distance", "random")]


def test_without_random_every_arm_is_compared_with_the_first():
    curves = [curve("top-k", [1.0, 0.5]), curve("distance", [1.0, 0.4]), curve("x", [1.0, 0.6])]
    pairs = [(s.better, s.worse) for s in compare_arms(curves, measure="test")]
    assert pairs == [("distance", "top-k"), ("top-k", "x")]


def test_one_arm_has_nothing_to_be_compared_with():
    assert compare_arms([curve("random", [1.0, 0.5])], measure="test") == ()
    assert compare_arms([], measure="test") == ()


@pytest.mark.parametrize(
    ("error", "n_labelled", "message"),
    [
        ([1.0, np.nan], [1, 2], "not finite"),
        ([1.0, -0.1], [1, 2], "negative"),
        ([1.0, 0.5], [1, 2, 3], r"\(3,\).*\(2,\)"),
        ([], [], "shape"),
        ([1.0, 0.5], [2, 1], "sort it by cycle"),
    ],
)
def test_a_broken_curve_is_refused_by_name(error, n_labelled, message):
    with pytest.raises(InputError, match=message) as caught:
        curve("max-sigma", error, n_labelled)
    assert "max-sigma" in str(caught.value)


def test_two_arms_of_one_name_are_refused():
    with pytest.raises(InputError, match="name one twice"):
        compare_arms([curve("a", [1.0]), curve("a", [1.0])], measure="test")
