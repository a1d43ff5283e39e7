"""The pages of repeats: the learning curves with their spread over seeds, and all seeds on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpnet_ray.evaluation.comparison import Measure
from gpnet_ray.report.finished_run import FinishedRun
from gpnet_ray.report.page_compare import write_comparison
from gpnet_ray.report.style import figure_style, release_figures
from gpnet_ray.report.summary import learning_curve
from gpnet_ray.report.words import quantity_name

__all__ = ["write_repeats_page"]

ON: dict[Measure, str] = {"test": "the test rows", "unlabelled": "what is still unlabelled"}


def write_repeats_page(
    runs: Sequence[FinishedRun], folder: Path, comparisons: Sequence[Mapping[str, Any]]
) -> Path:
    """Draw the learning curves over seeds into a folder and write a page of all seeds.

    Args:
        runs: What the seeds left in their folders.
        folder: Where ``learning_curve_test.svg`` and ``.png`` (and the same ``_unlabelled``) and, of several
            seeds, ``comparison.html`` lie afterwards.

        comparisons: Of the summary over seeds, for the label saving of the mean curves.

    Returns:
        The page of all seeds; of a single seed, its own report.

    Raises:
        RunFolderError: a run folder or one of its files is missing or unusable.
    """
    _draw(runs, folder, comparisons)
    release_figures()
    if len(runs) == 1:
        return runs[0].path / "report" / "index.html"
    return write_comparison([run.path for run in runs], folder / "comparison.html")


def _draw(
    runs: Sequence[FinishedRun], folder: Path, comparisons: Sequence[Mapping[str, Any]]
) -> None:
    from gpnet_ray.report.figures import learning_curve_figure
    from gpnet_ray.report.panels_learning import largest_saving

    target, unit = runs[0].info["target"], runs[0].info["unit"]
    savings = [one["mean_curves"] for one in comparisons if one["mean_curves"] is not None]
    with figure_style():
        for measure, on in ON.items():
            found = (learning_curve(run, arm, measure) for run in runs for arm in run.arms)
            curves = [curve for curve in found if curve is not None]
            if not curves:
                continue
            figure = learning_curve_figure(
                curves,
                ylabel=f"{quantity_name(target, unit)}, MAE ({unit})",
                title=f"Error on {on}",
                saving=largest_saving(savings, measure),
            )
            for suffix in ("svg", "png"):
                figure.savefig(folder / f"learning_curve_{measure}.{suffix}")
