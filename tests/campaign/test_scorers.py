"""The actors of one representation at a time, and what all strategies have in common."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import ray
from support.tiny_campaign import tiny_config

from gpnet_ray.campaign.context import RunContext
from gpnet_ray.campaign.history import FIRST_NETWORK
from gpnet_ray.campaign.journal import Journal, read_journal
from gpnet_ray.campaign.networks import Representation
from gpnet_ray.campaign.run_folder import RunFolder
from gpnet_ray.campaign.scorers import Scorers
from gpnet_ray.campaign.stages import Latents
from gpnet_ray.data.splits import Split
from gpnet_ray.gp.fit_records import FitResult
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.recalibration import Recalibration
from gpnet_ray.gp.scaling import LatentScaler
from gpnet_ray.oracles.ionic import IonicOracle
from gpnet_ray.progress import NullProgress

LABELS = {"a": 0.1, "b": 0.7, "c": 0.4}


def test_all_strategies_start_from_one_fit_though_their_actors_were_away_in_between(
    small_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits: list[float] = []

    def fit(*_: Any) -> Any:
        # Another amplitude every time, as the rounding of a second fit may give.
        fits.append(1.0 + len(fits))
        hyperparameters = Hyperparameters("laplacian", fits[-1], 1.0, 0.1, 0.0)
        return ray.put(FitResult(hyperparameters, Recalibration(), (), 0.1, ()))

    monkeypatch.setattr(Scorers, "release", lambda self: setattr(self, "_in_use", None))
    monkeypatch.setattr(
        Scorers,
        "_start_actors",
        lambda self, _: setattr(self, "gp", SimpleNamespace(fit=SimpleNamespace(remote=fit))),
    )
    config = tiny_config(tmp_path, name="two")
    folder = RunFolder(tmp_path / "two")
    folder.create(config, overwrite=False)
    context = RunContext(config, folder, IonicOracle(), NullProgress())
    vectors = np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.2]], dtype=np.float32)
    latents = Latents(tuple(LABELS), vectors, np.zeros(3))
    network: Any = SimpleNamespace(
        unit="eV/atom", fingerprint=lambda: "first", held_out=lambda ids: np.zeros(len(ids), bool)
    )
    scaler = LatentScaler.fit(vectors, "min-max")

    def representation(key: tuple[str, int]) -> Representation:
        return Representation(key, network, latents, scaler, LABELS, folder)

    first, later = representation(FIRST_NETWORK), representation(("max-sigma", 1))
    with Journal(folder.journal) as journal:
        scorers = Scorers(context, Split(tuple(LABELS), ("d",), ("e",)), LABELS, journal)
        amplitudes = [scorers.of(used).hyperparameters.amplitude for used in (first, later, first)]
    assert amplitudes == [1.0, 2.0, 1.0]
    events = [e for e in read_journal(folder.journal) if e["event"] == "gp"]
    assert [(e["strategy"], e["network"]) for e in events] == [("", 0), ("max-sigma", 1)]
