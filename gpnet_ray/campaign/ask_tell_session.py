"""An ask-and-tell campaign while it is open: its folder, its journal, its state and its actors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq

from gpnet_ray.campaign.ask_tell_folder import AskTellFolder
from gpnet_ray.campaign.ask_tell_scoring import Representation, Scoring
from gpnet_ray.campaign.journal import Journal, read_journal
from gpnet_ray.campaign.ray_errors import ray_errors_explained
from gpnet_ray.campaign.stages import Latents
from gpnet_ray.campaign.surrogate import labelled_table
from gpnet_ray.campaign.tables import latents_from_table
from gpnet_ray.config import Config, Strategy
from gpnet_ray.errors import RunFolderError
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.scaling import LatentScaler

if TYPE_CHECKING:
    from gpnet_ray.campaign.journal import Event

__all__ = ["TRY_AGAIN", "AskTellSession"]

TRY_AGAIN = "Nothing was asked and nothing was lost; try again"


class AskTellSession:
    """One opening of a campaign; the only writer, unless it only reads."""

    def __init__(self, folder: AskTellFolder, config: Config, *, read_only: bool) -> None:
        """Replay the journal.

        Raises:
            RunFolderError: the campaign was not set up to its end, is of other settings, is damaged, or
                is open for writing elsewhere.
        """
        self.folder, self.config = folder, config
        self._scoring: Scoring | None = None
        self._latents: Latents | None = None
        self._is_closed = False
        self._journal: Journal | None = None if read_only else folder.open_journal()
        try:
            events = self._journal.events if self._journal else read_journal(folder.journal)
            self.state = folder.read_state(events, config)
        except RunFolderError:
            if self._journal is not None:
                self._journal.close()
            raise

    @property
    def strategy(self) -> Strategy:
        """How the next materials are chosen."""
        return self.config.selection.strategies[0]

    @property
    def latents(self) -> Latents:
        """Of all materials of the campaign."""
        if self._latents is None:
            self._latents = latents_from_table(self.folder.read_table(self.folder.latents))
        return self._latents

    def use_latents(self, latents: Latents) -> None:
        """Take the latents of a larger pool."""
        self.end_scoring()
        self._latents = latents

    def record(self, *events: Event) -> None:
        """Write events, then believe them.

        Raises:
            RunFolderError: the campaign is closed or was opened to be read, or the disk is full. Where the
                room kept for that was enough, the events are in the journal and believed all the same.
        """
        self.check_open()
        if self._journal is None:
            raise RunFolderError("the campaign was opened to be read; open it without read_only")
        try:
            self._journal.append(*events)
        except RunFolderError:
            if self._journal.takes_events:
                self._believe(events)
            raise
        self._believe(events)

    def _believe(self, events: Sequence[Event]) -> None:
        for event in events:
            self.state.take(event)

    @contextmanager
    def scoring(self, free: Sequence[str]) -> Iterator[Scoring]:
        """The actors, brought up to what is told and pending; they stay alive until the end.

        Raises:
            RunFolderError: the campaign is closed.
            ClusterError: there is no place for one, or one was lost.
        """
        self.check_open()
        try:
            with ray_errors_explained(TRY_AGAIN):
                scoring = self._scoring or self._start_scoring()
                scoring.bring_up_to(self.state.labelled(), list(self.state.pending()), free)
                yield scoring
        except BaseException:
            # Ctrl-C or a lost actor may come when some have taken in a point and others have not.
            self.end_scoring()
            raise

    def end_scoring(self) -> None:
        """End the actors."""
        scoring, self._scoring = self._scoring, None
        if scoring is not None:
            scoring.close()

    def check_open(self) -> None:
        """Check that others are not let write yet.

        Raises:
            RunFolderError: the campaign is closed.
        """
        if self._is_closed:
            raise RunFolderError(
                f"the campaign in {self.folder.path} is closed, and others may write to it; open it again"
                " with Campaign.open, or work within its with block"
            )

    def close(self) -> None:
        """End the actors, leave the labels where ``predict`` finds them, and let others write."""
        self.end_scoring()
        if self._is_closed:
            return
        self._is_closed = True
        if self._journal is not None:
            with self._journal:
                self._keep_labelled()

    def _start_scoring(self) -> Scoring:
        state, content = self.state, self.folder.read_json(self.folder.gp)
        representation = Representation(
            latents=self.latents,
            scaler=LatentScaler.from_json(content["scaler"]),
            hyperparameters=Hyperparameters.from_json(state.hyperparameters),
        )
        labelled = state.labelled()
        unlabelled = [i for i in state.candidates if i not in labelled]
        self._scoring = Scoring(self.config, representation, unlabelled, state.test)
        return self._scoring

    def _keep_labelled(self) -> None:
        """Write the labelled points, unless all of them are there: a label never changes."""
        file, labelled = self.folder.labelled, self.state.labelled()
        if file.is_file() and pq.read_metadata(file).num_rows == len(labelled):
            return
        ids = tuple(labelled)
        values = np.array(list(labelled.values()), dtype=np.float64)
        table = labelled_table(ids, self.latents.latents[self.latents.rows(ids)], values)
        self.folder.write_table(file, table, unit=self.state.unit)
