"""``gpnet-ray data fetch``: crystals and a property from the Materials Project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Datasets from where the field has them."
)


@app.callback()
def _group() -> None:
    """Keep ``fetch`` a command of its own while it is the only one."""


@app.command()
def fetch(
    elements: Annotated[
        str,
        typer.Option(
            help="Elements that a material has to hold, all of them: O, or Li,O.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="The Parquet file to write.", show_default=False)],
    target: Annotated[
        str, typer.Option("--property", help="A number of the Materials Project's summaries.")
    ] = "formation_energy_per_atom",
    max_energy_above_hull: Annotated[
        float | None,
        typer.Option(help="Largest energy above the convex hull (eV/atom); 0: what is on it."),
    ] = None,
    include_gnome: Annotated[
        bool,
        typer.Option("--include-gnome", help="Also what GNoME predicted (CC BY-NC 4.0)."),
    ] = False,
    page_size: Annotated[int, typer.Option(min=1, max=1000, help="Materials a request.")] = 500,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
) -> None:
    """Fetch crystals and a property from the Materials Project; interrupted, it goes on when run again.

    The key comes from the environment variable MP_API_KEY.
    """
    from gpnet_ray.data.materials_project import (
        MaterialsQuery,
        fetch_materials,
        key_of_environment,
    )
    from gpnet_ray.data.materials_project_client import MaterialsProject
    from gpnet_ray.progress import make_progress

    symbols = tuple(symbol.strip() for symbol in elements.split(",") if symbol.strip())
    query = MaterialsQuery(symbols, target, max_energy_above_hull, include_gnome)
    key = key_of_environment()
    progress = make_progress(Console())
    n_materials = fetch_materials(
        query,
        out,
        pages=MaterialsProject(key, progress=progress),
        page_size=page_size,
        overwrite=overwrite,
        progress=progress,
    )
    progress.line(
        f"{n_materials} materials in {out}. Use it with: --dataset {out} --target {query.target}"
        f" --unit '{query.unit}'"
    )
