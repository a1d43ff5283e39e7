"""Latent vectors and predictions of a trained network for any number of crystals."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from gpnet_ray.config import Layer
from gpnet_ray.gnn.architecture import layer_width
from gpnet_ray.gnn.forward import ForwardPass, ForwardResult, check_graphs
from gpnet_ray.gnn.graphs import CrystalGraphs
from gpnet_ray.gnn.model import pack
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.gnn.records import FeaturizedBatch
from gpnet_ray.tensorflow_devices import prepare_gpus
from gpnet_ray.types import FloatArray, LatentArray

__all__ = ["Featurizer"]


class Featurizer:
    """Runs a trained network over crystals; keep one for many calls, it keeps what it compiled."""

    def __init__(self, state: NetworkState) -> None:
        prepare_gpus()
        self._state = state
        self._vector = tf.constant(pack(state.weights, state.config))
        self._forward = ForwardPass(state.config)

    def run(
        self, graphs: CrystalGraphs, *, layer: Layer | None = None
    ) -> Iterator[FeaturizedBatch]:
        """Yield batches as they are done, in the order in which they fill the hardware best.

        Args:
            graphs: built with the network's cut-off and global features.
            layer: whose activations to take; the network's own ``layer`` by default.

        Raises:
            InputError: graphs of another cut-off or other global features than the network's.
        """
        layer = layer or self._state.config.layer
        for result in self._run(graphs):
            yield FeaturizedBatch(
                ids=tuple(graphs.ids[row] for row in result.rows),
                latents=result.layers[layer],
                predictions=self._in_unit(result.prediction),
            )

    def featurize(
        self, graphs: CrystalGraphs, *, layer: Layer | None = None
    ) -> tuple[tuple[str, ...], LatentArray, FloatArray]:
        """Give ids, latents float32 (n, d) and predictions float64 (n,), in the order of ``graphs.ids``.

        Raises:
            InputError: graphs of another cut-off or other global features than the network's.
        """
        layer = layer or self._state.config.layer
        width = layer_width(self._state.config, layer)
        latents = np.empty((len(graphs), width), dtype=np.float32)
        predictions = np.empty(len(graphs), dtype=np.float64)
        for result in self._run(graphs):
            latents[result.rows] = result.layers[layer]
            predictions[result.rows] = self._in_unit(result.prediction)
        return graphs.ids, latents, predictions

    def _run(self, graphs: CrystalGraphs) -> Iterator[ForwardResult]:
        check_graphs(graphs, self._state.config)
        return self._forward.run(self._vector, graphs.scaled(self._state.state_scaling))

    def _in_unit(self, prediction: LatentArray) -> FloatArray:
        scaled: FloatArray = prediction.astype(np.float64)
        return scaled * self._state.target_scale + self._state.target_mean
