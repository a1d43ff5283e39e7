"""The forward pass over many crystals: compiled once for every batch shape, used for whole pools."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from gpnet_ray.config import Layer, NetworkConfig
from gpnet_ray.errors import InputError
from gpnet_ray.gnn.batching import ForwardBatches
from gpnet_ray.gnn.graphs import CrystalGraphs
from gpnet_ray.gnn.model import Activations, BatchTensors, apply_network, to_tensors, unpack
from gpnet_ray.types import LatentArray

__all__ = ["ForwardPass", "ForwardResult", "check_graphs"]

Rows = npt.NDArray[np.int64]


class ForwardResult(NamedTuple):
    """What the network gives for the crystals at ``rows`` of their graphs: NumPy float32.

    Attributes:
        rows: int64 (b,).
        prediction: (b,), in units of the scaled target.
        layers: (b, width) for every layer that can be a latent vector.
    """

    rows: Rows
    prediction: LatentArray
    layers: dict[Layer, LatentArray]


class ForwardPass:
    """A compiled forward pass; keeps what it compiled, so keep it for the next graphs too."""

    def __init__(self, network: NetworkConfig) -> None:
        self._network = network
        self._batches = ForwardBatches()

        def forward(vector: tf.Tensor, batch: BatchTensors) -> Activations:
            return apply_network(unpack(vector, network), batch, network)

        self._compiled = tf.function(forward, jit_compile=True, autograph=False)

    def run(self, vector: tf.Tensor, graphs: CrystalGraphs) -> Iterator[ForwardResult]:
        """Run over all crystals, in the order in which they fill batches best.

        Args:
            vector: the packed weights, float32.
            graphs: any number of crystals, their global features scaled.

        Raises:
            InputError: graphs of another cut-off or other global features than the network's.
        """
        check_graphs(graphs, self._network)
        under_way: tuple[Rows, Activations] | None = None
        for batch in self._batches.batches(graphs):
            out = self._compiled(vector, to_tensors(batch))
            # The one before is read only now: a GPU computes while the next batch is made.
            if under_way is not None:
                yield _read(*under_way)
            under_way = batch.rows, out
        if under_way is not None:
            yield _read(*under_way)


def _read(rows: Rows, out: Activations) -> ForwardResult:
    n = len(rows)
    return ForwardResult(
        rows=rows,
        prediction=out.prediction.numpy()[:n],
        layers={name: value.numpy()[:n] for name, value in out.layers.items()},
    )


def check_graphs(graphs: CrystalGraphs, network: NetworkConfig) -> None:
    """Refuse graphs of another cut-off or other global features than the network's."""
    if graphs.cutoff_angstrom != network.cutoff_angstrom:
        raise InputError(
            f"the graphs were built with a cut-off of {graphs.cutoff_angstrom:g} Å, the network needs "
            f"{network.cutoff_angstrom:g} Å; build them with network.cutoff_angstrom"
        )
    if graphs.global_features != network.global_features:
        raise InputError(
            f"the graphs have the global features {list(graphs.global_features)}, the network reads"
            f" {list(network.global_features)}; build them with network.global_features"
        )
