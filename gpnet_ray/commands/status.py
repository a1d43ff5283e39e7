"""``gpnet-ray status``: where a campaign stands, from its folder or from a running cluster."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpnet_ray.commands import options
from gpnet_ray.errors import InputError, RunFolderError

if TYPE_CHECKING:
    from gpnet_ray.campaign.ask_tell_state import AskTellStatus
    from gpnet_ray.campaign.telemetry_standing import ArmFigures, RunFigures
    from gpnet_ray.report.stage_times import StageTime

__all__ = ["status"]


def status(
    where: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS|DIR",
            help="Folder of a campaign, running or not; or auto or host:port of a Ray cluster, for the"
            " runs that go on there.",
            show_default=False,
        ),
    ],
    scores: Annotated[
        bool,
        typer.Option(
            help="Of an ask-and-tell campaign: compute the largest σ and the error on the test rows"
            " (some seconds)."
        ),
    ] = True,
    address: options.Address = None,
) -> None:
    """Say what is labelled, pending, failed and left, and how certain the model is."""
    folder = Path(where)
    if folder.is_dir():
        from gpnet_ray.campaign.ask_tell_folder import AskTellFolder

        if AskTellFolder(folder).is_own():
            _ask_tell(folder, scores=scores, address=address)
        else:
            _run(folder)
    elif where == "auto" or (":" in where and "/" not in where):
        _cluster(where)
    else:
        raise InputError(
            f"{where} is neither a folder nor an address (auto, host:port); name a run's folder or a"
            " node of a Ray cluster"
        )


def _run(folder: Path) -> None:
    from gpnet_ray.campaign.folder_kinds import instead_of_run
    from gpnet_ray.campaign.journal import read_journal
    from gpnet_ray.campaign.run_folder import RunFolder
    from gpnet_ray.campaign.telemetry_standing import Standing
    from gpnet_ray.report.stage_times import stage_times

    instead = instead_of_run(folder)
    if instead is not None:
        raise RunFolderError(instead)
    files = RunFolder(folder)
    if not files.journal.is_file():
        raise RunFolderError(
            f"{folder} holds no run and no ask-and-tell campaign; name a folder that gpnet-ray run or"
            " gpnet-ray init made"
        )
    standing = Standing.of(read_journal(files.journal))
    # It is there once it is known what takes part.
    about = files.read_json(files.run) if files.run.is_file() else {}
    unit = about.get("unit", "")
    if about:
        typer.echo(
            f"{about['target']} ({unit}) of {about['source']}, begun {about['started']}:"
            f" {about['n_train']} train, {about['n_pool']} pool, {about['n_test']} test"
        )
    if standing.run_id is not None:
        typer.echo(f"Run id: {standing.run_id}")
    done = ", ".join(_in_seconds(stage) for stage in stage_times(standing.timings))
    typer.echo(f"Stages done: {done or 'none'}")
    _print_run(standing.figures(), unit)
    if standing.finished:
        typer.echo("Finished.")


def _in_seconds(stage: StageTime) -> str:
    """A stage with its time, and what of it its parts took."""
    parts = ", ".join(map(_in_seconds, stage.parts))
    return f"{stage.name} {stage.seconds:.1f} s" + (f" (of which {parts})" if parts else "")


def _cluster(address: str) -> None:
    import ray

    from gpnet_ray.actors.cluster import connected
    from gpnet_ray.actors.placement import cluster_nodes
    from gpnet_ray.actors.settings import ResourcesConfig
    from gpnet_ray.campaign.telemetry import figures_of_cluster

    with connected(ResourcesConfig(address=address)):
        runs, nodes = figures_of_cluster(), cluster_nodes()
        total, free = ray.cluster_resources(), ray.available_resources()
    parts = [
        f"{free.get(key, 0):g} of {total[key]:g} {key} free"
        for key in ("CPU", "GPU")
        if key in total
    ]
    typer.echo(f"Nodes: {len(nodes)}; {', '.join(parts)}")
    if not runs:
        typer.echo("No run goes on here, or it began only seconds ago.")
    for tags, figures in sorted(runs.items(), key=itemgetter(0)):
        typer.echo(f"{tags.run} (run id {tags.run_id or 'unknown'}):")
        _print_run(figures, tags.unit)


def _print_run(now: RunFigures, unit: str) -> None:
    labels = [
        f"{_number(value)} {name}"
        for name, value in (
            ("ok", now.labels_ok),
            ("failed", now.labels_failed),
            ("pending", now.labels_pending),
        )
    ]
    typer.echo(f"Labels: {', '.join(labels)}")
    _print_arms(now.arms, unit)


def _print_arms(arms: Mapping[str, ArmFigures], unit: str) -> None:
    for strategy, arm in arms.items():
        typer.echo(
            f"{strategy}: {_number(arm.picks)} picks, {_number(arm.pool_left)} left in the pool, largest σ"
            f" {_number(arm.largest_sigma)} {unit}, test MAE {_number(arm.test_mae)} {unit}"
        )
        typer.echo(
            f"  last round: scoring {_number(arm.scoring_seconds)} s, update"
            f" {_number(arm.update_seconds)} s, {_number(arm.messages_per_cycle)} messages and"
            f" {_number(arm.bytes_per_cycle)} bytes a cycle"
        )


def _number(value: float | None) -> str:
    """Whole numbers whole, others with four digits; a dash where it is not known.

    >>> _number(12345.0), _number(0.123456), _number(None)
    ('12345', '0.1235', '-')
    """
    if value is None:
        return "-"
    return f"{value:.0f}" if value == int(value) else f"{value:.4g}"


def _ask_tell(run_dir: Path, *, scores: bool, address: str | None) -> None:
    from gpnet_ray.campaign.ask_tell import AskTellCampaign

    with AskTellCampaign.open(run_dir, read_only=True, address=address) as campaign:
        now = campaign.status()
        _print_status(now)
        if scores:
            computed = campaign.scores()
            if computed.largest_sigma is not None:
                typer.echo(f"Largest σ of a candidate: {computed.largest_sigma:.4g} {now.unit}")
            if computed.test_mae is not None:
                typer.echo(f"MAE on {now.n_test} test rows: {computed.test_mae:.4f} {now.unit}")


def _print_status(now: AskTellStatus) -> None:
    typer.echo(f"{now.target} ({now.unit}), picked by {now.strategy}")
    typer.echo(f"Labels: {now.n_start} at the start, {now.n_told} told since")
    typer.echo(f"Pool: {now.n_free} candidates can be asked for, {len(now.withdrawn)} withdrawn")
    typer.echo(f"Pending: {len(now.pending)}")
    for request in now.pending:
        age = _in_words(datetime.now(timezone.utc) - request.asked_at)
        typer.echo(f"  {request.material_id}: asked {age} ago, σ {request.sigma:.4g} {now.unit}")
    typer.echo(f"Failed: {len(now.failed)}")
    for outcome in now.failed:
        typer.echo(f"  {outcome.material_id}: {outcome.status}, {outcome.reason}")


def _in_words(age: timedelta) -> str:
    """A length of time in its largest unit.

    >>> _in_words(timedelta(minutes=90))
    '1.5 h'
    """
    seconds = age.total_seconds()
    for name, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.1f} {name}"
    return f"{seconds:.0f} s"
