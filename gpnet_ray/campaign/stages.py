"""The steps before the loop, each in an actor, with its progress: train, featurise, fit the GP."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import ray

from gpnet_ray.actors.cluster import LOST, kill_actors, remote_class
from gpnet_ray.actors.network_worker import NetworkWorker
from gpnet_ray.actors.placement import Placement
from gpnet_ray.campaign.begun_from import held_out_warning, rows_known
from gpnet_ray.campaign.preparation import training_seed
from gpnet_ray.campaign.tensorboard import TensorBoardCurves
from gpnet_ray.config import Config, TrainingConfig
from gpnet_ray.gnn.checkpoint import TrainingCheckpoint, load_checkpoint
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.progress import Progress
from gpnet_ray.types import FloatArray, LatentArray

if TYPE_CHECKING:
    from gpnet_ray.gnn.graphs import CrystalGraphs
    from gpnet_ray.gnn.records import EpochRecord

__all__ = ["Latents", "NetworkStage"]

T = TypeVar("T")


@dataclass(frozen=True)
class Latents:
    """Latent vectors (n, d) and the network's own predictions (n,), by id."""

    ids: tuple[str, ...]
    latents: LatentArray
    predictions: FloatArray

    def rows(self, ids: Sequence[str]) -> list[int]:
        """Row of each id."""
        row_of = {material_id: row for row, material_id in enumerate(self.ids)}
        return [row_of[i] for i in ids]


class NetworkStage:
    """The network actor, alive from its first work to the end of the ``with`` block: trains, featurises.

    Where its process or node is lost, it starts again by itself, ``resources.actor_restarts`` times, and what it
    was doing is done again; training goes on from its checkpoint.
    """

    def __init__(self, config: Config, progress: Progress, placement: Placement) -> None:
        """``placement``: where the actor is put."""
        self._config, self._progress, self._placement = config, progress, placement

    def __enter__(self) -> NetworkStage:
        self._started: list[Any] = []
        return self

    def __exit__(self, *_: object) -> None:
        kill_actors(self._started)

    @property
    def _worker(self) -> Any:
        if not self._started:
            restarts = self._config.resources.actor_restarts
            options = self._placement.options("featurizer")
            worker = remote_class(NetworkWorker).options(**options, max_restarts=restarts)
            self._started = [worker.remote()]
            self._placement.wait_until_ready(self._started)
        return self._started[0]

    def train(
        self,
        graphs: CrystalGraphs,
        targets: FloatArray,
        *,
        target: str,
        unit: str,
        training: TrainingConfig | None = None,
        initial: NetworkState | None = None,
        checkpoint: Path | None = None,
        tensorboard: Path | None = None,
        title: str = "Training the network",
    ) -> tuple[NetworkState, list[EpochRecord]]:
        """Train on labelled crystals; returns the best network and a record an epoch.

        Args:
            graphs: The crystals.
            targets: Their labels (n,), in the order of ``graphs.ids``.
            target: Name of the property.
            unit: Its unit.
            training: Settings; the configuration's where left out.
            initial: A network to start from.
            checkpoint: File in which the state of the training is kept; where it is there already, training
                goes on from it. Remove it once the network is safe.
            tensorboard: Folder in which the curves are written for TensorBoard, epoch by epoch.
            title: What progress calls it.

        Raises:
            InputError: the checkpoint is damaged or of another training.
        """
        return self._surviving(
            lambda: self._train(
                graphs,
                targets,
                target=target,
                unit=unit,
                training=training or self._config.training,
                initial=initial,
                checkpoint=checkpoint,
                tensorboard=tensorboard,
                title=title,
            )
        )

    def _surviving(self, work: Callable[[], T]) -> T:
        """Do it again as often as the actor is lost and comes back."""
        while True:
            try:
                return work()
            except LOST as error:  # noqa: PERF203 - what is tried takes minutes
                self._progress.line(
                    f"The network's actor was lost ({type(error).__name__}); it starts again and goes on"
                )
                self._placement.wait_until_ready(self._started)

    def _train(
        self,
        graphs: CrystalGraphs,
        targets: FloatArray,
        *,
        target: str,
        unit: str,
        training: TrainingConfig,
        initial: NetworkState | None,
        checkpoint: Path | None,
        tensorboard: Path | None,
        title: str,
    ) -> tuple[NetworkState, list[EpochRecord]]:
        earlier = load_checkpoint(checkpoint) if checkpoint and checkpoint.is_file() else None
        history = list(earlier.history) if earlier else []
        stream = self._worker.train.options(num_returns="streaming").remote(
            graphs,
            targets,
            network=self._config.network,
            training=training,
            seed=self.training_seed,
            target=target,
            unit=unit,
            initial=initial,
            checkpoint=earlier,
        )
        with ExitStack() as stack:
            record: list[Callable[[EpochRecord], None]] = [history.append]
            if tensorboard is not None:
                curves = TensorBoardCurves(tensorboard, first_epoch=len(history) + 1)
                record.append(stack.enter_context(curves).add)
            task = stack.enter_context(
                self._progress.task(title, total=training.epochs, unit="epochs")
            )
            task.advance(len(history))
            record.append(lambda epoch: task.advance(note=_epoch_note(epoch, unit)))
            state = _follow(stream, record, checkpoint)
        warning = held_out_warning(rows_known(initial, graphs), state.held_out_ids)
        if warning:
            self._progress.line(f"Warning: {warning}")
        return state, history

    def validation_mae(
        self,
        state: NetworkState,
        graphs: CrystalGraphs,
        targets: FloatArray,
        *,
        training: TrainingConfig | None = None,
        known: Collection[str] = (),
    ) -> float:
        """Error (target's unit) of any network on what training on these crystals holds out.

        ``known``: ids that one of the networks was trained on, which do not judge where others do.
        """
        settings = training or self._config.training
        return self._surviving(
            lambda: float(
                ray.get(
                    self._worker.validation_mae.remote(
                        state,
                        graphs,
                        targets,
                        training=settings,
                        seed=self.training_seed,
                        known=known,
                    )
                )
            )
        )

    @property
    def training_seed(self) -> int:
        """The same for every training of a run, so that what is held out stays held out."""
        return training_seed(self._config)

    def featurize(self, state: NetworkState, graphs: CrystalGraphs) -> Latents:
        """Latents and predictions of every crystal, in the order of ``graphs.ids``."""
        return self._surviving(lambda: self._featurize(state, graphs))

    def _featurize(self, state: NetworkState, graphs: CrystalGraphs) -> Latents:
        stream = self._worker.featurize.options(num_returns="streaming").remote(
            ray.put(state), ray.put(graphs)
        )
        latent_of: dict[str, LatentArray] = {}
        prediction_of: dict[str, float] = {}
        with self._progress.task("Featurising", total=len(graphs), unit="crystals") as task:
            for reference in stream:
                batch = ray.get(reference)
                latent_of.update(zip(batch.ids, batch.latents, strict=True))
                prediction_of.update(zip(batch.ids, batch.predictions, strict=True))
                task.advance(len(batch.ids))
        return Latents(
            ids=graphs.ids,
            latents=np.stack([latent_of[i] for i in graphs.ids]),
            predictions=np.array([prediction_of[i] for i in graphs.ids]),
        )


def _epoch_note(record: EpochRecord, unit: str) -> str:
    return f"train MAE {record.train_mae:.4f}, validation {record.validation_mae:.4f} {unit}"


def _follow(
    stream: Iterable[Any], record: Sequence[Callable[[EpochRecord], None]], checkpoint: Path | None
) -> NetworkState:
    """Take what the actor sends until the network comes: epochs are recorded, checkpoints kept."""
    for reference in stream:
        item = ray.get(reference)
        if isinstance(item, NetworkState):
            return item
        if isinstance(item, TrainingCheckpoint):
            if checkpoint is not None:
                item.save(checkpoint)
        else:
            for take in record:
                take(item)
    raise RuntimeError("the training stream ended without a network")
