"""Predictions from Python: of every id in its order, with the mean and σ of the Gaussian process on its own latents."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.ask_tell import UNIT, crystals, small_config, small_network

from gpnet_ray import Surrogate, predict
from gpnet_ray.data.dataset import RejectedMaterial
from gpnet_ray.errors import InputError
from gpnet_ray.gnn.featurize import Featurizer
from gpnet_ray.gnn.graphs import build_graphs
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.recalibration import Recalibration
from gpnet_ray.gp.scaling import LatentScaler

N_KNOWN, N_ALL = 12, 20


@pytest.fixture(scope="module")
def all_latents() -> np.ndarray:
    network = small_network(small_config())
    dataset = crystals(0, N_ALL, labelled=True)
    cutoff = network.config.cutoff_angstrom
    graphs, _ = build_graphs(dataset.ids, dataset.structures, cutoff_angstrom=cutoff)
    return Featurizer(network).featurize(graphs)[1]


@pytest.fixture(scope="module")
def surrogate(all_latents: np.ndarray) -> Surrogate:
    known = crystals(0, N_KNOWN, labelled=True)
    latents = all_latents[:N_KNOWN]
    assert known.targets is not None
    return Surrogate(
        small_network(small_config()),
        LatentScaler.fit(latents, "min-max"),
        Hyperparameters("laplacian", 0.5, 3.0, 0.05, -4.0),
        known.ids,
        latents,
        known.targets,
        Recalibration(),
    )


@pytest.mark.slow
def test_every_id_has_its_numbers_or_its_reason_in_the_order_of_the_dataset(
    small_ray: None, surrogate: Surrogate, all_latents: np.ndarray
) -> None:
    dataset = crystals(0, N_ALL, labelled=False)
    far_apart = dataset.structures[5].copy()
    far_apart.scale_lattice(1e5)
    structures = tuple(far_apart if n == 5 else s for n, s in enumerate(dataset.structures))
    unread = RejectedMaterial("m-unread", "does not parse", "no lattice", "row 21")
    table = predict(
        surrogate, replace(dataset, structures=structures, rejected=(unread,)), level=0.9545
    )
    assert table.material_id.tolist() == [*dataset.ids, "m-unread"]
    bad = [5, N_ALL]
    assert table.rejected[bad].str.startswith(("no bond", "does not parse: no lattice")).all()
    assert table.iloc[bad][["mean", "sigma", "lower", "upper"]].isna().all(axis=None)
    good = np.setdiff1d(np.arange(N_ALL), bad)
    assert (table.rejected[good] == "").all()
    X = surrogate.scaler.transform(all_latents[good])
    mean, sigma = surrogate.posterior().predict(X)
    # Latents of the same crystals in other batches: float32 sums in another order.
    np.testing.assert_allclose(table["mean"][good], mean, atol=1e-4)
    np.testing.assert_allclose(table.sigma[good], sigma, atol=1e-4)
    # Of a Gaussian 0.9545 lie within two σ (1.99999…).
    np.testing.assert_allclose(table.upper - table["mean"], 2 * table.sigma, rtol=1e-3)


def test_what_is_no_surrogate_no_dataset_or_no_level_is_named(surrogate: Surrogate) -> None:
    dataset = crystals(0, 2, labelled=False)
    assert dataset.unit == UNIT
    with pytest.raises(InputError, match="a surrogate is wanted, not None"):
        predict(None, dataset)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"a dataset is wanted, not 'new\.parquet'"):
        predict(surrogate, "new.parquet")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="level 90: the share"):
        predict(surrogate, dataset, level=90)
