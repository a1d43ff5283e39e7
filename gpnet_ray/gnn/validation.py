"""The error of a network on the held-out part of a training set, whichever training it came from."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from gpnet_ray.gnn.featurize import Featurizer
from gpnet_ray.gnn.graphs import CrystalGraphs
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.gnn.training_set import check_targets, hold_out
from gpnet_ray.types import FloatArray

__all__ = ["held_out_mae"]


def held_out_mae(
    state: NetworkState,
    graphs: CrystalGraphs,
    targets: FloatArray,
    *,
    fraction: float,
    seed: int,
    known: Collection[str] = (),
) -> float:
    """Mean absolute error (target's unit) on the crystals that training on these would hold out.

    So an old network can be compared with one that was trained anew on more crystals: none of the
    two has seen them, as long as both had the same ``seed`` and ``fraction``; a network that began elsewhere may
    have seen some, which are ``known``.

    Args:
        state: any network.
        graphs: the whole training set, built with the network's cut-off and global features.
        targets: float64 (n,), in the order of ``graphs.ids``.
        fraction: the ``validation_fraction`` of the training.
        seed: the seed of the training.
        known: ids that one of the networks was trained on, left out as :func:`hold_out` does it.

    Raises:
        InputError: targets that do not fit, or graphs of another cut-off or other global features than the
            network's.
    """
    check_targets(graphs, targets)
    _, held_out = hold_out(
        graphs.ids, fraction=fraction, seed=seed, known=known, crystals=graphs.crystal_of()
    )
    value = dict(zip(graphs.ids, targets, strict=True))
    ids, _, predictions = Featurizer(state).featurize(graphs.select(held_out))
    return float(np.abs(predictions - [value[name] for name in ids]).mean())
