"""Ask and tell: the campaign of people whose oracle is a queue of their own.

A label takes hours and comes back in any order, or never. So the campaign lies in a folder and is
opened when there is something to ask or to tell; its journal is the truth, and every question and every
answer is in it before the program goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from gpnet_ray.campaign.ask_tell_answers import TellReport, judge, judge_all
from gpnet_ray.campaign.ask_tell_folder import AskTellFolder
from gpnet_ray.campaign.ask_tell_pool import join_pool
from gpnet_ray.campaign.ask_tell_request import write_request
from gpnet_ray.campaign.ask_tell_scoring import Scores
from gpnet_ray.campaign.ask_tell_session import TRY_AGAIN, AskTellSession
from gpnet_ray.campaign.ask_tell_setup import (
    BEGIN_AGAIN,
    Start,
    now_text,
    set_up,
    settled,
    with_address,
)
from gpnet_ray.campaign.ask_tell_state import AskTellState, AskTellStatus, Request
from gpnet_ray.campaign.pretraining import with_pretrained
from gpnet_ray.campaign.ray_errors import ray_errors_explained
from gpnet_ray.config import Config
from gpnet_ray.data.dataset import MaterialsDataset, RejectedMaterial, name_some
from gpnet_ray.data.results_file import read_results
from gpnet_ray.data.structure_files import StructureFormat
from gpnet_ray.errors import InputError
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.oracles.protocol import LabelOutcome, LabelStatus
from gpnet_ray.progress import NullProgress, Progress

__all__ = ["AskTellCampaign", "AskTellStatus", "TellReport"]


class AskTellCampaign:
    """A campaign in a folder; made by :meth:`create`, gone on with by :meth:`open`.

    Network, scaling and hyperparameters stay as they were fitted at the start. While it is open, no other
    process can write to it; close it, or use it in a ``with`` block.

    >>> from gpnet_ray.campaign.ask_tell import AskTellCampaign
    >>> with AskTellCampaign.open("runs/oxides") as campaign:  # doctest: +SKIP
    ...     for request in campaign.ask(3):
    ...         campaign.tell(request.material_id, my_dft(request.material_id))
    """

    def __init__(
        self, folder: AskTellFolder, *, read_only: bool, address: str | None, progress: Progress
    ) -> None:
        """Use :meth:`create` or :meth:`open`."""
        config = with_address(folder.read_config(), address)
        self._session = AskTellSession(folder, config, read_only=read_only)
        self._progress = progress

    @classmethod
    def create(
        cls,
        run_dir: str | Path,
        labelled: MaterialsDataset,
        pool: MaterialsDataset,
        config: Config | None = None,
        *,
        n_test: int = 0,
        network: NetworkState | None = None,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> AskTellCampaign:
        """Train the network, featurise everything, fit the Gaussian process, and write the folder.

        Args:
            run_dir: The campaign's folder.
            labelled: Crystals with their labels; at least 10 to learn from.
            pool: Candidates, without labels.
            config: Settings; the defaults where left out. One strategy picks, ``max-sigma`` where none
                is named.
            n_test: How many labelled rows, drawn by the seed, only measure the error.
            network: A trained network, of the same target and settings; else one is trained.
            overwrite: Replace a campaign in which nothing has been told yet.
            progress: Where progress is shown; nowhere where left out.

        Raises:
            InputError: the parts do not fit each other, or too few labels are left to learn from.
            RunFolderError: the folder is occupied.
            ClusterError: the cluster does not give what was asked for.
        """
        folder, progress = AskTellFolder(Path(run_dir)), progress or NullProgress()
        config, initial = with_pretrained(settled(config or Config()), progress)
        start = Start(labelled, pool, n_test, network, initial)
        with ray_errors_explained(f"The campaign has not begun; {BEGIN_AGAIN}"):
            set_up(folder, start, config, overwrite=overwrite, progress=progress)
        address = config.resources.address
        return cls(folder, read_only=False, address=address, progress=progress)

    @classmethod
    def open(
        cls,
        run_dir: str | Path,
        *,
        read_only: bool = False,
        address: str | None = None,
        progress: Progress | None = None,
    ) -> AskTellCampaign:
        """Open a campaign.

        Args:
            run_dir: Its folder.
            read_only: Only look; then it may be open elsewhere.
            address: Ray address, ``host:port`` or ``auto``; left out: RAY_ADDRESS, else a local Ray.
            progress: Where progress is shown; nowhere where left out.

        Raises:
            RunFolderError: there is none, another process has it open, or its journal is damaged.
        """
        folder = AskTellFolder(Path(run_dir))
        progress = progress or NullProgress()
        return cls(folder, read_only=read_only, address=address, progress=progress)

    def __enter__(self) -> AskTellCampaign:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the actors and let other processes write."""
        self._session.close()

    def ask(self, n: int = 1) -> tuple[Request, ...]:
        """Pick the next ``n`` materials to label, given all that is told and all that is pending.

        They are new ones: what was asked before and is pending is in :meth:`status`. The journal has
        them before they are returned.

        Raises:
            InputError: fewer candidates are left.
            ClusterError: the cluster does not give what was asked for.
        """
        free = self._state.free()
        if not 1 <= n <= len(free):
            raise InputError(
                f"{n} asked for, and {len(free)} candidates are left; ask for fewer, add some with"
                " add-candidates, or put failed ones back"
            )
        strategy = self._session.strategy
        with self._session.scoring(free) as scoring:
            picks = scoring.pick(n, strategy, free)
        event = {
            "event": "asked",
            "for": "label",
            "strategy": strategy,
            "ids": [pick.material_id for pick in picks],
            "sigmas": [pick.sigma for pick in picks],
            "predicted": [pick.predicted for pick in picks],
            "when": now_text(),
        }
        self._session.record(event)
        return tuple(self._state.requests[pick.material_id] for pick in picks)

    def tell(self, material_id: str, value: float, *, accept_implausible: bool = False) -> bool:
        """Tell a label (target's unit); telling the same again changes nothing.

        It is believed for any material of the pool, asked for or not.

        Returns:
            Whether it was new.

        Raises:
            InputError: an unknown id, another value than the one that is there, a value that is not
                finite or not plausible.
        """
        if not np.isfinite(value):
            raise InputError(
                f"{material_id!r}: the value {value} is not finite; use tell_failed for a label that"
                " could not be computed"
            )
        return self._tell(material_id, "ok", float(value), "", accept_implausible)

    def tell_failed(self, material_id: str, reason: str, *, status: LabelStatus = "failed") -> bool:
        """Tell that a label could not be computed; the material is set aside with the reason.

        What is asked from then on is picked without it. ``status``: ``failed`` or ``unconverged``.

        Returns:
            Whether it was new.

        Raises:
            InputError: an unknown id, one that has a label, or no reason.
        """
        if not reason.strip() or status == "ok":
            raise InputError(f"{material_id!r}: a failure needs a reason; say in a few words why")
        return self._tell(material_id, status, None, reason.strip(), accept_implausible=False)

    def tell_results(
        self, path: str | Path, *, unit: str | None = None, accept_implausible: bool = False
    ) -> TellReport:
        """Tell what stands in a CSV file, wholly or partly filled in; what is wrong is refused by line.

        Args:
            path: The file that came with a request, or one with columns ``material_id`` and ``value``.
            unit: The values' unit, where the file does not say it.
            accept_implausible: Take values far from those of the start.

        Raises:
            DataError: the file cannot be read at all, or is of another unit.
        """
        results = read_results(Path(path), unit=self._state.unit, stated_unit=unit)
        new, report = judge_all(
            self._state, results, now=_now(), accept_implausible=accept_implausible
        )
        self._session.record(*(_label_event(outcome) for outcome in new))
        return report

    def add_candidates(
        self, candidates: MaterialsDataset
    ) -> tuple[tuple[str, ...], tuple[RejectedMaterial, ...]]:
        """Add materials to the pool; the campaign's network featurises them.

        Returns:
            The ids that joined, and what was left out with the reasons.

        Raises:
            InputError: an id that is in the campaign already, another target, or candidates that bring
                labels.
        """
        session = self._session
        # The network needs the scoring actors' place.
        session.end_scoring()
        with ray_errors_explained(TRY_AGAIN):
            joined = join_pool(
                session.folder,
                session.state,
                candidates,
                session.latents,
                config=session.config,
                progress=self._progress,
            )
        # Before they are candidates: on a full disk they may be that though recording fails.
        session.use_latents(joined.latents)
        session.record(joined.event)
        session.folder.write_rejected(session.state.rejected)
        return joined.ids, joined.rejected

    def withdraw(self, ids: Iterable[str], *, reason: str = "") -> None:
        """Take candidates out of the pool, pending ones too: what is asked next is picked without them.

        Raises:
            InputError: an id that is no candidate, or has a label.
        """
        state, wanted = self._state, list(dict.fromkeys(ids))
        state.check_candidates(wanted)
        state.check_unlabelled(wanted)
        new = [i for i in wanted if i not in state.withdrawn]
        if new:
            self._session.record(
                {"event": "withdrawn", "ids": new, "reason": reason, "when": now_text()}
            )

    def put_back(self, ids: Iterable[str]) -> None:
        """Offer materials again that had failed or were withdrawn.

        Raises:
            InputError: an id that is neither, or has a label.
        """
        state, wanted = self._state, list(dict.fromkeys(ids))
        state.check_unlabelled(wanted)
        aside = {outcome.material_id for outcome in state.failed()} | state.withdrawn.keys()
        wrong = [i for i in wanted if i not in aside]
        if wrong:
            raise InputError(
                f"{len(wrong)} of them neither failed nor were withdrawn: {name_some(wrong)};"
                " correct them"
            )
        if wanted:
            self._session.record({"event": "put back", "ids": wanted, "when": now_text()})

    @property
    def config(self) -> Config:
        """The settings that it was made with."""
        return self._session.config

    def status(self) -> AskTellStatus:
        """Say where the campaign stands; at once, since nothing is computed."""
        return AskTellStatus.of(self._state, strategy=self._session.strategy)

    def scores(self) -> Scores:
        """Say how well it stands: the largest σ left and the error on the test rows.

        Raises:
            ClusterError: the cluster does not give what was asked for.
        """
        free = self._state.free()
        with self._session.scoring(free) as scoring:
            return scoring.scores(free)

    def write_request(
        self, requests: Sequence[Request], out: Path | None = None, *, fmt: StructureFormat | None
    ) -> Path:
        """Write the CSV file to fill in and, with a format, the crystals to compute.

        Args:
            requests: What to write: of :meth:`ask`, or pending ones.
            out: A folder that is new or empty; the next under ``requests/`` where left out.
            fmt: ``poscar`` or ``cif``; ``None``: no crystals.

        Returns:
            The CSV file.

        Raises:
            InputError: the folder is not empty.
        """
        features = self.config.network.global_features
        return write_request(
            self._session.folder,
            requests,
            out,
            fmt=fmt,
            unit=self._state.unit,
            global_features=features,
        )

    @property
    def _state(self) -> AskTellState:
        return self._session.state

    def _tell(
        self,
        material_id: str,
        status: LabelStatus,
        value: float | None,
        reason: str,
        accept_implausible: bool,
    ) -> bool:
        outcome = judge(
            self._state,
            material_id,
            status,
            value,
            reason,
            now=_now(),
            accept_implausible=accept_implausible,
        )
        if outcome is not None:
            self._session.record(_label_event(outcome))
        return outcome is not None


def _label_event(outcome: LabelOutcome) -> dict[str, Any]:
    return {"event": "label", "outcome": asdict(outcome), "when": now_text()}


def _now() -> datetime:
    return datetime.now(timezone.utc)
