"""The weights of a MEGNet, by name and shape: what a network file must hold to fit a configuration.

Chen, Ye, Zuo, Zheng & Ong, Chem. Mater. 31, 3564 (2019), doi:10.1021/acs.chemmater.9b01294, as built by
megnet 1.3.2 (``make_megnet_model``); the order is that of the Keras model's weights.
"""

from __future__ import annotations

import numpy as np

from gpnet_ray.config import Layer, NetworkConfig
from gpnet_ray.data.elements import HIGHEST_ATOMIC_NUMBER
from gpnet_ray.types import FloatArray

__all__ = ["N_ELEMENTS", "gaussian_centers", "layer_width", "n_state", "weight_shapes"]

N_ELEMENTS = HIGHEST_ATOMIC_NUMBER + 1
"""Rows of the atom embedding, one for each Z from 0."""

_DEFAULT_N_STATE = 2
"""Without global features a crystal's state is two zeros, megnet's default."""

GAUSSIANS_BEYOND_CUTOFF_ANGSTROM = 1.0
"""Gaussians stand from 0 to this far beyond the cut-off: 0 … 5 Å at 4 Å, as in megnet."""


def gaussian_centers(network: NetworkConfig) -> FloatArray:
    """Centres (Å) of the Gaussians on which bond lengths are expanded: float64 (n_gaussians,)."""
    longest = network.cutoff_angstrom + GAUSSIANS_BEYOND_CUTOFF_ANGSTROM
    return np.linspace(0.0, longest, network.n_gaussians)


def n_state(network: NetworkConfig) -> int:
    """How many numbers describe the state of a whole crystal, before the first block."""
    return len(network.global_features) or _DEFAULT_N_STATE


def layer_width(network: NetworkConfig, layer: Layer) -> int:
    """How many numbers a latent vector of this layer has."""
    widths: dict[Layer, int] = {
        "readout_0": network.n2,
        "readout_1": network.n3,
        # Set2Set gives its query and what it has read; the state stands behind both.
        "concatenate": 4 * network.n3 + network.n2,
        "set2set_atom": 2 * network.n3,
        "set2set_bond": 2 * network.n3,
    }
    return widths[layer]


def weight_shapes(network: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Name every weight as ``layer/weight`` and give its shape, in megnet's order."""
    n1, n2, n3 = network.n1, network.n2, network.n3
    inputs = {"atom": network.embedding_dim, "bond": network.n_gaussians, "state": n_state(network)}
    shapes: dict[str, tuple[int, ...]] = {
        "atom_embedding/embeddings": (N_ELEMENTS, network.embedding_dim)
    }

    def dense(layer: str, n_in: int, n_out: int) -> None:
        shapes[f"{layer}/kernel"] = (n_in, n_out)
        shapes[f"{layer}/bias"] = (n_out,)

    def feed_forward(name: str, widths: dict[str, int]) -> None:
        for i in (0, 1):
            for kind, n_in in widths.items():
                dense(name.format(kind=kind, i=i), n_in if i == 0 else n1, n1 if i == 0 else n2)

    feed_forward("preblock_{kind}_{i}", inputs)
    for block in range(network.n_blocks):
        if block > 0:
            feed_forward(f"block_{block}_{{kind}}_ff_{{i}}", dict.fromkeys(inputs, n2))
        for part, n_in in (("v", 3 * n2), ("e", 4 * n2), ("u", 3 * n2)):
            where = f"megnet_{block}/phi_{part}"
            widths = (n_in, n1, n1, n2)
            for i in range(3):
                shapes[f"{where}/weight_{part}_{i}"] = (widths[i], widths[i + 1])
            for i in range(3):
                shapes[f"{where}/bias_{part}_{i}"] = (widths[i + 1],)
    for kind in ("atom", "bond"):
        where = f"set2set_{kind}"
        shapes[f"{where}/x_to_m_weight"] = (n2, n3)
        shapes[f"{where}/x_to_m_bias"] = (n3,)
        shapes[f"{where}/recurrent_kernel"] = (2 * n3, 4 * n3)
        shapes[f"{where}/recurrent_bias"] = (4 * n3,)
    dense("readout_0", layer_width(network, "concatenate"), n2)
    dense("readout_1", n2, n3)
    dense("readout_2", n3, 1)
    return shapes
