"""``gpnet-ray predict``: what a network or surrogate says of some crystals."""

from __future__ import annotations

from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer
from rich.console import Console
from rich.table import Table

from gpnet_ray.commands import options
from gpnet_ray.commands.which_network import say_which_network
from gpnet_ray.errors import InputError
from gpnet_ray.output_place import check_new_file, new_file

if TYPE_CHECKING:
    import pyarrow as pa

    from gpnet_ray.campaign.pool_sources import PoolSource
    from gpnet_ray.config import Config
    from gpnet_ray.gnn.network_state import NetworkState
    from gpnet_ray.progress import Progress

__all__ = ["predict"]

SHOWN_ROWS = 50


def predict(
    network: options.Network,
    files: Annotated[
        list[str],
        typer.Argument(help="CIF or POSCAR files, or one dataset, or hypothetical-oxides:N."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Write the table there: .csv or .parquet.")
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(
            help="Give the interval, too, that holds this share of observations, e.g. 0.9."
        ),
    ] = None,
    id_column: options.IdColumn = None,
    structure_column: options.StructureColumn = None,
    seed: options.Seed = None,
    address: options.Address = None,
    config: options.ConfigFile = None,
    setting: options.Settings = None,
) -> None:
    """Predict the target of crystals, with a σ where NETWORK holds a Gaussian process too."""
    given = {
        "data.id_column": id_column,
        "data.structure_column": structure_column,
        "seed": seed,
        "resources.address": address,
    }
    resolved = options.resolve(given, settings=setting, preset=None, file=config)
    if out is not None:
        check_new_file(out, endings=(".csv", ".parquet"))
        check_new_file(_reasons_file(out))
    if interval is not None and not 0 < interval < 1:
        raise InputError(f"--interval {interval}: the share has to lie between 0 and 1")

    from gpnet_ray.campaign.rejected import rejected_csv, rejected_summary
    from gpnet_ray.campaign.surrogate import load_network, load_surrogate
    from gpnet_ray.campaign.surrogate_use import predict_pool
    from gpnet_ray.progress import make_progress

    console = Console()
    progress = make_progress(console)
    say_which_network(network, progress)
    state = load_network(network)
    surrogate = load_surrogate(network)
    if surrogate is None:
        progress.line(
            f"{network} holds a network alone: its own predictions follow, without σ. A folder written by"
            " 'train' or 'run' holds the Gaussian process that gives one."
        )
    if surrogate is None and interval is not None:
        raise InputError(
            f"--interval {interval}: {network} holds a network alone, which gives no σ"
        )
    source = _source(files, state, resolved, progress)
    table, rejected = predict_pool(
        source,
        state,
        surrogate,
        level=interval,
        resources=resolved.resources,
        progress=progress,
    )
    if out is None:
        _show(console, table, state.target, state.unit)
    else:
        wanted, out = out, first_free(out)
        if out != wanted:
            progress.line(f"Warning: {wanted} came in the meantime, and is left as it is")
        with new_file(out) as file:
            _write_table(table, file, out.suffix)
        progress.line(f"{table.num_rows} predictions of {state.target} ({state.unit}) in {out}")
    if rejected:
        progress.line(f"{len(rejected)} rejected: {rejected_summary(rejected)}")
        if out is None:
            for material in rejected[:SHOWN_ROWS]:
                progress.line(f"  {material.material_id}: {material.category}: {material.reason}")
        else:
            listing = _reasons_file(out)
            with new_file(listing) as file:
                file.write(rejected_csv(rejected).encode())
            progress.line(f"Reasons: {listing}")


def _source(
    files: list[str], state: NetworkState, config: Config, progress: Progress
) -> PoolSource:
    """The one dataset that is named, or the files of crystals."""
    from gpnet_ray.campaign.pool_sources import holds_one_crystal, pool_source, structure_files
    from gpnet_ray.gnn.global_state import check_has_features

    crystals = [file for file in files if holds_one_crystal(Path(file))]
    if len(crystals) == len(files):
        check_has_features("CIF and POSCAR files", state.config.global_features)
        return structure_files([Path(file) for file in files], progress=progress)
    if len(files) > 1:
        other = next(file for file in files if file not in crystals)
        raise InputError(
            f"{other} is not a CIF or POSCAR file; name such files (.cif, .poscar, .vasp, POSCAR…), or"
            " one dataset alone"
        )
    return pool_source(
        files[0],
        id_column=config.data.id_column,
        structure_column=config.data.structure_column,
        global_features=state.config.global_features,
        seed=config.seed,
        progress=progress,
    )


def _reasons_file(out: Path) -> Path:
    return out.with_name(f"{out.stem}.rejected.csv")


def first_free(out: Path) -> Path:
    """The first of ``NAME``, ``NAME-2``, ``NAME-3`` and so on that neither a table nor its reasons have yet."""
    others = (out.with_stem(f"{out.stem}-{n}") for n in count(2))
    names = chain([out], others)
    return next(p for p in names if not (p.exists() or _reasons_file(p).exists()))


def _write_table(table: pa.Table, file: BinaryIO, ending: str) -> None:
    import pyarrow.csv
    import pyarrow.parquet

    if ending.lower() == ".csv":
        pyarrow.csv.write_csv(table, file)
    else:
        pyarrow.parquet.write_table(table, file)


def _show(console: Console, table: pa.Table, target: str, unit: str) -> None:
    shown = Table(title=f"{target} ({unit})", title_justify="left")
    titles = {"sigma": "σ", "network_prediction": "network"}
    for name in table.column_names:
        if name == "material_id":
            # Of files it is their path, which says which is which at its end.
            shown.add_column("id", overflow="fold")
        else:
            shown.add_column(titles.get(name, name), justify="right", no_wrap=True)
    for row in table.slice(0, SHOWN_ROWS).to_pylist():
        shown.add_row(*(v if isinstance(v, str) else f"{v:.4f}" for v in row.values()))
    console.print(shown)
    left = table.num_rows - SHOWN_ROWS
    if left > 0:
        console.print(f"{left} more; --out FILE.csv writes all")
