from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from gpnet_ray.config import TrainingConfig
from gpnet_ray.errors import InputError, NumericalError
from gpnet_ray.gnn.checkpoint import load_checkpoint
from gpnet_ray.gnn.featurize import Featurizer
from gpnet_ray.gnn.records import EpochRecord, KeptEpoch
from gpnet_ray.gnn.training import Trainer
from gpnet_ray.gnn.validation import held_out_mae

TRAINING = TrainingConfig(
    epochs=60,
    batch_size=8,
    peak_learning_rate=3e-2,
    # Far from settled at the end, so that the last weights are not the best ones.
    final_learning_rate_ratio=0.5,
    validation_fraction=0.2,
)
CLIP = 0.005


def make_trainer(graphs, targets, network, **changes) -> Trainer:
    settings = {"training": TRAINING, "seed": 3, **changes}
    return Trainer(graphs, targets, network=network, target="t", unit="Å", **settings)


@pytest.fixture(scope="module")
def trained(graphs, learnable_targets, tiniest_network) -> tuple[Trainer, list[EpochRecord]]:
    trainer = make_trainer(graphs, learnable_targets, tiniest_network)
    return trainer, list(trainer.run())


def test_it_learns(trained, learnable_targets):
    _, records = trained
    assert [r.epoch for r in records] == list(range(1, 61))
    guess = np.abs(learnable_targets - learnable_targets.mean()).mean()
    # Guessing the mean is what a network does that has learnt nothing; on 32 crystals it gets to a
    # fifteenth of that error, and to a third on the 8 held out, whose elements are hardly known.
    assert records[-1].train_mae < guess / 5
    assert min(r.validation_mae for r in records) < guess / 2
    assert records[-1].learning_rate == pytest.approx(1.5e-2)
    assert all(r.seconds > 0 for r in records)


def test_the_best_weights_are_those_of_the_smallest_validation_error(
    trained, graphs, learnable_targets
):
    trainer, records = trained
    assert np.argmin([r.validation_mae for r in records]) < len(records) - 1
    state = trainer.best_state()
    value = dict(zip(graphs.ids, learnable_targets, strict=True))
    ids, _, predictions = Featurizer(state).featurize(graphs.select(trainer.validation_ids))
    residual = predictions - [value[name] for name in ids]
    # The same weights through the same function, only batched otherwise: float32 rounding.
    assert np.abs(residual).mean() == pytest.approx(
        min(r.validation_mae for r in records), rel=1e-5
    )


def test_scaling_sees_the_train_part_alone_and_validation_is_held_out(
    trained, graphs, learnable_targets
):
    trainer, _ = trained
    # A fifth of 40, each drawn by itself: 8 ± 2.5; three deviations.
    assert 1 <= len(trainer.validation_ids) <= 16
    assert set(trainer.train_ids) | set(trainer.validation_ids) == set(graphs.ids)
    assert not set(trainer.train_ids) & set(trainer.validation_ids)
    value = dict(zip(graphs.ids, learnable_targets, strict=True))
    y = np.array([value[name] for name in trainer.train_ids])
    state = trainer.best_state()
    assert state.held_out_ids == trainer.validation_ids
    assert state.target_mean == pytest.approx(y.mean(), rel=1e-12)
    assert state.target_scale == pytest.approx(y.std(), rel=1e-12)


@pytest.mark.usefixtures("sums_in_one_order")
def test_an_interrupted_training_ends_with_the_same_weights_bit_for_bit(
    trained, graphs, learnable_targets, tiniest_network, tmp_path
):
    """The same seed, another trainer, and a file in between."""
    trainer, records = trained
    interrupted = make_trainer(graphs, learnable_targets, tiniest_network)
    first_part = list(itertools.islice(interrupted.run(), 20))
    interrupted.checkpoint().save(tmp_path / "checkpoint.npz")
    resumed = make_trainer(
        graphs,
        learnable_targets,
        tiniest_network,
        checkpoint=load_checkpoint(tmp_path / "checkpoint.npz"),
    )
    second_part = list(resumed.run())
    assert [r.epoch for r in second_part] == list(range(21, 61))
    numbers = [(r.train_mae, r.validation_mae, r.learning_rate) for r in first_part + second_part]
    assert numbers == [(r.train_mae, r.validation_mae, r.learning_rate) for r in records]
    assert resumed.best_state().fingerprint() == trainer.best_state().fingerprint()
    ours, theirs = resumed.checkpoint(), trainer.checkpoint()
    assert ours.weights.tobytes() == theirs.weights.tobytes()
    assert ours.second_moment.tobytes() == theirs.second_moment.tobytes()
    assert len(ours.history) == 60


def test_a_checkpoint_of_another_training_is_refused(
    trained, graphs, learnable_targets, tiniest_network
):
    checkpoint = trained[0].checkpoint()
    with pytest.raises(InputError, match="other settings, data or first weights"):
        make_trainer(graphs, learnable_targets + 1, tiniest_network, checkpoint=checkpoint)


def test_a_start_that_no_epoch_improves_is_kept_and_patience_ends_the_training(
    trained, graphs, learnable_targets, tiniest_network
):
    initial = trained[0].best_state()
    spoiling = TRAINING.model_copy(
        update={"peak_learning_rate": 1.0, "warmup_fraction": 0.01, "patience_epochs": 2}
    )
    trainer = make_trainer(
        graphs, learnable_targets, tiniest_network, training=spoiling, initial=initial
    )
    records = list(trainer.run())
    assert len(records) == 2
    assert trainer.best_state().fingerprint() == initial.fingerprint()
    checkpoint = trainer.checkpoint()
    assert checkpoint.best_epoch == 0
    # What is told of the network is its own error, and not that of an epoch which was thrown away.
    assert trainer.best_state().kept == KeptEpoch(0, checkpoint.best_validation_mae)
    assert min(r.validation_mae for r in records) > checkpoint.best_validation_mae
    # What is held out here was held out there: the same error, from batches padded otherwise (float32).
    best_there = min(r.validation_mae for r in trained[1])
    assert checkpoint.best_validation_mae == pytest.approx(best_there, rel=1e-5)
    again = held_out_mae(initial, graphs, learnable_targets, fraction=0.2, seed=3)
    assert again == pytest.approx(best_there, rel=1e-5)
    # On resume the epochs without improvement still count.
    resumed = make_trainer(
        graphs,
        learnable_targets,
        tiniest_network,
        training=spoiling,
        initial=initial,
        checkpoint=checkpoint,
    )
    assert list(resumed.run()) == []


WITHOUT_GRADIENT = {
    # The state's inputs are zeros, and so is what softplus2 makes of them.
    *("preblock_state_0/kernel", "preblock_state_1/kernel"),
    # One pass of Set2Set starts from a zero query.
    *("set2set_atom/recurrent_kernel", "set2set_bond/recurrent_kernel"),
}


def test_frozen_embeddings_stay_and_everything_else_is_trained_on_the_scale_of_the_start(
    trained, graphs, learnable_targets, tiniest_network
):
    initial = trained[0].best_state()
    training = TRAINING.model_copy(update={"epochs": 1, "freeze_atom_embeddings": True})
    # Other targets, near enough for the first epoch to improve on the start.
    shifted = learnable_targets + 0.5
    trainer = make_trainer(graphs, shifted, tiniest_network, training=training, initial=initial)
    list(trainer.run())
    state = trainer.best_state()
    assert (state.target_mean, state.target_scale) == (initial.target_mean, initial.target_scale)
    unchanged = {n for n, w in initial.weights.items() if np.array_equal(state.weights[n], w)}
    assert "atom_embedding/embeddings" in unchanged
    kernels = {n for n, w in initial.weights.items() if w.ndim == 2}
    assert unchanged & kernels <= {"atom_embedding/embeddings", *WITHOUT_GRADIENT}
    with pytest.raises(InputError, match=r"freeze_atom_embeddings.*pretrained"):
        make_trainer(graphs, learnable_targets, tiniest_network, training=training)


def test_a_property_in_another_unit_is_scaled_anew(
    trained, graphs, learnable_targets, tiniest_network
):
    initial = trained[0].best_state()
    training = TRAINING.model_copy(update={"epochs": 1})
    trainer = make_trainer(
        graphs,
        3 * learnable_targets + 1,
        tiniest_network,
        training=training,
        initial=dataclasses.replace(initial, unit="nm"),
    )
    list(trainer.run())
    state = trainer.best_state()
    assert state.target_mean == pytest.approx(3 * initial.target_mean + 1)
    assert state.target_scale == pytest.approx(3 * initial.target_scale)


def test_a_start_of_another_architecture_is_refused_and_another_layer_is_none(
    trained, graphs, learnable_targets, tiniest_network
):
    initial = trained[0].best_state()
    other = tiniest_network.model_copy(update={"set2set_passes": 2})
    with pytest.raises(InputError, match=r"set2set_passes: 1 there, 2 here"):
        make_trainer(graphs, learnable_targets, other, initial=initial)
    same = tiniest_network.model_copy(update={"layer": "readout_1"})
    make_trainer(graphs, learnable_targets, same, initial=initial)


def test_another_seed_gives_another_validation_part(graphs, learnable_targets, tiniest_network):
    parts = {
        make_trainer(graphs, learnable_targets, tiniest_network, seed=seed).validation_ids
        for seed in (3, 4)
    }
    assert len(parts) == 2


@pytest.mark.parametrize("loss", ["mse", "mae"])
def test_a_step_is_the_step_of_keras_adam_with_clipping(
    graphs, learnable_targets, tiniest_network, keras_inputs, loss
):
    """One batch an epoch: three epochs are three steps, repeated here by Keras on megnet's model."""
    from gpnet_ray.gnn._megnet import build_keras_model
    from gpnet_ray.gnn.initial_weights import draw_weights
    from gpnet_ray.gnn.schedule import one_cycle_learning_rate
    from gpnet_ray.seeds import derive_seed

    training = TrainingConfig(
        epochs=3, batch_size=64, gradient_clip_norm=CLIP, peak_learning_rate=1e-2, loss=loss
    )
    trainer = make_trainer(graphs, learnable_targets, tiniest_network, training=training)
    model = build_keras_model(tiniest_network)
    weights = draw_weights(tiniest_network, seed=derive_seed(3, "network"))
    model.set_weights(list(weights.values()))
    optimizer = tf_keras.optimizers.Adam()
    part = graphs.select(trainer.train_ids)
    value = dict(zip(graphs.ids, learnable_targets, strict=True))
    y = np.array([value[name] for name in part.ids])
    y = ((y - y.mean()) / y.std()).astype(np.float32)
    inputs = keras_inputs(part, tiniest_network)
    residuals = []
    for step in range(3):
        with tf.GradientTape() as tape:
            residual = model(inputs)[0, :, 0] - y
            error = tf.square(residual) if loss == "mse" else tf.abs(residual)
            mean_error = tf.reduce_mean(error)
        gradients = tape.gradient(mean_error, model.trainable_variables)
        gradients, norm = tf.clip_by_global_norm([tf.convert_to_tensor(g) for g in gradients], CLIP)
        assert norm > CLIP  # so that clipping is really tested
        optimizer.learning_rate.assign(one_cycle_learning_rate(step, n_steps=3, training=training))
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        residuals.append(float(np.abs(residual).mean()))

    maes = [r.train_mae for r in trainer.run()]
    ours = np.array(maes) / trainer.best_state().target_scale
    # Three float32 steps; Adam divides by small second moments, which magnifies rounding.
    np.testing.assert_allclose(ours, residuals, rtol=2e-4)


def test_divergence_is_an_error_that_says_what_to_try(graphs, learnable_targets, tiniest_network):
    training = TRAINING.model_copy(
        update={"peak_learning_rate": 1e30, "gradient_clip_norm": 1e30, "epochs": 3}
    )
    trainer = make_trainer(graphs, learnable_targets, tiniest_network, training=training)
    with pytest.raises(NumericalError, match=r"diverged.*lower training\.peak_learning_rate"):
        list(trainer.run())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda g, y: (g, y[:-1]), r"shape \(40,\)"),
        (lambda g, y: (g, np.where(np.arange(40) == 7, np.nan, y)), "'crystal-7' is nan"),
        (lambda g, y: (g, np.ones_like(y)), "nothing to learn"),
        (lambda g, y: (g.select(g.ids[:1]), y[:1]), "at least 2"),
        (lambda g, y: (dataclasses.replace(g, cutoff_angstrom=5.0), y), "cut-off of 5 Å"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(
    graphs, learnable_targets, tiniest_network, spoil, message
):
    bad_graphs, bad_targets = spoil(graphs, learnable_targets)
    with pytest.raises(InputError, match=message):
        make_trainer(bad_graphs, bad_targets, tiniest_network)


def test_asking_for_the_best_weights_before_any_epoch_is_refused(
    graphs, learnable_targets, tiniest_network
):
    with pytest.raises(InputError, match="no epoch"):
        make_trainer(graphs, learnable_targets, tiniest_network).best_state()
