"""What a network has learned from goes with it, and is never what a later training is judged by."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from gpnet_ray.config import TrainingConfig
from gpnet_ray.errors import InputError
from gpnet_ray.gnn.network_state import NETWORK_FILE, NetworkState, load_network_state
from gpnet_ray.gnn.trained_rows import TrainedRows
from gpnet_ray.gnn.training import Trainer

TRAINING = TrainingConfig(
    epochs=1, batch_size=8, peak_learning_rate=3e-2, validation_fraction=0.3, warmup_fraction=0.5
)


@pytest.fixture(scope="module")
def train(graphs, learnable_targets, tiniest_network):
    """Make a trainer for all crystals, or for some."""

    def train(ids=graphs.ids, *, seed=3, **more) -> Trainer:
        value = dict(zip(graphs.ids, learnable_targets, strict=True))
        y = np.array([value[name] for name in ids])
        settings = {"training": TRAINING, "network": tiniest_network, "seed": seed, **more}
        return Trainer(graphs.select(ids), y, target="t", unit="Å", **settings)

    return train


@pytest.fixture(scope="module")
def first(train) -> tuple[Trainer, NetworkState]:
    trainer = train()
    list(trainer.run())
    return trainer, trainer.best_state()


def test_a_saved_network_knows_the_rows_its_weights_were_fitted_to(first, graphs, tmp_path):
    trainer, state = first
    state.save(tmp_path)
    read = load_network_state(tmp_path)
    assert read.trained_rows.among(graphs) == set(trainer.train_ids)
    assert read.trained_rows.is_complete
    # Another crystal of the same id in another dataset is another row.
    other = dataclasses.replace(graphs, ids=(*graphs.ids[1:], graphs.ids[0]))
    assert len(read.trained_rows.among(other)) < len(trainer.train_ids)


def test_of_a_network_that_was_saved_before_nothing_is_known(first, graphs, tmp_path):
    first[1].save(tmp_path)
    description = json.loads((tmp_path / NETWORK_FILE).read_text())
    del description["trained_rows"]
    (tmp_path / NETWORK_FILE).write_text(json.dumps(description))
    assert load_network_state(tmp_path).trained_rows == TrainedRows()
    description["trained_rows"] = ["abc"]
    (tmp_path / NETWORK_FILE).write_text(json.dumps(description))
    with pytest.raises(InputError, match="trained_rows"):
        load_network_state(tmp_path)


def test_no_row_that_the_first_network_learned_from_judges_the_next(first, train, graphs):
    """Drawn with another seed, 17 rows would judge, of which the first network knows 7."""
    known = graphs.ids[:15]
    rows = TrainedRows.of(graphs.select(known))
    trainer = train(seed=4, initial=dataclasses.replace(first[1], trained_rows=rows))
    drawn = train(seed=4).validation_ids
    assert len(set(drawn) & set(known)) == 7
    assert trainer.validation_ids == tuple(name for name in drawn if name not in known)
    assert set(trainer.train_ids) | set(trainer.validation_ids) == set(graphs.ids)


def test_what_earlier_networks_learned_from_is_inherited(first, train, graphs):
    new = [name for name in graphs.ids if name not in first[0].train_ids]
    trainer = train(new, seed=5, initial=first[1])
    list(trainer.run())
    assert trainer.checkpoint().best_epoch == 1
    rows = trainer.best_state().trained_rows
    assert rows.among(graphs) == {*first[0].train_ids, *trainer.train_ids}
    assert rows.is_complete
    # One link of the chain that nothing is known of makes all of it uncertain.
    assert not (rows | TrainedRows()).is_complete
    assert (rows | TrainedRows()).keys == rows.keys


def test_weights_that_no_epoch_improved_have_learned_nothing_more(first, train, graphs):
    spoiling = TRAINING.model_copy(update={"peak_learning_rate": 1.0, "warmup_fraction": 0.01})
    rows = TrainedRows.of(graphs.select(graphs.ids[:3]))
    known = dataclasses.replace(first[1], trained_rows=rows)
    trainer = train(initial=known, training=spoiling)
    list(trainer.run())
    assert trainer.checkpoint().best_epoch == 0
    assert trainer.best_state().trained_rows == rows
