"""Write the report of a run: ``summary.json``, figures, and one HTML page that needs no network."""

from __future__ import annotations

import os
from pathlib import Path

from gpnet_ray.report.finished_run import read_finished_run
from gpnet_ray.report.html import page_html
from gpnet_ray.report.panels import draw_panels
from gpnet_ray.report.style import release_figures
from gpnet_ray.report.summary import summarise, to_strict_json

__all__ = ["write_report", "write_text"]


def write_report(run_dir: Path) -> Path:
    """Write ``summary.json`` and ``report/`` into a run folder, over what stood there.

    The page is written last, so that an ``index.html`` always has its figures and its summary.

    Args:
        run_dir: folder of a run, finished or not; the page of one that is not says so.

    Returns:
        Path of ``report/index.html``.

    Raises:
        RunFolderError: the folder or one of its files is missing or unusable; nothing was written.
    """
    run = read_finished_run(run_dir)
    summary = summarise(run)
    folder = run.path / "report"
    folder.mkdir(exist_ok=True)
    panels = draw_panels(run, summary, folder)
    release_figures()
    write_text(run.path / "summary.json", to_strict_json(summary))
    index = folder / "index.html"
    write_text(index, page_html(run, summary, panels, folder))
    return index


def write_text(path: Path, text: str) -> None:
    """Write a file that is never seen half-written."""
    # The run itself and somebody who looks at it may write at the same time.
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, "utf-8")
    draft.replace(path)
