"""The actor that trains the network and turns crystals into latent vectors."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from gpnet_ray.config import NetworkConfig, TrainingConfig

if TYPE_CHECKING:
    from gpnet_ray.gnn.checkpoint import TrainingCheckpoint
    from gpnet_ray.gnn.graphs import CrystalGraphs
    from gpnet_ray.gnn.network_state import NetworkState
    from gpnet_ray.gnn.records import EpochRecord, FeaturizedBatch
    from gpnet_ray.types import FloatArray

__all__ = ["NetworkWorker"]


class NetworkWorker:
    """Holds TensorFlow, so that the driver does not; its methods stream what they have done.

    TensorFlow is imported inside the methods: the driver imports this module.
    """

    def ping(self) -> bool:
        """Answer once the process runs."""
        return True

    def train(
        self,
        graphs: CrystalGraphs,
        targets: FloatArray,
        *,
        network: NetworkConfig,
        training: TrainingConfig,
        seed: int,
        target: str,
        unit: str,
        initial: NetworkState | None = None,
        checkpoint: TrainingCheckpoint | None = None,
    ) -> Iterator[EpochRecord | TrainingCheckpoint | NetworkState]:
        """Yield a record an epoch, checkpoints in between and, last, the network that was best.

        Args are those of :class:`~gpnet_ray.gnn.training.Trainer`; the records of epochs that a given
        checkpoint has behind it are not yielded again.
        """
        from gpnet_ray.gnn.training import Trainer

        trainer = Trainer(
            graphs,
            targets,
            network=network,
            training=training,
            seed=seed,
            target=target,
            unit=unit,
            initial=initial,
            checkpoint=checkpoint,
        )
        for record in trainer.run():
            yield record
            if record.epoch % training.checkpoint_every_epochs == 0:
                yield trainer.checkpoint()
        yield trainer.best_state()

    def validation_mae(
        self,
        state: NetworkState,
        graphs: CrystalGraphs,
        targets: FloatArray,
        *,
        training: TrainingConfig,
        seed: int,
        known: Collection[str] = (),
    ) -> float:
        """Error (target's unit) of any network on what training on these crystals would hold out."""
        from gpnet_ray.gnn.validation import held_out_mae

        fraction = training.validation_fraction
        return held_out_mae(state, graphs, targets, fraction=fraction, seed=seed, known=known)

    def featurize(self, state: NetworkState, graphs: CrystalGraphs) -> Iterator[FeaturizedBatch]:
        """Yield latents and predictions batch by batch, each with its ids."""
        from gpnet_ray.gnn.featurize import Featurizer

        yield from Featurizer(state).run(graphs)
