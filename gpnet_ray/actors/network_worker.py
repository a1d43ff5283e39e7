"""The actor that trains the network and turns crystals into latent vectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gpnet_ray.config import NetworkConfig, TrainingConfig

if TYPE_CHECKING:
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
    ) -> Iterator[EpochRecord | NetworkState]:
        """Yield a record an epoch and, last, the network with the best validation MAE."""
        from gpnet_ray.gnn.training import Trainer

        trainer = Trainer(
            graphs, targets, network=network, training=training, seed=seed, target=target, unit=unit
        )
        yield from trainer.run()
        yield trainer.best_state()

    def featurize(self, state: NetworkState, graphs: CrystalGraphs) -> Iterator[FeaturizedBatch]:
        """Yield latents and predictions batch by batch, each with its ids."""
        from gpnet_ray.gnn.featurize import Featurizer

        yield from Featurizer(state).run(graphs)
