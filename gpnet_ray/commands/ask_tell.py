"""``gpnet-ray ask``, ``tell`` and what changes the pool of such a campaign."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from gpnet_ray.commands import options
from gpnet_ray.commands.init import RunDir, read_candidates
from gpnet_ray.data.structure_files import STRUCTURE_FORMATS, StructureFormat
from gpnet_ray.errors import InputError, nearest_name_hint
from gpnet_ray.output_place import check_new_folder

if TYPE_CHECKING:
    from gpnet_ray.campaign.ask_tell_state import Request

__all__ = ["add_candidates", "ask", "put_back", "tell", "withdraw"]

REFUSED = 2
"""Exit code of ``tell`` when rows were refused; all others were taken."""

Ids = Annotated[list[str], typer.Argument(help="Ids of materials.", show_default=False)]


def ask(
    run_dir: RunDir,
    n: Annotated[int, typer.Option("-n", "--number", min=1, help="How many new ones.")] = 1,
    write_structures: Annotated[
        str | None, typer.Option(help=f"Write the crystals too: {' or '.join(STRUCTURE_FORMATS)}.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the files; left out: the next under DIR/requests/."),
    ] = None,
    pending: Annotated[
        bool,
        typer.Option("--pending", help="Ask nothing new; write again what was asked and not told."),
    ] = False,
    address: options.Address = None,
) -> None:
    """Pick the next materials to label, given all that is told or pending, and write what to compute."""
    from gpnet_ray.campaign.ask_tell import AskTellCampaign
    from gpnet_ray.progress import make_progress

    fmt = _structure_format(write_structures)
    progress = make_progress(Console())
    with AskTellCampaign.open(run_dir, address=address, progress=progress) as campaign:
        if out is not None:
            # Before anything is asked, so that what was asked has a place.
            check_new_folder(out)
        requests = campaign.status().pending if pending else campaign.ask(n)
        if not requests:
            typer.echo("Nothing is pending.")
            return
        form = campaign.write_request(requests, out, fmt=fmt)
        _print_requests(requests, campaign.status().unit)
    files = f"Crystals: {form.parent}\n" if fmt else ""
    command = shlex.join(["gpnet-ray", "tell", str(run_dir), str(form)])
    typer.echo(f"{files}Fill in and tell: {command}")


def tell(
    run_dir: RunDir,
    results: Annotated[
        Path, typer.Argument(help="CSV file, wholly or partly filled in.", show_default=False)
    ],
    unit: Annotated[
        str | None, typer.Option(help="The values' unit, where the file does not say it.")
    ] = None,
    accept_implausible: Annotated[
        bool,
        typer.Option("--accept-implausible", help="Take values far from those of the start."),
    ] = False,
) -> None:
    """Take labels from a CSV file; rows that cannot be right are refused by line (exit code 2)."""
    from gpnet_ray.campaign.ask_tell import AskTellCampaign

    with AskTellCampaign.open(run_dir) as campaign:
        report = campaign.tell_results(results, unit=unit, accept_implausible=accept_implausible)
    typer.echo(
        f"{report.n_labels} labels and {report.n_failed} failures taken, {report.n_known} known before,"
        f" {report.n_open} rows still open, {len(report.refused)} refused"
    )
    for row in report.refused:
        typer.echo(f"{results}, line {row.line}: {row.reason}", err=True)
    if report.refused:
        raise typer.Exit(REFUSED)


def add_candidates(
    run_dir: RunDir,
    dataset: Annotated[
        Path,
        typer.Argument(help="Materials with new ids; targets are not read.", show_default=False),
    ],
    address: options.Address = None,
) -> None:
    """Add materials to the pool; the campaign's own network featurises them."""
    from gpnet_ray.campaign.ask_tell import AskTellCampaign
    from gpnet_ray.progress import make_progress

    progress = make_progress(Console())
    with AskTellCampaign.open(run_dir, address=address, progress=progress) as campaign:
        candidates = read_candidates(dataset, campaign.config, progress)
        ids, rejected = campaign.add_candidates(candidates)
        left = campaign.status().n_free
    typer.echo(f"{len(ids)} candidates added, {len(rejected)} rejected; {left} can be asked for")


def withdraw(
    run_dir: RunDir,
    ids: Ids,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
) -> None:
    """Take candidates out of the pool, pending ones too."""
    from gpnet_ray.campaign.ask_tell import AskTellCampaign

    with AskTellCampaign.open(run_dir) as campaign:
        campaign.withdraw(ids, reason=reason)
        left = campaign.status().n_free
    typer.echo(f"{len(set(ids))} withdrawn; {left} candidates can be asked for")


def put_back(run_dir: RunDir, ids: Ids) -> None:
    """Offer materials again that had failed or were withdrawn."""
    from gpnet_ray.campaign.ask_tell import AskTellCampaign

    with AskTellCampaign.open(run_dir) as campaign:
        campaign.put_back(ids)
        left = campaign.status().n_free
    typer.echo(f"{len(set(ids))} put back; {left} candidates can be asked for")


def _structure_format(name: str | None) -> StructureFormat | None:
    if name is None:
        return None
    known = next((fmt for fmt in STRUCTURE_FORMATS if fmt == name), None)
    if known is None:
        raise InputError(f"--write-structures {name}: {nearest_name_hint(name, STRUCTURE_FORMATS)}")
    return known


def _print_requests(requests: Sequence[Request], unit: str) -> None:
    width = max(len(request.material_id) for request in requests)
    typer.echo(f"{'material':<{width}}  σ ({unit})  predicted ({unit})")
    for request in requests:
        numbers = f"{request.sigma:<{len(unit) + 4}.4f}  {request.predicted:.4f}"
        typer.echo(f"{request.material_id:<{width}}  {numbers}")
