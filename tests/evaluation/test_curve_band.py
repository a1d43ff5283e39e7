"""The mean of learning curves over seeds."""

from __future__ import annotations

import numpy as np
import pytest

from gpnet_ray.errors import InputError
from gpnet_ray.evaluation.comparison import LearningCurve
from gpnet_ray.evaluation.curve_band import curve_band


def curve(n_labelled: list[int], error: list[float], arm: str = "random") -> LearningCurve:
    return LearningCurve(arm, np.array(n_labelled), np.array(error))


def test_mean_and_deviation_by_hand_where_curves_were_measured_at_different_labels():
    # With 11 labels the second curve still has the error that it had with 10.
    band = curve_band([curve([10, 11, 12], [0.6, 0.4, 0.2]), curve([10, 12, 13], [0.4, 0.4, 0.1])])
    assert (band.arm, band.n_curves) == ("random", 2)
    assert band.n_labelled.tolist() == [10, 11, 12]
    assert band.mean == pytest.approx([0.5, 0.4, 0.3], rel=1e-15)
    # Two values at a distance d deviate by d/√2.
    assert band.std == pytest.approx([0.2 / np.sqrt(2), 0.0, 0.2 / np.sqrt(2)], abs=1e-15)


def test_a_single_curve_is_its_own_mean_with_every_measurement():
    # A failed label at 11, the network trained again at 12.
    n, error = [10, 11, 11, 12, 12, 13], [0.6, 0.5, 0.4, 0.3, 0.1, 0.2]
    band = curve_band([curve(n, error)])
    assert band.n_labelled.tolist() == n
    assert band.mean.tolist() == error
    assert band.std.tolist() == [0] * 6


def test_a_jump_at_one_number_of_labels_has_a_mean_before_and_one_after():
    # The first is trained again at 12, the second at 11 and 12, the third never.
    band = curve_band(
        [
            curve([10, 11, 12, 12], [0.9, 0.8, 0.7, 0.1]),
            curve([10, 11, 11, 12, 12], [0.9, 0.8, 0.5, 0.4, 0.1]),
            curve([10, 12], [0.6, 0.4]),
        ]
    )
    assert band.n_labelled.tolist() == [10, 11, 11, 12, 12]
    assert band.mean == pytest.approx([0.8, 2.2 / 3, 1.9 / 3, 0.5, 0.2], rel=1e-15)
    assert band.std[3:] == pytest.approx([np.sqrt(0.03), np.sqrt(0.03)], rel=1e-12)


@pytest.mark.parametrize(
    ("curves", "message"),
    [
        ([], "no arm"),
        ([curve([1], [1.0]), curve([1], [1.0], arm="top-k")], "'random', 'top-k'"),
        ([curve([1, 2], [1.0, 1.0]), curve([5, 6], [1.0, 1.0])], "begins at 5"),
    ],
)
def test_curves_without_a_common_mean_are_refused(curves, message):
    with pytest.raises(InputError, match=message):
        curve_band(curves)
