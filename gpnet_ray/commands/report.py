"""``gpnet-ray report``: the report of a run again, finished or not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

__all__ = ["report", "show_result"]


def report(
    run_dir: Annotated[Path, typer.Argument(help="Folder of a run; it may still go on.")],
) -> None:
    """Draw the report of a run again from its tables, also while the run goes on."""
    from gpnet_ray.report.page import write_report
    from gpnet_ray.report.summary import build_summary
    from gpnet_ray.report.words import progress_sentences

    page, console, summary = write_report(run_dir), Console(), build_summary(run_dir)
    if summary["progress"]:
        state, labels, _ = progress_sentences(summary["progress"])
        console.print(f"Not finished. {state} {labels}", highlight=False, markup=False)
    show_result(console, summary, page)


def show_result(console: Console, summary: Mapping[str, Any], report: Path) -> None:
    """Print a run's table and where its report lies."""
    from gpnet_ray.report.table import summary_table

    console.print(summary_table(summary, width=console.width), crop=False)
    console.print(f"Report: {report}", soft_wrap=True, highlight=False)
