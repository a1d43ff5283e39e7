"""The networks of a run: the first, which all strategies share, and those that arms train later.

Every network is safe on disk before the journal speaks of it, and what an interrupted run has of it
is not made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from gpnet_ray.campaign.arm_record import ArmRecord, Retraining
from gpnet_ray.campaign.begun_from import rows_known
from gpnet_ray.campaign.context import RunContext
from gpnet_ray.campaign.history import FIRST_NETWORK, NetworkKey
from gpnet_ray.campaign.journal import Journal
from gpnet_ray.campaign.preparation import Problem, values_of
from gpnet_ray.campaign.run_folder import NetworkFiles
from gpnet_ray.campaign.stages import Latents, NetworkStage
from gpnet_ray.campaign.tables import (
    history_table,
    latents_from_table,
    latents_table,
    network_of_latents,
)
from gpnet_ray.config import TrainingConfig
from gpnet_ray.data.splits import Split
from gpnet_ray.errors import RunFolderError
from gpnet_ray.gnn.checkpoint import load_checkpoint
from gpnet_ray.gnn.network_state import NetworkState, load_network_state
from gpnet_ray.gnn.training_set import training_fingerprint
from gpnet_ray.gp.scaling import LatentScaler
from gpnet_ray.types import FloatArray

if TYPE_CHECKING:
    from gpnet_ray.gnn.graphs import CrystalGraphs
    from gpnet_ray.gnn.records import EpochRecord

__all__ = ["Networks", "Representation"]


@dataclass(frozen=True)
class Representation:
    """What a network makes of every material, and what its Gaussian process will be fitted on.

    Attributes:
        key: Whose network it is, and its number there.
        network: The network.
        latents: Of all materials of the run.
        scaler: Fitted on the latents of ``labels``.
        labels: Labels of the materials that are labelled when it comes into use (target's unit).
        files: Where all this lies.
    """

    key: NetworkKey
    network: NetworkState
    latents: Latents
    scaler: LatentScaler
    labels: Mapping[str, float]
    files: NetworkFiles


class Networks:
    """Trains networks in an actor of their own and turns all materials into latents."""

    def __init__(
        self,
        context: RunContext,
        problem: Problem,
        split: Split,
        reference: Mapping[str, float],
        journal: Journal,
    ) -> None:
        """``reference``: the true values that are known before the loop, the train rows' among them."""
        self._context, self._problem, self._journal = context, problem, journal
        self._start_labels = {i: reference[i] for i in split.train}
        self._test = (split.test, values_of(reference, split.test))

    def first(self, given: NetworkState | None) -> Representation:
        """The network that all strategies start from: the interrupted run's, the user's, or a new one."""
        context, files = self._context, self._context.folder
        saved = context.history.network
        with self._stage() as stage:
            if saved is not None:
                network = _read(files, saved)
            else:
                # A network that the user brought has no history here.
                network, history = (given, []) if given else self._train_first(stage, files)
                self._save(files, network, history)
                self._journal.append({"event": "network", "fingerprint": network.fingerprint()})
                files.training_checkpoint.unlink(missing_ok=True)
            latents = self._latents(stage, files, network, timed="featurising")
        return self._representation(FIRST_NETWORK, network, latents, self._start_labels, files)

    def _train_first(
        self, stage: NetworkStage, files: NetworkFiles
    ) -> tuple[NetworkState, list[EpochRecord]]:
        with self._context.timed("training"):
            return self._train(stage, files, self._start_labels, initial=self._context.initial)

    def next(
        self, record: ArmRecord, previous: Representation
    ) -> tuple[Representation, Retraining]:
        """The network after ``previous``, trained on all that the arm has labelled.

        Where it is worse than the one before on what is held out of both, the one before is kept, and
        only scaling and Gaussian process are made anew.
        """
        context = self._context
        key = (record.strategy, len(record.retrainings) + 1)
        files = context.folder.retrained(*key)
        labels = {**self._start_labels, **record.labelled}
        known = context.history.retrainings.get(key)
        stage_name = f"retraining {key[0]} {key[1]}"
        with self._stage() as stage:
            if known is None:
                with context.timed(stage_name):
                    network, retraining = self._retrain(stage, files, record, labels, previous)
                self._journal.append(
                    {
                        "event": "retrained",
                        "strategy": key[0],
                        "network": key[1],
                        "fingerprint": network.fingerprint(),
                        "retraining": asdict(retraining),
                    }
                )
                files.training_checkpoint.unlink(missing_ok=True)
            else:
                network = _read(files, known["fingerprint"])
                retraining = Retraining(**known["retraining"])
            latents = self._latents(stage, files, network, timed=f"featurising {key[0]} {key[1]}")
        retraining = replace(retraining, network_test_mae=self._test_mae(latents))
        return self._representation(key, network, latents, labels, files), retraining

    def _test_mae(self, latents: Latents) -> float:
        ids, targets = self._test
        return float(np.abs(latents.predictions[latents.rows(ids)] - targets).mean())

    def _retrain(
        self,
        stage: NetworkStage,
        files: NetworkFiles,
        record: ArmRecord,
        labels: Mapping[str, float],
        previous: Representation,
    ) -> tuple[NetworkState, Retraining]:
        start, training = self._context.config.retraining.start, self._training_again()
        initial = previous.network if start == "warm" else None
        title = f"Training again, {record.strategy}"
        new, history = self._train(
            stage, files, labels, initial=initial, training=training, title=title
        )
        graphs, targets = self._train_set(labels)
        # Where the user's network had learned from some of what this training holds out.
        known = rows_known(previous.network, graphs)
        old_mae, new_mae = (
            stage.validation_mae(state, graphs, targets, training=training, known=known)
            for state in (previous.network, new)
        )
        kept = new if new_mae < old_mae else previous.network
        self._save(files, kept, history)
        return kept, Retraining(
            cycle=record.cycles,
            network=len(record.retrainings) + 1,
            n_labelled=len(labels),
            start=start,
            epochs=len(history),
            seconds=sum(epoch.seconds for epoch in history),
            old_validation_mae=old_mae,
            new_validation_mae=new_mae,
            kept="new" if kept is new else "old",
        )

    def _training_again(self) -> TrainingConfig:
        training, again = self._context.config.training, self._context.config.retraining
        changes = {"epochs": again.epochs, "peak_learning_rate": again.peak_learning_rate}
        return training.model_copy(
            update={key: value for key, value in changes.items() if value is not None}
        )

    def _stage(self) -> NetworkStage:
        context = self._context
        return NetworkStage(context.config, context.progress, context.place)

    def _train_set(self, labels: Mapping[str, float]) -> tuple[CrystalGraphs, FloatArray]:
        ids = tuple(labels)
        return self._problem.graphs.select(ids), values_of(labels, ids)

    def _train(
        self,
        stage: NetworkStage,
        files: NetworkFiles,
        labels: Mapping[str, float],
        *,
        initial: NetworkState | None = None,
        training: TrainingConfig | None = None,
        title: str = "Training the network",
    ) -> tuple[NetworkState, list[EpochRecord]]:
        graphs, targets = self._train_set(labels)
        dataset, config = self._problem.dataset, self._context.config
        if files.training_checkpoint.is_file():
            fingerprint = training_fingerprint(
                graphs,
                targets,
                network=config.network,
                training=training or config.training,
                seed=stage.training_seed,
                initial=initial.fingerprint() if initial else None,
            )
            self._drop_checkpoint_unless_of(fingerprint, files)
        return stage.train(
            graphs,
            targets,
            target=dataset.target,
            unit=dataset.unit,
            training=training,
            initial=initial,
            checkpoint=files.training_checkpoint,
            tensorboard=files.tensorboard,
            title=title,
        )

    def _drop_checkpoint_unless_of(self, fingerprint: str, files: NetworkFiles) -> None:
        """Begin from the start what was begun on other labels, before failed ones were tried again."""
        if load_checkpoint(files.training_checkpoint).fingerprint == fingerprint:
            return
        files.training_checkpoint.unlink()
        self._context.progress.line(
            f"{files.training_checkpoint.name} is of a training on other labels; the network is trained"
            " from the start"
        )

    def _save(self, files: NetworkFiles, network: NetworkState, history: list[EpochRecord]) -> None:
        folder, unit = self._context.folder, self._problem.dataset.unit
        folder.write_table(files.training_history, history_table(history), unit=unit)
        # Of an earlier network in the same place.
        files.latents.unlink(missing_ok=True)
        network.save(files.network)

    def _latents(
        self, stage: NetworkStage, files: NetworkFiles, network: NetworkState, *, timed: str
    ) -> Latents:
        """Latents of every material, from the file of an interrupted run where it is this network's."""
        context, fingerprint = self._context, network.fingerprint()
        if files.latents.is_file():
            kept = context.folder.read_table(files.latents)
            if network_of_latents(kept) == fingerprint:
                return latents_from_table(kept)
            # The network was trained again elsewhere, or an earlier version did not say whose they are.
            context.progress.line(
                f"{files.latents} is not known to be of the network beside it; all materials are"
                " featurised again"
            )
        with context.timed(timed):
            latents = stage.featurize(network, self._problem.graphs)
        table = latents_table(latents, network=fingerprint)
        context.folder.write_table(files.latents, table, unit=self._problem.dataset.unit)
        return latents

    def _representation(
        self,
        key: NetworkKey,
        network: NetworkState,
        latents: Latents,
        labels: Mapping[str, float],
        files: NetworkFiles,
    ) -> Representation:
        labelled = latents.latents[latents.rows(tuple(labels))]
        gp = self._context.config.gp
        scaler = LatentScaler.fit(labelled, gp.latent_scaling, projection=gp.latent_projection)
        return Representation(key, network, latents, scaler, labels, files)


def _read(files: NetworkFiles, fingerprint: str) -> NetworkState:
    """The network that an interrupted run has saved."""
    network = load_network_state(files.network)
    if network.fingerprint() != fingerprint:
        raise RunFolderError(
            f"{files.network} is not the network that the journal speaks of; restore it from a copy or"
            " run again with --overwrite"
        )
    return network
