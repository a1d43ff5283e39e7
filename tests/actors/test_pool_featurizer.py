"""One crystal of which a network makes no numbers costs its own row, and no other."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from support.command_line import rock_salt

from gpnet_ray.actors.pool_featurizer import PoolFeaturizer
from gpnet_ray.campaign.surrogate import Surrogate
from gpnet_ray.config import NetworkConfig
from gpnet_ray.gnn.global_state import StateScaling
from gpnet_ray.gnn.initial_weights import draw_weights
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.recalibration import Recalibration
from gpnet_ray.gp.scaling import LatentScaler
from gpnet_ray.latent_columns import latent_matrix

WITH_PRESSURE = NetworkConfig(
    n_blocks=1,
    n1=12,
    n2=8,
    n3=4,
    n_gaussians=10,
    set2set_passes=1,
    global_features=("pressure_GPa",),
)


@pytest.fixture(scope="module")
def network() -> NetworkState:
    weights = draw_weights(WITH_PRESSURE, seed=0)
    scaling = StateScaling((0.0,), (1.0,))
    return NetworkState(WITH_PRESSURE, weights, 0.0, 1.0, "energy", "eV", state_scaling=scaling)


def surrogate_of(network: NetworkState, latents: np.ndarray) -> Surrogate:
    return Surrogate(
        network,
        LatentScaler.fit(latents, "standard"),
        Hyperparameters("matern52", 1.0, 1.0, 0.1, 0.0),
        tuple(f"labelled-{n}" for n in range(len(latents))),
        latents,
        np.zeros(len(latents)),
        Recalibration(),
    )


@pytest.mark.parametrize("with_sigma", [False, True])
def test_a_crystal_whose_latent_is_no_number_is_rejected_by_its_id_and_the_others_are_not(
    network: NetworkState, with_sigma: bool
) -> None:
    crystals = [json.dumps(rock_salt("Mg", 4.0 + 0.1 * n).as_dict()) for n in range(4)]
    ids = ["a", "b", "c", "d"]
    good = {"material_id": ids, "structure": crystals, "pressure_GPa": ["0.1", "1.0", "2.0", "3.0"]}
    expected = PoolFeaturizer(network)(pa.table(good))
    latents = latent_matrix(expected.column("latent"))
    featurizer = PoolFeaturizer(network, surrogate_of(network, latents) if with_sigma else None)
    # Finite in the file, and beyond the largest number of float32.
    table = featurizer(pa.table({**good, "pressure_GPa": ["0.1", "1e39", "2.0", "3.0"]}))
    assert table.column("material_id").to_pylist() == ids
    assert table.column("category").to_pylist() == [None, "latent not finite", None, None]
    assert table.column("reason").to_pylist()[1] == "the network gave NaN or infinity"
    values = ["latent", "network_prediction", *(("mean", "sigma") if with_sigma else ())]
    for name in values:
        assert table.column(name).is_valid().to_pylist() == [True, False, True, True]
    found = table.column("network_prediction").to_pylist()
    wanted = expected.column("network_prediction").to_pylist()
    # The same crystals in the same batch: only what float32 sums beside the bad one may differ.
    assert found[0::2] == pytest.approx(wanted[0::2], abs=1e-5)
    if with_sigma:
        assert np.isfinite(table.column("sigma").drop_null().to_numpy()).all()
