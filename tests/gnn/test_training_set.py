from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gpnet_ray.config import NetworkConfig, TrainingConfig
from gpnet_ray.gnn.training_set import hold_out, training_fingerprint
from gpnet_ray.gp.recalibration import FEWEST_HELD_OUT

IDS = [f"mp-{i}" for i in range(5000)]


def test_an_id_stays_on_its_side_when_the_training_set_grows_or_is_shuffled():
    _, small = hold_out(IDS[:1800], fraction=0.1, seed=3)
    shuffled = np.random.default_rng(0).permutation(IDS).tolist()
    train, large = hold_out(shuffled, fraction=0.1, seed=3)
    assert set(small) == set(large) & set(IDS[:1800])
    assert set(train) | set(large) == set(IDS)
    assert not set(train) & set(large)
    assert [i for i in shuffled if i in set(train)] == list(train)


def test_the_share_is_the_one_asked_for_and_the_seed_decides_who():
    _, first = hold_out(IDS, fraction=0.1, seed=3)
    _, second = hold_out(IDS, fraction=0.1, seed=4)
    # Binomial: 500 ± 21; four deviations. Two independent parts share a tenth of them: 50 ± 7.
    assert abs(len(first) - 500) < 85
    assert len(set(first) & set(second)) < 80


def test_rows_that_the_first_network_knows_are_held_out_only_where_nearly_no_others_are_drawn():
    _, drawn = hold_out(IDS, fraction=0.1, seed=3)
    train, new = hold_out(IDS, fraction=0.1, seed=3, known=drawn[30:])
    assert new == drawn[:30]
    assert len(train) + len(new) == len(IDS)
    # As many as a recalibration takes are enough; with fewer, the others judge too.
    assert hold_out(IDS, fraction=0.1, seed=3, known=drawn[FEWEST_HELD_OUT:])[1] == drawn[:21]
    assert hold_out(IDS, fraction=0.1, seed=3, known=drawn[20:])[1] == drawn
    # Of a small part half are enough.
    _, small = hold_out(IDS[:100], fraction=0.1, seed=3)
    assert len(small) < FEWEST_HELD_OUT
    assert hold_out(IDS[:100], fraction=0.1, seed=3, known=small[:1])[1] == small[1:]
    assert len(small) > 2
    assert hold_out(IDS[:100], fraction=0.1, seed=3, known=small[1:])[1] == small


def test_a_crystal_under_several_conditions_is_on_one_side_also_when_more_of_it_comes():
    crystals = {f"{name}@{pressure}": name for name in IDS[:600] for pressure in (0, 20, 40)}
    rows = list(crystals)
    train, held_out = hold_out(rows, fraction=0.1, seed=3, crystals=crystals)
    assert not {crystals[i] for i in train} & {crystals[i] for i in held_out}
    # 60 ± 7 of 600 crystals.
    assert 90 < len(held_out) < 270
    fewer = rows[::2] + rows[1:40:2]
    assert set(hold_out(fewer, fraction=0.1, seed=3, crystals=crystals)[1]) == (
        set(held_out) & set(fewer)
    )
    # What the first network knows of a crystal it knows of all its rows.
    known = held_out[100::3]
    _, new = hold_out(rows, fraction=0.1, seed=3, crystals=crystals, known=known)
    assert new
    assert not {crystals[i] for i in new} & {crystals[i] for i in known}
    # Of one crystal alone some rows are held out all the same.
    one = dict.fromkeys(rows[:30], "the only one")
    assert all(hold_out(rows[:30], fraction=0.1, seed=3, crystals=one))


@pytest.mark.parametrize("fraction", [1e-9, 1 - 1e-9])
def test_both_parts_have_at_least_one(fraction):
    for n in (2, 3, 10):
        train, held_out = hold_out(IDS[:n], fraction=fraction, seed=0)
        assert train
        assert held_out
        assert len(train) + len(held_out) == n


def test_the_fingerprint_changes_with_whatever_can_change_a_weight(graphs, learnable_targets):
    def fingerprint(graphs=graphs, y=learnable_targets, seed=0, initial=None, **settings):
        network = NetworkConfig(layer=settings.pop("layer", "readout_0"))
        return training_fingerprint(
            graphs,
            y,
            network=network,
            training=TrainingConfig(**settings),
            seed=seed,
            initial=initial,
        )

    lengths = graphs.bond_lengths_angstrom + np.float32(1e-6)
    others = [
        fingerprint(graphs=dataclasses.replace(graphs, bond_lengths_angstrom=lengths)),
        fingerprint(y=learnable_targets + 1e-12),
        fingerprint(seed=1),
        fingerprint(initial="abc"),
        fingerprint(epochs=7),
        fingerprint(loss="mae"),
    ]
    assert len({fingerprint(), *others}) == 7
    # How often the state is written, and which layer is read afterwards, change no weight.
    assert fingerprint(checkpoint_every_epochs=3, layer="readout_1") == fingerprint()
