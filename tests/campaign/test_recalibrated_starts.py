"""However a Gaussian process begins, its latents are scaled on what is labelled, and its σ is recalibrated on what was held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.ask_tell import crystals, energy, small_config, small_network

from gpnet_ray import Campaign
from gpnet_ray.campaign.ask_tell import AskTellCampaign
from gpnet_ray.campaign.surrogate import Surrogate, load_surrogate
from gpnet_ray.campaign.train import train_surrogate
from gpnet_ray.config import Config
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.gp.calibrated_fit import fit_calibrated

pytestmark = pytest.mark.long

N_LABELLED, N_ALL = 44, 56
HELD_OUT = tuple(f"m-{n:03d}" for n in range(1, N_LABELLED, 2))  # 22, one more than it takes


def network_of(config: Config) -> NetworkState:
    return replace(small_network(config), held_out_ids=HELD_OUT)


def by_init(folder: Path, config: Config) -> Surrogate | None:
    labelled = crystals(0, N_LABELLED, labelled=True)
    unlabelled = crystals(N_LABELLED, N_ALL, labelled=False)
    AskTellCampaign.create(folder, labelled, unlabelled, config, network=network_of(config)).close()
    return load_surrogate(folder)


def by_run(folder: Path, config: Config) -> Surrogate | None:
    dataset = crystals(0, N_ALL, labelled=True)
    update = {
        "name": folder.name,
        "runs_dir": folder.parent,
        "selection": config.selection.model_copy(update={"cycles": 1, "strategies": ("random",)}),
        "split": config.split.model_copy(update={"n_train": N_LABELLED, "n_test": 4}),
        "retraining": config.retraining.model_copy(update={"when": "never"}),
    }
    config = config.model_copy(update=update)
    network = replace(network_of(config), held_out_ids=dataset.ids[::2])
    run = Campaign(dataset, config, network=network).run()
    return load_surrogate(run.run_dir)


def by_train(folder: Path, config: Config) -> Surrogate | None:
    training = config.training.model_copy(update={"epochs": 1, "validation_fraction": 0.6})
    config = config.model_copy(update={"training": training})
    train_surrogate(crystals(0, N_LABELLED, labelled=True), config).surrogate.save(folder)
    return load_surrogate(folder)


@pytest.mark.parametrize("begin", [by_init, by_run, by_train])
def test_latents_are_scaled_on_the_labelled_and_sigma_is_recalibrated_on_the_held_out(
    small_ray: None, tmp_path: Path, begin: Callable[[Path, Config], Surrogate | None]
) -> None:
    config = small_config()
    begun = begin(tmp_path / "begun", config)
    assert begun is not None
    ids = begun.ids[:N_LABELLED]  # what a run bought stands behind them
    labels = np.array([energy(i) for i in ids])
    np.testing.assert_allclose(begun.labels[:N_LABELLED], labels, rtol=1e-12)
    latents = begun.latents[:N_LABELLED].astype(np.float64)
    low, span = latents.min(axis=0), np.ptp(latents, axis=0)
    X = (latents - low) / np.where(span > 0, span, 1.0)
    # The file holds the scaling in decimal digits that float64 is read back from.
    np.testing.assert_allclose(begun.scaler.transform(latents), X, atol=1e-12)
    held_out = np.isin(ids, begun.network.held_out_ids)
    expected = fit_calibrated(X, labels, held_out, config=config.gp, seed=config.seed)
    assert begun.recalibration.n == expected.recalibration.n == held_out.sum() >= 21
    assert expected.recalibration.scale != 1.0
    assert begun.recalibration == expected.recalibration
    assert begun.hyperparameters == expected.hyperparameters
