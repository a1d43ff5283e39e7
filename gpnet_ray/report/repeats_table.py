"""The result table that repeats of a run print in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gpnet_ray.report.table_columns import ROOMY, number_table
from gpnet_ray.report.words import (
    comparison_of_curves,
    counted,
    error_text,
    percent_text,
    spread_text,
)

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["comparison_sentences", "repeats_table"]

HEADINGS = (
    *("arm", "labels\nbought", "test\nMAE", "test\nRMSE"),
    *("within\n2σ", "MAE on the\nunlabelled"),
)
ON = {"test": "On the test rows", "unlabelled": "On the materials that were still unlabelled"}


def repeats_table(summary: Mapping[str, Any], *, width: int = ROOMY) -> Table:
    """Lay out the results of all seeds for ``rich.console.Console.print`` (with ``crop=False``).

    Args:
        summary: The content of the repeats' ``summary.json``.
        width: Columns of the terminal.

    Returns:
        One line for the start and one for the end of each arm, mean ± standard deviation over the seeds;
        below it, how the arms compare, with the tests.
    """
    seeds = summary["seeds"]
    head = f"{summary['name']}: {summary['target']} ({summary['unit']})"
    rows = [("before the loop", "0", *_errors(summary["before"]))]
    for arm in summary["arms"]:
        bought = f"{arm['labels_bought']['mean']:,.0f}"
        rows.append((arm["strategy"], bought, *_errors(arm)))
    return number_table(
        f"{head}, {counted(len(seeds), 'seed')} from {seeds[0]}, mean ± std",
        HEADINGS,
        rows,
        below=[*comparison_sentences(summary), f"Labels: {summary['label_note']}"],
        width=width,
    )


def comparison_sentences(summary: Mapping[str, Any]) -> list[str]:
    """Say how each arm compares with the baseline over the seeds, a sentence for each question."""
    sentences = []
    for one in summary["comparisons"]:
        gap, saved, factor = (
            one[key] for key in ("final_mae_difference", "labels_saved", "label_saving")
        )
        if one["n"] == 0:
            continue
        arm, baseline, unit = one["arm"], one["baseline"], summary["unit"]
        how = "lower" if gap["mean"] <= 0 else "higher"
        on = ON[one["measure"]]
        if one["before_last_training"]:
            on += ", before the network was trained again at the end"
        sentences.append(
            f"{on}, {arm} ended {how} than {baseline} by {_pm(gap, error_text, sign=-1 if how == 'lower' else 1)}"
            f" {unit} (lower in {one['n_arm_ended_lower']} of {counted(one['n'], 'seed')};"
            f" {_test(gap['test'])})."
        )
        sentences.append(
            f"It saved {_pm(saved, lambda v: f'{v:.0f}')} labels ({_test(saved['test'])});"
            f" {_label_saving(factor)}."
        )
        if (mean := one["mean_curves"]) is not None and mean["n"] > 1:
            sentences.append(
                comparison_of_curves(mean, unit, on=f"As mean curves over {mean['n']} seeds")
            )
    return sentences


def _label_saving(factor: Mapping[str, Any]) -> str:
    """Say the median over all seeds, which may be infinite, and the mean over those where it is finite."""
    if not factor["n_finite"]:
        return "no finite label saving in any seed"
    median = "not finite" if factor["median"] is None else f"{factor['median']:.2g}"
    return (
        f"label saving: median {median}, mean {_pm(factor, lambda v: f'{v:.2g}')} over the"
        f" {counted(factor['n_finite'], 'seed')} where it is finite"
    )


def _errors(of: Mapping[str, Any]) -> list[str]:
    test, unlabelled = of["test"], of["unlabelled"]
    return [
        _pm(test["mae"], error_text),
        _pm(test["rmse"], error_text),
        _pm(test["coverage_2sigma"], percent_text),
        _pm(unlabelled["mae"], error_text),
    ]


def _pm(over_seeds: Mapping[str, Any], text: Callable[[float], str], *, sign: int = 1) -> str:
    mean, std = over_seeds["mean"], over_seeds["std"]
    if mean is None:
        return "–"
    if text is error_text and std is not None:
        return spread_text(sign * mean, std)
    return text(sign * mean) + (f" ± {text(std)}" if std is not None else "")


def _test(test: Mapping[str, Any]) -> str:
    if test["not_made"]:
        return f"no {test['name']}: {test['not_made']}"
    return f"{test['name']}, n = {test['n']}, p = {test['p_value']:.2g}"
