"""``gpnet-ray pool pick``: what to label next, of pools that no memory holds."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from gpnet_ray.commands import options
from gpnet_ray.commands.which_network import say_which_network
from gpnet_ray.errors import InputError, RunFolderError
from gpnet_ray.output_place import check_new_file

if TYPE_CHECKING:
    from gpnet_ray.campaign.pool_session import PoolPick

__all__ = ["next_command", "pick", "print_picks", "write_form"]

SHOWN_ROWS = 50

Files = list[Path] | None


def pick(
    context: typer.Context,
    surrogate: Annotated[
        Path, typer.Argument(help="Folder written by train or run.", show_default=False)
    ],
    pools: Annotated[
        list[Path],
        typer.Argument(help="Folders written by pool build or featurize.", show_default=False),
    ],
    n: Annotated[int, typer.Option("-n", "--number", min=1, help="How many.")] = 1,
    strategy: Annotated[str, typer.Option(help="max-sigma, top-k or distance.")] = "max-sigma",
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="How many top-k and distance pick without seeing each other; left out: all."
        ),
    ] = None,
    labels: Annotated[
        Files,
        typer.Option(
            help="CSV file that an earlier pick wrote, filled in, wholly or partly; open rows are pending."
            " Repeatable."
        ),
    ] = None,
    unit: Annotated[
        str | None, typer.Option(help="The labels' unit, where their file does not say it.")
    ] = None,
    pending: Annotated[
        Files,
        typer.Option(help="CSV file of what was picked before, which counts as known. Repeatable."),
    ] = None,
    withdrawn: Annotated[
        Files,
        typer.Option(help="CSV file with a column material_id: what is not wanted. Repeatable."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the CSV file to fill in there; it has to be new.")
    ] = None,
    bounds_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder that keeps first bounds, so that none is computed twice; left out: beside the"
            " first pool, POOL.bounds.",
            show_default=False,
        ),
    ] = None,
    address: options.Address = None,
    config: options.ConfigFile = None,
    setting: options.Settings = None,
) -> None:
    """Pick what to label next, exactly, given all labels that are told or pending."""
    given = {"resources.address": address}
    resolved = options.resolve(given, settings=setting, preset=None, file=config)
    if out is not None:
        check_new_file(out)

    from gpnet_ray.campaign.pool_answers import read_answers
    from gpnet_ray.campaign.pool_session import PoolSession
    from gpnet_ray.campaign.surrogate import load_surrogate
    from gpnet_ray.data.results_file import FormRow, form_text
    from gpnet_ray.progress import make_progress

    known = load_surrogate(surrogate)
    if known is None:
        raise InputError(
            f"{surrogate} holds a network alone, which gives no σ; name a folder written by 'train' or 'run'"
        )
    answers = read_answers(
        labels or [], pending or [], withdrawn or [], unit=known.network.unit, stated_unit=unit
    )
    progress = make_progress(Console())
    say_which_network(surrogate, progress)
    progress.line(str(answers))
    first = pools[0].resolve()
    kept = bounds_dir or first.with_name(f"{first.name}.bounds")
    with PoolSession(
        known,
        pools,
        resolved,
        bounds_dir=kept,
        labels=answers.labels,
        pending=answers.pending,
        withdrawn=answers.withdrawn,
        progress=progress,
    ) as session:
        picks = session.pick(n, strategy=strategy, batch_size=batch_size)
    if out is None:
        print_picks(picks, known.network.unit)
        return
    rows = [FormRow(p.material_id, "", p.sigma, p.predicted, "") for p in picks]
    write_form(out, form_text(rows, unit=known.network.unit))
    progress.line(f"{len(picks)} picks in {out}. Fill in and go on:")
    # A terminal's progress would break a long line, which is to be copied.
    typer.echo(next_command(context, out))


def write_form(out: Path, text: str) -> None:
    """Write the picks, which have cost minutes: where that fails they are printed.

    Raises:
        RunFolderError: the file exists by now, or cannot be written.
    """
    try:
        with out.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        typer.echo(text)
        why = "cannot be written whole"
        if isinstance(error, FileExistsError):
            why = "exists already, made by somebody else meanwhile, and is left alone"
        raise RunFolderError(
            f"--out {out} {why} ({error}); what it was to hold is printed above: save it as a file of"
            " another name"
        ) from None


def next_command(context: typer.Context, out: Path) -> str:
    """The call that goes on from this one: all that it was given, and its picks as one more file of labels.

    Args:
        context: Of the call.
        out: The file that it has written.
    """
    values = context.params | {
        "labels": [*(context.params["labels"] or ()), out],
        "out": _free_name(out),
    }
    words = ["gpnet-ray", "pool", "pick"]
    for parameter in context.command.params:
        value = values[parameter.name or ""]
        given = value if isinstance(value, list | tuple) else [] if value is None else [value]
        words += _words(parameter.opts[0], given)
    return shlex.join(words)


def _words(name: str, values: Iterable[object]) -> list[str]:
    """An option as often as it was given; an argument has no dash and is not named."""
    named = [name] if name.startswith("-") else []
    return [word for value in values for word in (*named, str(value))]


def _free_name(out: Path) -> Path:
    """A file that is not there yet: picks.2.csv after picks.csv."""
    stem, _, last = out.stem.rpartition(".")
    number = int(last) if stem and last.isdecimal() else 1
    stem = stem if stem and last.isdecimal() else out.stem
    while True:
        number += 1
        free = out.with_name(f"{stem}.{number}{out.suffix}")
        if not free.exists():
            return free


def print_picks(picks: Sequence[PoolPick], unit: str) -> None:
    """Show the first picks as a table; ``unit`` is that of σ and prediction."""
    width = max(len("material"), *(len(pick.material_id) for pick in picks))
    typer.echo(f"{'material':<{width}}  σ ({unit})  predicted ({unit})")
    for pick in picks[:SHOWN_ROWS]:
        numbers = f"{pick.sigma:<{len(unit) + 4}.4f}  {pick.predicted:.4f}"
        typer.echo(f"{pick.material_id:<{width}}  {numbers}")
    if len(picks) > SHOWN_ROWS:
        typer.echo(f"{len(picks) - SHOWN_ROWS} more; --out FILE.csv writes all")
