from __future__ import annotations

import pytest

from gpnet_ray.config import TrainingConfig
from gpnet_ray.gnn.schedule import one_cycle_learning_rate


def test_it_rises_to_the_peak_and_falls_along_a_cosine_to_the_last_step():
    training = TrainingConfig(
        peak_learning_rate=4e-3, warmup_fraction=0.2, final_learning_rate_ratio=1e-3
    )
    rates = [one_cycle_learning_rate(i, n_steps=500, training=training) for i in range(500)]
    # Points of the line and of the cosine that can be told without the formula.
    assert rates[0] == pytest.approx(4e-3 / 100)
    assert rates[49] == pytest.approx(2e-3)
    assert max(rates) == rates[99] == pytest.approx(4e-3)
    assert rates[299] == pytest.approx((4e-3 + 4e-6) / 2)
    assert rates[-1] == pytest.approx(4e-6)
    assert sorted(rates[:100]) == rates[:100]
    assert sorted(rates[99:], reverse=True) == rates[99:]


def test_a_single_step_is_a_schedule_too():
    assert one_cycle_learning_rate(0, n_steps=1, training=TrainingConfig()) > 0
