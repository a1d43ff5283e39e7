"""Panels of the test rows: how right the means are, and whether σ says how wrong they can be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gpnet_ray.evaluation.error_against_sigma import SigmaBin, WorstPoint
from gpnet_ray.evaluation.uncertainty import CalibrationCurve
from gpnet_ray.gp.recalibration import Recalibration
from gpnet_ray.report.figures import parity_figure
from gpnet_ray.report.figures_sigma import (
    NamedCurve,
    calibration_figure,
    intervals_figure,
    residual_sigma_figure,
    sigma_bins_figure,
    sigma_histogram_figure,
)
from gpnet_ray.report.panels_drawing import Drawing, Stage, quantity
from gpnet_ray.report.words import counted, error_text, percent_text
from gpnet_ray.seeds import generator

__all__ = ["prediction_panels"]

ROWS_WITH_BARS = 100
LABELLED_WORST = 5


def prediction_panels(
    stages: Sequence[Stage], summary: Mapping[str, Any], *, seed: int
) -> Iterator[Drawing]:
    """Draw the test rows of every stage; ``seed`` draws the rows that are shown with bars."""
    if not stages:
        return
    yield from _parity_plots(stages, summary)
    yield from _intervals(stages, summary, seed)
    yield _calibration(stages)
    yield _sigma_bins(stages, summary)
    yield _sigma_histogram(stages, summary)
    yield from _residuals(stages, summary)


def _parity_plots(stages: Sequence[Stage], summary: Mapping[str, Any]) -> Iterator[Drawing]:
    shown = np.concatenate([s.rows[column] for s in stages for column in ("target", "mean")])
    low, high = float(shown.min()), float(shown.max())
    margin = 0.04 * (high - low) or 1.0
    for stage in stages:
        mae, rmse, r2 = (error_text(stage.metrics[name]) for name in ("mae", "rmse", "r2"))
        unit = summary["unit"]
        figure = parity_figure(
            stage.rows["target"],
            stage.rows["mean"],
            quantity=quantity(summary),
            unit=unit,
            title=stage.title,
            note=f"MAE {mae} {unit}\nRMSE {rmse} {unit}\nR² {r2}",
            limits=(low - margin, high + margin),
        )
        rows = counted(len(stage.rows["mean"]), "test row")
        caption = f"{stage.title}: predicted against true value of {rows}."
        yield Drawing(f"parity_{stage.name}", "parity", caption, figure)


def _intervals(stages: Sequence[Stage], summary: Mapping[str, Any], seed: int) -> Iterator[Drawing]:
    n = len(stages[0].rows["target"])
    # The same rows in every stage, so that panels can be compared.
    shown = np.sort(generator(seed, "rows with bars").choice(n, min(n, ROWS_WITH_BARS), False))
    parts = [{k: column[shown] for k, column in stage.rows.items()} for stage in stages]
    ends = [p["mean"] + sign * 2 * p["sigma"] for p in parts for sign in (1, -1)]
    everything = np.concatenate([*ends, *(p["target"] for p in parts)])
    margin = 0.03 * float(np.ptp(everything)) or 1.0
    for stage, rows in zip(stages, parts, strict=True):
        figure = intervals_figure(
            rows["target"],
            rows["mean"],
            rows["sigma"],
            quantity=quantity(summary),
            unit=summary["unit"],
            title=stage.title,
            limits=(float(everything.min()) - margin, float(everything.max()) + margin),
        )
        inside = np.mean(np.abs(rows["target"] - rows["mean"]) <= 2 * rows["sigma"])
        which = (
            f"{len(shown)} test rows drawn at random" if len(shown) < n else f"all {n} test rows"
        )
        caption = (
            f"{stage.title}: label and prediction with bars of 2σ for {which};"
            f" {percent_text(float(inside))} of these labels lie within their bars."
        )
        yield Drawing(f"intervals_{stage.name}", "parity", caption, figure)


def _residuals(stages: Sequence[Stage], summary: Mapping[str, Any]) -> Iterator[Drawing]:
    largest_sigma = max(float(s.rows["sigma"].max()) for s in stages)
    largest_residual = max(float(np.abs(s.rows["target"] - s.rows["mean"]).max()) for s in stages)
    for stage in stages:
        figure = residual_sigma_figure(
            stage.rows["target"] - stage.rows["mean"],
            stage.rows["sigma"],
            worst=[WorstPoint(**p) for p in stage.check["worst_points"][:LABELLED_WORST]],
            quantity=quantity(summary),
            unit=summary["unit"],
            title=stage.title,
            limits=(largest_sigma or 1.0, largest_residual or 1.0),
        )
        coverage = percent_text(stage.metrics["coverage_2sigma"])
        caption = (
            f"{stage.title}: label minus prediction against the predicted σ of each test row, coloured by"
            f" |residual| − 2σ; {coverage} lie between the lines ±2σ. Named: the largest residuals."
        )
        yield Drawing(f"residual_sigma_{stage.name}", "sigma", caption, figure)


def _calibration(stages: Sequence[Stage]) -> Drawing:
    curves = []
    for stage in stages:
        curve = {k: np.array(v) for k, v in stage.check["calibration_curve"].items()}
        name = f"{stage.title}: area {error_text(stage.metrics['miscalibration_area'])}"
        curves.append(NamedCurve(name, stage.style, CalibrationCurve(**curve)))
    caption = (
        "Calibration at all levels: share of the test rows inside the central interval of each confidence"
        " level. The miscalibration area lies between curve and diagonal; where σ is right, it is 0."
    )
    figure = calibration_figure(curves, title="Calibration on the test rows")
    return Drawing("calibration", "sigma", caption, figure)


def _sigma_bins(stages: Sequence[Stage], summary: Mapping[str, Any]) -> Drawing:
    figure = sigma_bins_figure(
        [NamedCurve(s.title, s.style, [SigmaBin(**b) for b in s.check["deciles"]]) for s in stages],
        promised=[s.check["promised_mae_per_sigma"] for s in stages],
        quantity=quantity(summary),
        unit=summary["unit"],
        title="Error in deciles of σ, test rows",
    )
    ranks = "; ".join(f"{s.title}: {error_text(s.metrics['spearman'])}" for s in stages)
    caption = (
        "MAE of the tenths of the test rows with the smallest to the largest σ. On a line without points errors"
        f" are as large as σ promises ({_promises(stages)}). Rank correlation of |residual| and σ (Spearman):"
        f" {ranks}."
    )
    return Drawing("error_against_sigma", "sigma", caption, figure)


def _promises(stages: Sequence[Stage]) -> str:
    """Say how steep the lines are on which σ is right; once where they are alike."""
    gaussian = _promise(Recalibration().mean_absolute_error())
    shown = {s.title: _promise(s.check["promised_mae_per_sigma"]) for s in stages}
    values = set(shown.values())
    if values == {gaussian}:
        return gaussian
    listed = (
        [*values] if len(values) == 1 else [f"{title}: {text}" for title, text in shown.items()]
    )
    return "; ".join((*listed, f"of Gaussian errors: {gaussian}"))


def _promise(mae_per_sigma: float | None) -> str:
    if mae_per_sigma is None:
        return "no line, as Student's t with one degree of freedom or less has no mean error"
    return f"MAE {mae_per_sigma:.2f} σ"


def _sigma_histogram(stages: Sequence[Stage], summary: Mapping[str, Any]) -> Drawing:
    unit = summary["unit"]
    figure = sigma_histogram_figure(
        [NamedCurve(s.title, s.style, s.rows["sigma"]) for s in stages],
        unit=unit,
        title="Predicted σ of the test rows",
    )
    numbers = "; ".join(
        f"{s.title}: {error_text(s.metrics['sharpness'])} {unit} and"
        f" {error_text(s.metrics['dispersion'])}"
        for s in stages
    )
    caption = (
        "Distribution of σ; the last bin holds all that are larger. Sharpness (root mean square of σ) and"
        f" dispersion (standard deviation of σ over its mean): {numbers}."
    )
    return Drawing("sigma_histogram", "sigma", caption, figure)
