"""What several seeds of one campaign say together: mean and spread of every arm, and paired tests."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeAlias, get_args

import numpy as np

from gpnet_ray.evaluation.comparison import LearningCurve, Measure, compare_two
from gpnet_ray.evaluation.curve_band import curve_band
from gpnet_ray.evaluation.paired_tests import PairedTest, paired_t_test, wilcoxon_test
from gpnet_ray.types import FloatArray

__all__ = ["SeedCurves", "repeats_summary"]

SeedCurves: TypeAlias = Mapping[Measure, Mapping[int, Sequence[LearningCurve]]]
"""The curves of all arms that have one, by measure and seed."""

ERRORS = ("mae", "rmse", "r2", "coverage_2sigma")
WHY_THESE_TESTS = (
    "Final errors: paired t-test, since means over many rows are nearly Gaussian. Labels saved: Wilcoxon"
    " signed-rank test, since they are skewed and bounded by what was bought. Pairs are arms of one seed."
)


def repeats_summary(
    summaries: Mapping[int, Mapping[str, Any]], curves: SeedCurves
) -> dict[str, Any]:
    """Put the summaries of the seeds together; what is unknown or not finite is ``None``.

    Args:
        summaries: The content of ``summary.json`` of each run, by its seed.
        curves: What the label savings of each run were worked out from.

    Returns:
        ``arms``: labels bought and errors of every arm at its end, each as values (one a seed), mean and
        standard deviation (n − 1 degrees of freedom). ``comparisons``: every arm against the baseline, with
        the difference of the errors at the last pick (``before_last_training``: the arms' own errors are those
        after one more training), the labels saved (negative where the baseline was ahead) and the label
        saving (below 1 likewise; ``None`` where no finite factor describes it), and ``mean_curves``: the same comparison
        of the two mean learning curves over the seeds (``None`` where they share no number of labels).
    """
    runs = [summaries[seed] for seed in sorted(summaries)]
    first = runs[0]
    strategies = [arm["strategy"] for arm in first["arms"]]
    return {
        "format": 1,
        **{key: first[key] for key in ("target", "unit", "label_note")},
        "seeds": sorted(summaries),
        "network_test_mae": _over_seeds(run["network"]["test_mae"] for run in runs),
        "before": _errors(runs, strategies[0], "before"),
        "arms": [
            {
                "strategy": strategy,
                "labels_bought": _over_seeds(_arm(run, strategy)["labels_bought"] for run in runs),
                **_errors(runs, strategy, "after"),
            }
            for strategy in strategies
        ],
        "comparisons": [
            {
                **_comparison(runs, arm, baseline, measure),
                "mean_curves": _of_mean_curves(curves[measure].values(), arm, baseline, measure),
            }
            for measure in get_args(Measure)
            for arm, baseline in _pairs(first, measure)
        ],
        "tests": WHY_THESE_TESTS,
    }


def _arm(run: Mapping[str, Any], strategy: str) -> Mapping[str, Any]:
    arm: Mapping[str, Any] = next(a for a in run["arms"] if a["strategy"] == strategy)
    return arm


def _errors(runs: Sequence[Mapping[str, Any]], strategy: str, stage: str) -> dict[str, Any]:
    return {
        on: {
            name: _over_seeds(_arm(run, strategy)[on][stage][name] for run in runs)
            for name in ERRORS
        }
        for on in ("test", "unlabelled")
    }


def _over_seeds(values: Iterable[float | None]) -> dict[str, Any]:
    listed = list(values)
    known = [value for value in listed if value is not None]
    return {
        "values": listed,
        "mean": statistics.fmean(known) if known else None,
        "std": statistics.stdev(known) if len(known) > 1 else None,
    }


def _pairs(run: Mapping[str, Any], measure: str) -> list[tuple[str, str]]:
    """Every arm with the baseline, as the runs compare them: with ``random``, or with the first arm."""
    strategies = [arm["strategy"] for arm in run["arms"]]
    baseline = "random" if "random" in strategies else strategies[0]
    compared = {
        frozenset((saving["better"], saving["worse"]))
        for saving in run["label_saving"]
        if saving["measure"] == measure
    }
    return [(arm, baseline) for arm in strategies if {arm, baseline} in compared]


def _comparison(
    runs: Sequence[Mapping[str, Any]], arm: str, baseline: str, measure: str
) -> dict[str, Any]:
    savings = [_saving(run, arm, baseline, measure) for run in runs]
    known = [saving for saving in savings if saving is not None]
    # Negative: the arm ended with the smaller error.
    differences = np.array([_difference(saving, arm) for saving in known], dtype=np.float64)
    saved = np.array([_labels_saved(saving, arm) for saving in known], dtype=np.float64)
    factors = [_factor(saving, arm) for saving in known]
    finite = [factor for factor in factors if math.isfinite(factor)]
    return {
        "arm": arm,
        "baseline": baseline,
        "measure": measure,
        "n": len(known),
        "n_arm_ended_lower": int((differences < 0).sum()),
        "before_last_training": any(saving.get("before_last_training") for saving in known),
        "final_mae_difference": _tested(differences, paired_t_test),
        "labels_saved": _tested(saved, wilcoxon_test),
        "label_saving": {
            **_over_seeds(finite),
            "values": [factor if math.isfinite(factor) else None for factor in factors],
            "median": _median(factors),
            "n_finite": len(finite),
        },
    }


def _of_mean_curves(
    seeds: Iterable[Sequence[LearningCurve]], arm: str, baseline: str, measure: Measure
) -> dict[str, Any] | None:
    """Compare the means over the seeds that have both curves."""
    pair = (arm, baseline)
    named = [{c.arm: c for c in of_seed if c.arm in pair} for of_seed in seeds]
    both = [of_seed for of_seed in named if len(of_seed) == 2]
    start = max((int(c.n_labelled[0]) for of_seed in both for c in of_seed.values()), default=0)
    end = min((int(c.n_labelled[-1]) for of_seed in both for c in of_seed.values()), default=-1)
    if start > end:
        return None
    means = (curve_band([of_seed[name] for of_seed in both]).mean_curve for name in pair)
    return {**asdict(compare_two(*means, measure=measure)), "n": len(both)}


def _saving(
    run: Mapping[str, Any], arm: str, baseline: str, measure: str
) -> Mapping[str, Any] | None:
    for saving in run["label_saving"]:
        if saving["measure"] == measure and {saving["better"], saving["worse"]} == {arm, baseline}:
            return dict(saving)
    return None


def _difference(saving: Mapping[str, Any], arm: str) -> float:
    gap = float(saving["final_error_worse"] - saving["final_error_better"])
    return -gap if saving["better"] == arm else gap


def _labels_saved(saving: Mapping[str, Any], arm: str) -> int:
    if saving["saving"] == 1.0:
        return 0
    saved = int(saving["labels_bought"] - saving["labels_needed"])
    return saved if saving["better"] == arm else -saved


def _factor(saving: Mapping[str, Any], arm: str) -> float:
    factor = math.inf if saving["saving"] is None else float(saving["saving"])
    if saving["better"] == arm:
        return factor
    return 1 / factor if factor else math.inf


def _median(factors: Sequence[float]) -> float | None:
    median = statistics.median(factors) if factors else math.nan
    return median if math.isfinite(median) else None


def _tested(values: FloatArray, test: Callable[[FloatArray], PairedTest]) -> dict[str, Any]:
    return {**_over_seeds(values.tolist()), "test": asdict(test(values))}
