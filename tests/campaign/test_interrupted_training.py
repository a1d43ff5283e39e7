"""A run that was stopped while its network was being trained, against one that was not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support.tiny_campaign import tiny_config

from gpnet_ray import Campaign, IonicOracle, hypothetical_dataset
from gpnet_ray.gnn.checkpoint import load_checkpoint
from gpnet_ray.gnn.network_state import load_network_state
from gpnet_ray.progress import NullProgress

STOPPED_AFTER = 2
"""Epochs that the interrupted run has shown; the state after the one before is on disk."""


class StopsInTraining(NullProgress):
    """Ctrl-C of a user who watches the epochs."""

    @contextmanager
    def task(self, title: str, *, total: float, unit: str) -> Iterator[Any]:
        class Counting:
            done = 0.0

            def advance(self, steps: float = 1, *, note: str = "") -> None:
                self.done += steps
                if title == "Training the network" and self.done == STOPPED_AFTER:
                    raise KeyboardInterrupt

        yield Counting()


def campaign(runs_dir: Path, progress: NullProgress) -> Campaign:
    config = tiny_config(
        runs_dir,
        name="stopped",
        **{
            "training.checkpoint_every_epochs": 1,
            "selection.strategies": ["random"],
            "selection.cycles": 1,
        },
    )
    dataset = hypothetical_dataset(90, seed=config.seed, progress=NullProgress())
    return Campaign(dataset, config, oracle=IonicOracle(), progress=progress)


@pytest.mark.slow
def test_it_goes_on_from_the_last_checkpoint_and_ends_with_the_same_network(
    finished: Any, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        campaign(tmp_path, StopsInTraining()).run()
    path = tmp_path / "stopped" / "training_checkpoint.npz"
    behind = load_checkpoint(path).history
    assert [record.epoch for record in behind] == [1]

    resumed = campaign(tmp_path, NullProgress()).run(resume=True)
    fingerprints, histories = [], []
    for folder in (finished.run_dir, resumed.run_dir):
        fingerprints.append(load_network_state(folder / "network").fingerprint())
        histories.append(pq.read_table(folder / "training_history.parquet").to_pandas())
    assert fingerprints[0] == fingerprints[1]
    assert histories[0].drop(columns="seconds").equals(histories[1].drop(columns="seconds"))
    # The first epoch was not trained twice: its time is the one measured before the stop.
    assert histories[1].seconds[0] == behind[0].seconds
    assert not path.exists()
    check_curves(resumed.run_dir / "tensorboard", histories[1])


def check_curves(folder: Path, history: Any) -> None:
    """Read the event files with TensorFlow, as TensorBoard does: what came later takes back what it repeats."""
    import tensorflow as tf

    curves: dict[str, dict[int, float]] = {}
    restarts = []
    for file in sorted(folder.glob("events*"), key=lambda file: file.stat().st_mtime_ns):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            if event.HasField("session_log"):
                restarts.append(event.step)
                for curve in curves.values():
                    for step in [s for s in curve if s >= event.step]:
                        del curve[step]
            for value in event.summary.value:
                curves.setdefault(value.tag, {})[event.step] = value.simple_value
    assert restarts == [STOPPED_AFTER]
    names = {
        "mae/train": "train_mae",
        "mae/validation": "validation_mae",
        "learning_rate": "learning_rate",
        "seconds": "seconds",
    }
    assert set(curves) == set(names)
    for tag, column in names.items():
        assert list(curves[tag]) == history.epoch.tolist()
        # Event files hold float32.
        assert list(curves[tag].values()) == pytest.approx(history[column].tolist(), rel=1e-6)
