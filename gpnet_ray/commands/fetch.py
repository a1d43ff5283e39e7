"""``gpnet-ray fetch``: a stored run as a folder of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["fetch"]


def fetch(
    uri: Annotated[
        str,
        typer.Argument(
            help="The run's address: the storage's with the run's name behind it.",
            show_default=False,
        ),
    ],
    to: Annotated[Path, typer.Argument(help="A new or empty folder.", show_default=False)],
) -> None:
    """Copy a run from where --storage keeps it, while it goes on or after its end."""
    from gpnet_ray.campaign.storage import fetch_run

    folder = fetch_run(uri, to)
    page = folder / "report" / "index.html"
    typer.echo(f"Report: {page}" if page.is_file() else f"{folder}: the run has not ended")
