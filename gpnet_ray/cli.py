"""The command line: its commands are the modules of ``commands``."""

from __future__ import annotations

import errno
import sys
from typing import Annotated

import typer

from gpnet_ray import __version__
from gpnet_ray.commands import data, pool
from gpnet_ray.commands.ask_tell import add_candidates, ask, put_back, tell, withdraw
from gpnet_ray.commands.compare import compare
from gpnet_ray.commands.featurize import featurize
from gpnet_ray.commands.fetch import fetch
from gpnet_ray.commands.init import init
from gpnet_ray.commands.predict import predict
from gpnet_ray.commands.report import report
from gpnet_ray.commands.run import run
from gpnet_ray.commands.status import status
from gpnet_ray.commands.train import train
from gpnet_ray.commands.validate import validate
from gpnet_ray.errors import GpnetError, InputError

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Active learning for materials on Ray: MEGNet latents, an exact Gaussian process, and the"
    " max-σ material labelled next.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gpnet-ray {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Hold the options that stand before a command."""


for _command in (
    run,
    report,
    fetch,
    compare,
    validate,
    train,
    featurize,
    predict,
    init,
    ask,
    tell,
    status,
    add_candidates,
    withdraw,
    put_back,
):
    app.command()(_command)
app.add_typer(data.app, name="data")
app.add_typer(pool.app, name="pool")


def main() -> None:
    """Run the command line; errors that the program foresaw are one message and an exit code."""
    try:
        app()
    except GpnetError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.filename is not None and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            print(
                f"Error: {error.filename}: {error.strerror}; see who may read and write there",
                file=sys.stderr,
            )
            sys.exit(InputError.exit_code)
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(
            f"Error: the disk is full ({error}). Make room; gpnet-ray run goes on with --resume",
            file=sys.stderr,
        )
        sys.exit(1)
