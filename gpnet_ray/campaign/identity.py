"""What a run is of: its settings and its data, so that only the same run is gone on with."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

from gpnet_ray.campaign.context import RunContext
from gpnet_ray.campaign.data_fingerprint import DataFingerprint, data_fingerprint
from gpnet_ray.campaign.history import PURPOSES, RunHistory
from gpnet_ray.campaign.journal import Event, Journal, read_journal
from gpnet_ray.campaign.machine import versions
from gpnet_ray.campaign.preparation import Problem
from gpnet_ray.campaign.telemetry_standing import RUN_ID_DIGITS
from gpnet_ray.data.splits import Split
from gpnet_ray.errors import RunFolderError
from gpnet_ray.gnn.network_state import NetworkState

__all__ = [
    "check_same",
    "holds_anything",
    "open_run",
    "run_identity",
    "science_of",
]


def run_identity(
    problem: Problem, context: RunContext, split: Split | None, network: NetworkState | None
) -> dict[str, Any]:
    """All that can change a number of the run, flat: settings by key, the rest as fingerprints."""
    identity = context.config.science()
    identity["data (ids, crystals, targets)"] = data_fingerprint(problem)
    identity["oracle"] = context.oracle.name
    identity["given split"] = (
        None if split is None else sha256(repr(split).encode() + b"|").hexdigest()[:16]
    )
    identity["given network"] = None if network is None else network.fingerprint()
    initial = context.initial
    identity["pretrained network"] = None if initial is None else initial.fingerprint()
    return identity


def science_of(identity: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of the settings of a run, to be compared with others of which some are left out.

    Global features are kept only where there are any (:meth:`gpnet_ray.config.NetworkConfig.content`).
    """
    return {"network.global_features": [], **identity}


def open_run(
    context: RunContext,
    journal: Journal,
    identity: Mapping[str, Any],
    *,
    started: str,
    retry_failed: bool,
) -> None:
    """Begin the journal, or read what an interrupted run left in it.

    Raises:
        RunFolderError: the run in the folder is of other settings or data; says which.
    """
    context.journal = journal
    if not journal.events:
        command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
        event = {
            # Of two runs that the same command begins in the same second, too.
            "run_id": uuid4().hex[:RUN_ID_DIGITS],
            "identity": identity,
            "versions": versions(),
            "started": started,
            "command": command,
        }
        stages = context.timings.items()
        journal.append(
            {"event": "run", **event},
            *({"event": "stage", "stage": name, "seconds": seconds} for name, seconds in stages),
        )
        context.history = RunHistory(run=event)
        return
    context.history = RunHistory.of(journal.events)
    run = context.history.run
    check_same(context.folder.path, {} if run is None else run["identity"], identity)
    events = [*journal.events, *(_retries(context.history) if retry_failed else ())]
    journal.append(*events[len(journal.events) :])
    if retry_failed and context.history.n_gone:
        context.progress.line(
            f"{context.history.n_gone} materials had failed before the network was trained and stay out; only a new"
            " run asks for them again"
        )
    if events[-1]["event"] == "retry":
        # New, or of a driver that died before it had removed them: it writes nothing in between.
        context.history = RunHistory.of(events)
        _remove_networks_of_forgotten_labels(context)
    context.progress.line(
        f"Going on with {context.folder.path}: {len(context.history.labels)} labels and"
        f" {sum(map(len, context.history.cycles.values()))} cycles are in its journal"
    )


def _retries(history: RunHistory) -> list[Event]:
    failed = {purpose: history.failed_ids(purpose) for purpose in PURPOSES}
    return [
        {"event": "retry", "for": purpose, "ids": ids} for purpose, ids in failed.items() if ids
    ]


def _remove_networks_of_forgotten_labels(context: RunContext) -> None:
    for strategy in context.config.selection.strategies:
        kept = [n for name, n in context.history.retrainings if name == strategy]
        context.folder.remove_networks(strategy, after=max(kept, default=0))


def holds_anything(journal: Path) -> bool:
    """Whether a run has bought a label or trained a network."""
    return journal.is_file() and any(
        event["event"] in ("label", "measured", "network") for event in read_journal(journal)
    )


def check_same(folder: Path, known: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Refuse to go on in a folder with other settings or data.

    Args:
        folder: The folder, for the message.
        known: What it was made with.
        identity: What is given now.

    Raises:
        RunFolderError: says what differs.
    """
    # Journaled picks are taken as they were: what scores the next ones may be more exact.
    keys = sorted({*known, *identity} - {"gp.columns_dtype"})
    differ = [k for k in keys if not _is_same(known.get(k), identity.get(k))]
    if differ:
        listing = "; ".join(f"{k}: {known.get(k)} then, {identity.get(k)} now" for k in differ[:8])
        raise RunFolderError(
            f"{folder} was made with other settings or data than those given now"
            f" ({listing}). Give the same to resume it, or name another run with --name"
        )


def _is_same(then: object, now: object) -> bool:
    return now.is_that_of(then) if isinstance(now, DataFingerprint) else then == now
