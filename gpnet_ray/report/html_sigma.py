"""Tables that stand above the figures of a section: all metrics of the test rows, the worst of them, kinds picked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from gpnet_ray.report.html_parts import error_number, number, table
from gpnet_ray.report.summary_sigma import picked_more_often
from gpnet_ray.report.words import counted, error_text, percent_text

__all__ = ["enrichment_tables", "sigma_tables"]

METRICS = {
    "coverage_2sigma": "Within 2σ",
    "miscalibration_area": "Miscalibration area",
    "rms_calibration_error": "RMS calibration error",
    "mean_absolute_calibration_error": "Mean absolute calibration error",
    "sharpness": "Sharpness ({unit})",
    "dispersion": "Dispersion of σ",
    "nll": "NLL",
    "crps": "CRPS ({unit})",
    "spearman": "Rank correlation of |error| and σ",
    "pearson_r": "Pearson's r",
    "std_absolute_error": "Standard deviation of |error| ({unit})",
}
"""What the results at the top of the page do not have, by its key in the summary."""

MEANING = (
    "Within 2σ should be about 95 %; miscalibration and calibration errors are 0 where σ is right at all "
    "levels. Sharpness is the root mean square of σ, dispersion its coefficient of variation (Tran et "
    "al., 2020). NLL and CRPS score mean and σ together: smaller is better. A rank correlation above 0 "
    "says that a larger σ means a larger error."
)


def sigma_tables(summary: Mapping[str, Any]) -> str:
    """Return the metrics of σ before and after every arm, and the rows that are predicted worst."""
    stages = list(_stages(summary))
    if not stages:
        return ""
    unit = summary["unit"]
    rows = [
        (
            _title(arm, stage),
            *(
                number(arm["test"][stage][key], percent_text(arm["test"][stage][key]))
                if key == "coverage_2sigma"
                else error_number(arm["test"][stage][key])
                for key in METRICS
            ),
        )
        for arm, stage in stages
    ]
    headings = ("Test rows", *(heading.format(unit=unit) for heading in METRICS.values()))
    worst = "".join(
        _worst(_title(arm, stage), arm["sigma_check"][stage]["worst_points"], unit)
        for arm, stage in stages
    )
    meaning = f"{MEANING} {recalibration_sentence(summary)}"
    return (
        f'{table(headings, rows)}\n<p class="small">{escape(meaning)}</p>\n'
        f'<div class="panels wide">{worst}</div>\n'
    )


def recalibration_sentence(summary: Mapping[str, Any]) -> str:
    """Say what the σ of every line was multiplied by, and on how many rows that was found; what is alike, once."""
    when: dict[str, list[str]] = {}
    for arm, stage in _stages(summary):
        place = "before the loop" if stage == "before" else f"at the end of {arm['strategy']}"
        when.setdefault(_recalibrated(arm["recalibration"][stage]), []).append(place)
    if len(when) == 1:
        return f"σ {next(iter(when))}."
    clauses = (f"{' and '.join(places)} it {how}" for how, places in when.items())
    return f"σ was not recalibrated alike in all lines: {'; '.join(clauses)}."


def _recalibrated(found: Mapping[str, Any]) -> str:
    if found["how"] == "none":
        return "is as the Gaussian process was fitted, not recalibrated"
    return (
        f"was recalibrated ({found['how']}, times {found['scale']:.2f}) on"
        f" {counted(found['n_held_out'], 'row')} held out of the network's training"
    )


def _stages(summary: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield the lines of the table as arm and stage: the common start once, then the end of every arm."""
    for first, arm in enumerate(summary["arms"]):
        for stage in ("before", "after"):
            if arm["sigma_check"][stage] is not None and (stage == "after" or first == 0):
                yield arm, stage


def _title(arm: Mapping[str, Any], stage: str) -> str:
    return "before the loop" if stage == "before" else str(arm["strategy"])


def _worst(title: str, points: Sequence[Mapping[str, Any]], unit: str) -> str:
    rows = [
        (
            point["material_id"],
            point["formula"],
            *(error_number(point[key]) for key in ("label", "mean", "residual", "sigma")),
            "no" if point["beyond_2sigma"] else "yes",
        )
        for point in points
    ]
    headings = (
        *("Id", "Formula", f"Label ({unit})", f"Predicted ({unit})", f"Residual ({unit})"),
        *(f"σ ({unit})", "Within 2σ"),
    )
    heading = escape(f"{counted(len(rows), 'test row')} predicted worst: {title}")
    return f"<details>\n<summary>{heading}</summary>\n{table(headings, rows)}\n</details>\n"


def enrichment_tables(summary: Mapping[str, Any]) -> str:
    """Return what every arm picked more often than random picks would have; empty where unknown."""
    blocks = "".join(
        _enrichment(arm["strategy"], arm["enrichment"])
        for arm in summary["arms"]
        if arm["enrichment"]
    )
    return f'<div class="panels wide">{blocks}</div>\n' if blocks else ""


def _enrichment(arm: str, found: Mapping[str, Any]) -> str:
    rows = [
        (
            *(kind, row["name"]),
            *(number(row[key]) for key in ("n_pool", "n_picked")),
            number(row["expected"], f"{row['expected']:.1f}"),
            number(row["ratio"], f"{row['ratio']:.2f}"),
            number(row["p_value"], error_text(row["p_value"])),
        )
        for kind, key in (
            ("element", "elements"),
            ("stoichiometry", "stoichiometries"),
            ("formula", "formulas"),
        )
        for row in picked_more_often(found[key])
    ]
    headings = ("Kind", "Name", "In the pool", "Picked", "By chance", "Ratio", "p")
    heading = escape(
        f"{arm}: what was picked more often than by chance, by standard deviations above chance"
    )
    return f"<details>\n<summary>{heading}</summary>\n{table(headings, rows)}\n</details>\n"
