"""A training that goes on after other labels came: what was begun on the old ones is begun again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.tiny_campaign import tiny_config

from gpnet_ray import IonicOracle, hypothetical_dataset
from gpnet_ray.campaign.context import RunContext
from gpnet_ray.campaign.journal import Journal
from gpnet_ray.campaign.networks import Networks
from gpnet_ray.campaign.preparation import screen, split_problem
from gpnet_ray.campaign.run_folder import RunFolder
from gpnet_ray.data.splits import Split
from gpnet_ray.gnn.architecture import weight_shapes
from gpnet_ray.gnn.checkpoint import TrainingCheckpoint
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.gnn.records import EpochRecord
from gpnet_ray.gnn.training_set import training_fingerprint
from gpnet_ray.progress import NullProgress
from gpnet_ray.seeds import derive_seed


class Lines(NullProgress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


class LookingStage:
    """Stands in for the network actor: looks whether there is a checkpoint to go on from."""

    def __init__(self, network: NetworkState, training_seed: int) -> None:
        self.network, self.training_seed, self.found = network, training_seed, False

    def __enter__(self) -> LookingStage:
        return self

    def __exit__(self, *_: object) -> None: ...

    def train(
        self, *_: object, checkpoint: Path, **how: Any
    ) -> tuple[NetworkState, list[EpochRecord]]:
        self.found = checkpoint.is_file()
        return self.network, [EpochRecord(1, 1e-3, 0.1, 0.1, 2.0)]


def checkpoint(fingerprint: str) -> TrainingCheckpoint:
    arrays = [np.zeros(3, dtype=np.float32) for _ in range(4)]
    return TrainingCheckpoint(fingerprint, (), 0, 1.0, *arrays)


def all_train(split: Split) -> Split:
    return split


def without_last(split: Split) -> Split:
    return split.without({split.train[-1]})


@pytest.mark.parametrize(("now", "kept"), [(all_train, True), (without_last, False)])
def test_a_checkpoint_is_gone_on_from_where_it_is_of_this_training_and_else_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: Callable[[Split], Split], kept: bool
) -> None:
    config = tiny_config(tmp_path, name="told")
    dataset = hypothetical_dataset(90, seed=0, progress=NullProgress())
    problem = screen(dataset, config, NullProgress())
    split = split_problem(problem, config)
    folder, progress = RunFolder(tmp_path / "told"), Lines()
    folder.create(config, overwrite=False)
    training_seed = derive_seed(config.seed, "network")
    fingerprint = training_fingerprint(
        problem.graphs.select(split.train),
        np.full(len(split.train), 0.5),
        network=config.network,
        training=config.training,
        seed=training_seed,
        initial=None,
    )
    checkpoint(fingerprint).save(folder.training_checkpoint)
    shapes = weight_shapes(config.network)
    weights = {name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()}
    stage = LookingStage(
        NetworkState(config.network, weights, 0.0, 1.0, target=dataset.target, unit=dataset.unit),
        training_seed,
    )
    monkeypatch.setattr(Networks, "_stage", lambda _: stage)
    monkeypatch.setattr(Networks, "_latents", lambda *_, **__: None)
    monkeypatch.setattr(Networks, "_representation", lambda *_: None)
    context = RunContext(config, folder, IonicOracle(), progress)
    reference = dict.fromkeys(dataset.ids, 0.5)
    with Journal(folder.journal) as journal:
        Networks(context, problem, now(split), reference, journal).first(None)
    assert stage.found == kept
    told = "is of a training on other labels; the network is trained from the start"
    assert [line.endswith(told) for line in progress.lines] == ([] if kept else [True])
    assert not folder.training_checkpoint.exists(), "the network is safe"
