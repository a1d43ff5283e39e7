"""What is said over seeds, from summaries made by hand; and how many campaigns run side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpnet_ray.actors.placement import Node
from gpnet_ray.actors.settings import ResourcesConfig
from gpnet_ray.campaign.repeats_pool import campaigns_side_by_side
from gpnet_ray.campaign.repeats_summary import SeedCurves, repeats_summary
from gpnet_ray.evaluation.comparison import LearningCurve
from gpnet_ray.report.repeats_table import comparison_sentences, repeats_table


def saving(better: str, worse: str, needed: int, low: float, high: float) -> dict[str, Any]:
    return {
        "better": better,
        "worse": worse,
        "measure": "test",
        "labels_needed": needed,
        "labels_bought": 300,
        "saving": 300 / needed if needed else None,
        "final_error_better": low,
        "final_error_worse": high,
        "relative_difference": (high - low) / high,
        "before_last_training": False,
    }


def summary(sigma_mae: float, random_mae: float, of_saving: dict[str, Any]) -> dict[str, Any]:
    def errors(mae: float) -> dict[str, Any]:
        return {"mae": mae, "rmse": 2 * mae, "r2": None, "coverage_2sigma": 0.9}

    def arm(strategy: str, mae: float) -> dict[str, Any]:
        on = {"before": errors(0.3), "after": errors(mae)}
        return {"strategy": strategy, "labels_bought": 300, "test": on, "unlabelled": on}

    return {
        "target": "energy",
        "unit": "eV/atom",
        "label_note": "made up",
        "network": {"test_mae": 0.4},
        "arms": [arm("max-sigma", sigma_mae), arm("random", random_mae)],
        "label_saving": [of_saving],
    }


NO_CURVES: SeedCurves = {"test": {}, "unlabelled": {}}


@pytest.fixture
def over_seeds() -> dict[str, Any]:
    return repeats_summary(
        {
            4: summary(0.10, 0.16, saving("max-sigma", "random", 100, 0.10, 0.16)),
            5: summary(0.14, 0.12, saving("random", "max-sigma", 200, 0.12, 0.14)),
            6: summary(0.11, 0.17, saving("max-sigma", "random", 0, 0.11, 0.17)),
        },
        NO_CURVES,
    )


def test_which_network_the_errors_are_of_is_said(over_seeds):
    assert not any("trained again" in s for s in comparison_sentences(over_seeds))
    later = saving("max-sigma", "random", 100, 0.10, 0.16) | {"before_last_training": True}
    sentences = comparison_sentences(repeats_summary({4: summary(0.10, 0.16, later)}, NO_CURVES))
    assert "before the network was trained again at the end, max-sigma ended lower" in sentences[0]


def test_mean_spread_and_signs_are_those_counted_by_hand(over_seeds):
    arm = over_seeds["arms"][0]
    assert over_seeds["seeds"] == [4, 5, 6]
    assert arm["test"]["mae"]["values"] == [0.10, 0.14, 0.11]
    assert arm["test"]["mae"]["mean"] == pytest.approx(0.35 / 3)
    assert arm["test"]["mae"]["std"] == pytest.approx(0.0208166599946613)  # (n − 1)
    assert arm["test"]["r2"] == {"values": [None] * 3, "mean": None, "std": None}
    (one,) = over_seeds["comparisons"]
    assert (one["arm"], one["baseline"], one["n_arm_ended_lower"]) == ("max-sigma", "random", 2)
    assert one["final_mae_difference"]["values"] == pytest.approx([-0.06, 0.02, -0.06])
    assert one["labels_saved"]["values"] == [200, -100, 300]
    # 3 times fewer, 1.5 times more, and no finite factor.
    assert one["label_saving"]["values"] == [3.0, pytest.approx(1 / 1.5), None]
    assert one["label_saving"]["median"] == 3.0
    assert one["label_saving"]["n_finite"] == 2


def test_the_table_names_each_test_its_n_and_why_none_is_made(over_seeds):
    sentences = " ".join(comparison_sentences(over_seeds))
    p = over_seeds["comparisons"][0]["final_mae_difference"]["test"]["p_value"]
    assert f"paired t-test, n = 3, p = {p:.2g}" in sentences
    assert "lower in 2 of 3 seeds" in sentences
    assert "no Wilcoxon signed-rank test: 3 pairs that differ are fewer than 6" in sentences
    assert repeats_table({**over_seeds, "name": "x"}).row_count == 3


def test_what_is_said_of_label_savings_that_are_not_finite(over_seeds):
    said = comparison_sentences(over_seeds)[1]
    assert said.endswith(
        "; label saving: median 3, mean 1.8 ± 1.6 over the 2 seeds where it is finite."
    )
    none = saving("max-sigma", "random", 0, 0.11, 0.17)
    some = saving("max-sigma", "random", 100, 0.10, 0.16)
    for savings, ending in (
        ([none, none], "; no finite label saving in any seed."),
        (
            [none, none, some],
            "; label saving: median not finite, mean 3 over the 1 seed where it is finite.",
        ),
    ):
        seeds = {n: summary(0.11, 0.17, one) for n, one in enumerate(savings)}
        assert comparison_sentences(repeats_summary(seeds, NO_CURVES))[1].endswith(ending)


def test_the_mean_curves_are_compared_as_one_pair():
    def both(*errors: list[float]) -> list[LearningCurve]:
        arms = zip(("max-sigma", "random"), errors, strict=True)
        return [LearningCurve(arm, np.array([10, 11, 12, 13, 14]), np.array(e)) for arm, e in arms]

    curves: SeedCurves = {
        "test": {
            4: both([0.8, 0.2, 0.2, 0.2, 0.2], [0.8, 0.6, 0.6, 0.6, 0.5]),
            5: both([0.8, 0.8, 0.6, 0.6, 0.4], [0.8, 0.8, 0.8, 0.6, 0.4]),
        },
        # A seed without one of the curves is not in the mean; here that leaves none.
        "unlabelled": {4: both([0.8, 0.2, 0.2, 0.2, 0.2], [0.8, 0.6, 0.6, 0.6, 0.5])[:1], 5: []},
    }
    seeds = {
        seed: summary(0.2, 0.5, saving("max-sigma", "random", 1, 0.2, 0.5))
        for seed in curves["test"]
    }
    over = repeats_summary(seeds, curves)
    mean = over["comparisons"][0]["mean_curves"]
    # Means 0.8, 0.5, 0.4, 0.4, 0.3 against 0.8, 0.7, 0.7, 0.6, 0.45: reached with 2 labels, bought 4.
    assert (mean["better"], mean["labels_needed"], mean["saving"], mean["n"]) == (
        "max-sigma",
        2,
        2.0,
        2,
    )
    assert (mean["final_error_better"], mean["final_error_worse"]) == pytest.approx((0.3, 0.45))
    assert comparison_sentences(over)[2].startswith(
        "As mean curves over 2 seeds, max-sigma reached the final error of random (0.4500 eV/atom) with 2"
        " labels where random bought 4: a label saving of 2.0."
    )
    on_unlabelled = [s["label_saving"][0] | {"measure": "unlabelled"} for s in seeds.values()]
    for of_seed, extra in zip(seeds.values(), on_unlabelled, strict=True):
        of_seed["label_saving"].append(extra)
    assert repeats_summary(seeds, curves)["comparisons"][1]["mean_curves"] is None


def test_campaigns_run_side_by_side_where_whole_ones_fit():
    resources = ResourcesConfig(shards=2, labellers=2)  # five actors, a CPU each where there are
    assert campaigns_side_by_side(resources, [Node(2, 0)]) == 1
    assert campaigns_side_by_side(resources, [Node(9, 0)]) == 1
    assert campaigns_side_by_side(resources, [Node(16, 0)]) == 3
    assert campaigns_side_by_side(resources, [Node(4, 0), Node(4, 0), Node(4, 0)]) == 2
    few = {"cpus": 0.3}
    small = ResourcesConfig(shards=1, labellers=1, gp=few, shard=few, labeller=few, featurizer=few)
    assert campaigns_side_by_side(small, [Node(2, 0)]) == 2
