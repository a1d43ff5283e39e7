"""``gpnet-ray report``: the report of a finished run again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

__all__ = ["report", "show_result"]


def report(
    run_dir: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
) -> None:
    """Draw the report of a run again from its tables."""
    from gpnet_ray.report.page import write_report
    from gpnet_ray.report.summary import build_summary
    from gpnet_ray.report.table import summary_table

    page = write_report(run_dir)
    show_result(Console(), summary_table(build_summary(run_dir)), page)


def show_result(console: Console, table: Table, report: Path) -> None:
    """Print a run's table and where its report lies."""
    console.print(table)
    console.print(f"Report: {report}", soft_wrap=True, highlight=False)
