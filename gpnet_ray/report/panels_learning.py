"""Panels of what was learned from how many labels, and of the two fits before the loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any

from gpnet_ray.evaluation.comparison import LabelSaving, Measure
from gpnet_ray.gp.recalibration import Recalibration
from gpnet_ray.report.figures import learning_curve_figure, training_figure
from gpnet_ray.report.figures_gp import hyperparameter_trace_figure
from gpnet_ray.report.finished_run import FinishedRun
from gpnet_ray.report.panels_drawing import Drawing, quantity
from gpnet_ray.report.summary import learning_curve
from gpnet_ray.report.words import counted, error_text

__all__ = ["largest_saving", "learning_panels"]


def learning_panels(run: FinishedRun, summary: Mapping[str, Any]) -> Iterator[Drawing]:
    """Draw the learning curves, the training of the network and the search for the hyperparameters."""
    yield from _learning_curves(run, summary)
    if len(run.history["epoch"]):
        yield _training(run, summary)
    if run.gp.get("trace"):
        yield _trace(run, summary)


def _learning_curves(run: FinishedRun, summary: Mapping[str, Any]) -> Iterator[Drawing]:
    measures: tuple[tuple[Measure, str, str], ...] = (
        ("test", "Error on the test rows", "MAE on the fixed test rows after every cycle."),
        (
            "unlabelled",
            "Error on what is still unlabelled",
            "MAE on everything not labelled yet: other materials for every arm and cycle.",
        ),
    )
    again = len(run.retrainings["cycle"]) > 0
    jumps = (
        " Where it jumps at one number of labels, the network was trained again." if again else ""
    )
    for measure, title, caption in measures:
        curves = [c for arm in run.arms if (c := learning_curve(run, arm, measure)) is not None]
        if curves:
            figure = learning_curve_figure(
                curves,
                ylabel=f"{quantity(summary)}, MAE ({summary['unit']})",
                title=title,
                saving=largest_saving(summary["label_saving"], measure),
            )
            yield Drawing(f"learning_curve_{measure}", "learning", caption + jumps, figure)


def largest_saving(savings: Iterable[Mapping[str, Any]], measure: Measure) -> LabelSaving | None:
    """The largest finite one of the label savings that a summary states; ``None`` without one."""
    names = [field.name for field in fields(LabelSaving)]
    mine = [
        LabelSaving(**{name: saving[name] for name in names})
        for saving in savings
        if saving["measure"] == measure
    ]
    stated = [s for s in mine if s.saving is not None]
    return max(stated, key=lambda s: s.saving or 0.0) if stated else None


def _training(run: FinishedRun, summary: Mapping[str, Any]) -> Drawing:
    history, network = run.history, summary["network"]
    figure = training_figure(
        history["epoch"],
        history["train_mae"],
        history["validation_mae"],
        ylabel=f"{quantity(summary)}, MAE ({summary['unit']})",
        best_epoch=network["best_epoch"],
    )
    whose = f"of epoch {network['best_epoch']:,}" if network["best_epoch"] else "it began from"
    kept = (
        f" The weights {whose} were kept (validation MAE "
        f"{error_text(network['best_validation_mae'])} {summary['unit']})."
        if network["best_epoch"] is not None
        else ""
    )
    caption = f"MAE on the rows trained on and on rows held out of them, over the epochs.{kept}"
    return Drawing("training_curve", "learning", caption, figure)


def _trace(run: FinishedRun, summary: Mapping[str, Any]) -> Drawing:
    trace = run.gp["trace"]
    figure = hyperparameter_trace_figure(trace, unit=summary["unit"])
    scale = Recalibration.in_gp_file(run.gp).scale
    recalibrated = (
        f" Amplitude and noise are those before σ was recalibrated, which multiplied both by {scale:.2f};"
        " “Gaussian process, fitted” below has them after it."
        if scale != 1.0
        else ""
    )
    caption = (
        f"Gaussian process on the first network's latents: negative log likelihood and hyperparameters in"
        f" {counted(len(trace), 'evaluation')}; the best one is kept.{recalibrated}"
    )
    return Drawing("hyperparameter_trace", "learning", caption, figure)
