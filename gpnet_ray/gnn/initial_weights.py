"""The weights that training starts from: megnet's own distributions, every weight drawn on its own.

megnet gives one unseeded initializer to all three parts of a block, so that kernels of equal shape start
out identical. Here every weight has a seed of its own, derived from its name.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import tf_keras

from gpnet_ray.config import NetworkConfig
from gpnet_ray.errors import GpnetError
from gpnet_ray.gnn._megnet import build_keras_model
from gpnet_ray.gnn.architecture import weight_shapes
from gpnet_ray.seeds import derive_seed

__all__ = ["draw_weights", "keras_weights"]


def draw_weights(network: NetworkConfig, *, seed: int) -> dict[str, npt.NDArray[np.float32]]:
    """Draw all weights of a network: float32, by name; the same seed gives the same weights.

    Kernels are drawn as megnet's own layers say (Glorot uniform, orthogonal, uniform), biases start
    at megnet's values (zero; one for the forget gate).
    """
    model = build_keras_model(network)
    weights = keras_weights(model, network)
    for name, value in weights.items():
        initializer = _initializer(model.get_layer(name.split("/")[0]), name)
        if initializer is not None:
            settings = {**initializer.get_config(), "seed": derive_seed(seed, name)}
            drawn = type(initializer).from_config(settings)(value.shape)
            weights[name] = np.asarray(drawn, dtype=np.float32)
    return weights


def keras_weights(
    model: tf_keras.Model, network: NetworkConfig
) -> dict[str, npt.NDArray[np.float32]]:
    """Read the weights of one of megnet's Keras models by our names."""
    shapes = weight_shapes(network)
    names = [variable.name.removesuffix(":0") for variable in model.weights]
    if len(names) != len(shapes) or not all(
        name.endswith(ours) for name, ours in zip(names, shapes, strict=True)
    ):
        raise GpnetError(
            "the weights of megnet's model are not those of megnet 1.3.2; install megnet==1.3.2"
        )
    values = (np.asarray(value, dtype=np.float32) for value in model.get_weights())
    return dict(zip(shapes, values, strict=True))


def _initializer(
    layer: tf_keras.layers.Layer, name: str
) -> tf_keras.initializers.Initializer | None:
    """Find what megnet draws a weight with; nothing for biases, which are not drawn."""
    weight = name.split("/")[-1]
    if "bias" in weight:
        return None
    if weight == "embeddings":
        return layer.embeddings_initializer
    if weight == "recurrent_kernel":
        return layer.recurrent_initializer
    return layer.kernel_initializer
