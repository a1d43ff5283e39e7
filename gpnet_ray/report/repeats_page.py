"""The pages of repeats: the learning curves with their spread over seeds, and all seeds on one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gpnet_ray.evaluation.comparison import Measure
from gpnet_ray.report.finished_run import FinishedRun
from gpnet_ray.report.page_compare import write_comparison
from gpnet_ray.report.style import figure_style, release_figures
from gpnet_ray.report.summary import learning_curve

__all__ = ["write_repeats_page"]

ON: dict[Measure, str] = {"test": "the test rows", "unlabelled": "what is still unlabelled"}


def write_repeats_page(runs: Sequence[FinishedRun], folder: Path) -> Path:
    """Draw the learning curves over seeds into a folder and write a page of all seeds.

    Args:
        runs: What the seeds left in their folders.
        folder: Where ``learning_curve_test.svg`` and ``.png`` (and the same ``_unlabelled``) and, of several
            seeds, ``comparison.html`` lie afterwards.

    Returns:
        The page of all seeds; of a single seed, its own report.

    Raises:
        RunFolderError: a run folder or one of its files is missing or unusable.
    """
    _draw(runs, folder)
    release_figures()
    if len(runs) == 1:
        return runs[0].path / "report" / "index.html"
    return write_comparison([run.path for run in runs], folder / "comparison.html")


def _draw(runs: Sequence[FinishedRun], folder: Path) -> None:
    from gpnet_ray.report.figures import learning_curve_figure

    unit = runs[0].info["unit"]
    with figure_style():
        for measure, on in ON.items():
            found = (learning_curve(run, arm, measure) for run in runs for arm in run.arms)
            curves = [curve for curve in found if curve is not None]
            if not curves:
                continue
            figure = learning_curve_figure(curves, ylabel=f"MAE ({unit})", title=f"Error on {on}")
            for suffix in ("svg", "png"):
                figure.savefig(folder / f"learning_curve_{measure}.{suffix}")
