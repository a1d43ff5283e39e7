"""``gpnet-ray compare``: several runs on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["compare"]


def compare(
    run_dirs: Annotated[
        list[Path], typer.Argument(metavar="DIR DIR...", help="Folders of two or more runs.")
    ],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("comparison.html"),
) -> None:
    """Put several runs of one target onto one page; the runs are only read."""
    from gpnet_ray.report.page_compare import write_comparison

    typer.echo(f"Comparison: {write_comparison(run_dirs, out)}")
