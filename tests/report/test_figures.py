"""What is drawn is what was computed: the points and lines of single figures."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.figure import Figure

from gpnet_ray.evaluation.comparison import LearningCurve, compare_two
from gpnet_ray.evaluation.curve_band import curve_band
from gpnet_ray.evaluation.enrichment import enrichment
from gpnet_ray.evaluation.error_against_sigma import error_in_sigma_bins, worst_points
from gpnet_ray.evaluation.uncertainty import calibration_curve
from gpnet_ray.report.figures import learning_curve_figure
from gpnet_ray.report.figures_enrichment import EnrichedGroup, enrichment_figure
from gpnet_ray.report.figures_gp import hyperparameter_trace_figure
from gpnet_ray.report.figures_map import latent_picks_figure, latent_value_figure
from gpnet_ray.report.figures_sigma import (
    NamedCurve,
    calibration_figure,
    intervals_figure,
    residual_sigma_figure,
    sigma_bins_figure,
    sigma_histogram_figure,
)
from gpnet_ray.report.style import BLACK, BLUE, GREY, VERMILLION, ArmStyle

STYLE = ArmStyle(BLUE, "-")
NAMES = {"quantity": "Band gap", "unit": "eV", "title": "a title with 5 $ in it"}


@pytest.fixture
def predictions() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    labels = rng.normal(2.0, 1.0, 60)
    return labels, labels + rng.normal(0, 0.2, 60), rng.uniform(0.05, 0.2, 60)


def scatters(figure: Figure) -> list[PathCollection]:
    return [c for c in figure.axes[0].collections if isinstance(c, PathCollection)]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_curves_of_several_seeds_are_one_line_with_a_band_of_one_standard_deviation():
    n = np.array([10, 11, 12])
    curves = [
        LearningCurve("max-sigma", n, np.array([0.5, 0.3, 0.2])),
        LearningCurve("max-sigma", n, np.array([0.7, 0.5, 0.2])),
        LearningCurve("random", n, np.array([0.6, 0.6, 0.5])),
    ]
    bands = [curve_band([c for c in curves if c.arm == arm]) for arm in ("max-sigma", "random")]
    saving = compare_two(*(band.mean_curve for band in bands), measure="test")
    figure = learning_curve_figure(curves, ylabel="MAE (eV)", title="t", saving=saving)
    mean, alone, drop = figure.axes[0].lines
    # The mean curve is below random's end, 0.5, from its second measurement on.
    assert [*drop.get_ydata()] == pytest.approx([0.5, 0.4])
    assert mean.get_ydata() == pytest.approx([0.6, 0.4, 0.2])
    assert alone.get_ydata() == pytest.approx([0.6, 0.6, 0.5])
    (band,) = (c for c in figure.axes[0].collections if isinstance(c, PolyCollection))
    corners = band.get_paths()[0].vertices
    at_start = corners[corners[:, 0] == 10][:, 1]
    # Two values 0.2 apart: standard deviation 0.2/√2.
    assert (at_start.min(), at_start.max()) == pytest.approx((0.6 - 0.1414214, 0.6 + 0.1414214))
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["max-sigma", "random", f"label saving {saving.saving:.1f}"]
    assert figure.axes[0].get_title() == "t, mean ± std of 2 seeds"


def test_a_curve_jumps_where_the_network_was_trained_again_and_the_arrow_meets_it():
    n = np.array([10, 11, 12, 12])
    better = LearningCurve("max-sigma", n, np.array([0.6, 0.35, 0.3, 0.1]))
    worse = LearningCurve("random", n, np.array([0.6, 0.5, 0.4, 0.2]))
    # The comparison ends with the last pick, before the network was trained again.
    picking = [LearningCurve(c.arm, n[:3], c.error[:3]) for c in (better, worse)]
    saving = compare_two(*picking, measure="test")
    figure = learning_curve_figure([better, worse], ylabel="MAE", title="t", saving=saving)
    *drawn, drop = [list(zip(*line.get_data(), strict=True)) for line in figure.axes[0].lines]
    for points, curve in zip(drawn, (better, worse), strict=True):
        assert points == list(zip(curve.n_labelled, curve.error, strict=True))
    # Random ended at 0.4 with 12 labels; max-sigma was below that for the first time with 11.
    arrow = next(text for text in figure.axes[0].texts if not text.get_text())
    assert (arrow.xyann, arrow.xy) == ((12, 0.4), (11, 0.4))
    assert arrow.xyann in drawn[1]
    assert drop == [(11, 0.4), (11, 0.35)]
    assert drop[1] in drawn[0]


def test_residuals_are_coloured_by_how_far_beyond_2sigma_and_the_worst_are_named(predictions):
    labels, means, sigmas = predictions
    formulas = [f"Mg{i}O" for i in range(60)]
    worst = worst_points([str(i) for i in range(60)], formulas, *predictions, count=3)
    figure = residual_sigma_figure(labels - means, sigmas, worst=worst, limits=(0.2, 0.8), **NAMES)
    inside, outside = scatters(figure)[:2]
    beyond = np.abs(labels - means) - 2 * sigmas
    assert inside.get_array().tolist() == beyond[beyond <= 0].tolist()
    assert outside.get_array().tolist() == beyond[beyond > 0].tolist()
    assert outside.get_offsets()[:, 0].tolist() == sigmas[beyond > 0].tolist()
    assert {p.formula for p in worst} <= set(texts(figure))


def test_intervals_are_two_sigma_to_both_sides(predictions):
    labels, means, sigmas = predictions
    figure = intervals_figure(*predictions, limits=(-1.0, 5.0), **NAMES)
    bars = np.concatenate(
        [np.array(c.get_segments())[:, :, 1] for c in figure.axes[0].collections], axis=0
    )
    expected = np.stack([means - 2 * sigmas, means + 2 * sigmas], axis=1)
    assert bars[np.argsort(bars[:, 0])] == pytest.approx(expected[np.argsort(expected[:, 0])])
    drawn_labels = next(line for line in figure.axes[0].lines if line.get_label() == "label")
    assert drawn_labels.get_ydata() == pytest.approx(np.sort(labels))


def test_calibration_deciles_and_histogram_show_the_numbers_that_they_are_given(predictions):
    curve = calibration_curve(*predictions)
    figure = calibration_figure([NamedCurve("before", STYLE, curve)], title="t")
    assert figure.axes[0].lines[1].get_ydata() == pytest.approx(curve.observed)

    bins = error_in_sigma_bins(*predictions)
    figure = sigma_bins_figure([NamedCurve("before", STYLE, bins)], promised=[0.7], **NAMES)
    drawn, ideal = figure.axes[0].lines
    assert drawn.get_xdata() == pytest.approx([b.rms_sigma for b in bins])
    assert drawn.get_ydata() == pytest.approx([b.mae for b in bins])
    assert ideal.get_ydata()[-1] / ideal.get_xdata()[-1] == pytest.approx(0.7)
    assert ideal.get_label() == "σ is right"

    sigmas = np.append(predictions[2], 50.0)  # far beyond the last bin, and still counted
    figure = sigma_histogram_figure([NamedCurve("before", STYLE, sigmas)], unit="eV", title="t")
    (outline,) = figure.axes[0].patches
    heights = outline.get_xy()[1:-1:2, 1]
    assert heights.sum() == len(sigmas)


def test_where_sigma_is_right_is_a_line_of_each_stage_unless_they_agree_or_there_is_none(
    predictions,
):
    bins = error_in_sigma_bins(*predictions)
    styles = (STYLE, ArmStyle(BLACK, ":"), ArmStyle(VERMILLION, "--"))
    stages = [NamedCurve(style.colour, style, bins) for style in styles]

    def lines_without_points(promised: list[float | None]) -> dict[str, float]:
        figure = sigma_bins_figure(stages, promised=promised, **NAMES)
        lines = (line for line in figure.axes[0].lines if line.get_marker() == "None")
        ends = {line.get_color(): line.get_xydata()[-1] for line in lines if len(line.get_xdata())}
        return {colour: y / x for colour, (x, y) in ends.items()}

    by_colour = {BLUE: 0.7, VERMILLION: 0.8}
    assert lines_without_points([0.7, None, 0.8]) == pytest.approx(by_colour)
    assert lines_without_points([0.7, 0.7, 0.7]) == pytest.approx({GREY: 0.7})
    assert lines_without_points([None, None, None]) == {}


def test_maps_colour_what_is_known_and_keep_the_order_of_the_picks():
    x, y = np.arange(8.0), np.arange(8.0) ** 2
    value = np.array([1.0, np.nan, 3.0, 4.0, 5.0, np.nan, 7.0, 8.0])
    figure = latent_value_figure(x, y, value, label="v", title="t", limits=(2.0, 6.0))
    grey, coloured = scatters(figure)
    assert grey.get_offsets()[:, 0].tolist() == [1.0, 5.0]
    assert coloured.get_array().tolist() == [1.0, 3.0, 4.0, 5.0, 7.0, 8.0]
    assert coloured.get_clim() == (2.0, 6.0)

    order = np.array([3.0, np.nan, 1.0, np.nan, 2.0, np.nan, np.nan, np.nan])
    figure = latent_picks_figure(x, y, order, title="t")
    _, picks, _ = scatters(figure)
    assert picks.get_offsets()[:, 0].tolist() == [2.0, 4.0, 0.0]
    assert texts(figure) == ["1", "2", "3"]


def test_enrichment_shows_picked_over_expected_with_both_numbers():
    pool = {**{f"a{i}": "SrTiO3" for i in range(4)}, **{f"b{i}": "MgO" for i in range(6)}}
    found = enrichment(pool, ["a0", "a1", "a2", "b0"])
    group = EnrichedGroup("Elements", found.elements[:2], significant=0.01)
    figure = enrichment_figure([group], title="t")
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    # Four picks of ten materials, four of which hold strontium: 1.6 expected, 3 picked.
    assert dots[0].get_xdata()[0] == pytest.approx(3 / 1.6)
    assert texts(figure)[:2] == ["3 (1.6)", "3 (1.6)"]
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["Sr", "Ti"]


def test_the_trace_shows_every_evaluation_and_every_length_scale():
    step = {"amplitude": 1.0, "noise_std": 0.1, "mean": 0.0}
    trace = [
        {
            "evaluation": n,
            "negative_log_likelihood": 5.0 - n,
            "length_scale": [1.0, 2.0 * n],
            **step,
        }
        for n in (1, 2, 3)
    ]
    above, below = hyperparameter_trace_figure(trace, unit="eV").axes
    assert above.lines[0].get_ydata().tolist() == [4.0, 3.0, 2.0]
    assert below.lines[1].get_ydata().tolist() == [2.0, 4.0, 6.0]
    assert len(below.lines) == 4  # two length scales, amplitude, noise
