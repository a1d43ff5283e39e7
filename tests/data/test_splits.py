from __future__ import annotations

import json

import numpy as np
import pytest

from gpnet_ray.data.splits import Split, load_split, make_split
from gpnet_ray.errors import DataError

IDS = [f"m-{i}" for i in range(50)]


def test_parts_are_disjoint_complete_and_of_the_size_asked_for():
    split = make_split(IDS, n_train=20, n_test=10, seed=3)
    assert (len(split.train), len(split.test), len(split.pool)) == (20, 10, 20)
    assert sorted({*split.train, *split.test, *split.pool}) == sorted(IDS)


def test_the_order_of_the_ids_does_not_matter_but_the_seed_does():
    shuffled = np.random.default_rng(1).permutation(IDS).tolist()
    first = make_split(IDS, n_train=20, n_test=10, seed=3)
    assert make_split(shuffled, n_train=20, n_test=10, seed=3) == first
    assert make_split(IDS, n_train=20, n_test=10, seed=4) != first


def test_every_material_is_as_likely_to_be_drawn():
    times_in_test = dict.fromkeys(IDS, 0)
    for seed in range(400):
        for material_id in make_split(IDS, n_train=20, n_test=10, seed=seed).test:
            times_in_test[material_id] += 1
    # Binomial(400, 0.2): mean 80, standard deviation 8; five of them miss one in a million.
    assert all(40 < times < 120 for times in times_in_test.values())


def test_one_material_must_be_left_for_the_pool():
    assert len(make_split(IDS, n_train=39, n_test=10, seed=0).pool) == 1
    with pytest.raises(DataError, match=r"40 train \+ 10 test .* the 50 materials"):
        make_split(IDS, n_train=40, n_test=10, seed=0)


def test_a_saved_split_comes_back(tmp_path):
    split = make_split(IDS, n_train=20, n_test=10, seed=3)
    path = tmp_path / "split.json"
    path.write_text(json.dumps(split.to_json()), encoding="utf-8")
    assert load_split(path) == split


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "train, pool and test"),
        (json.dumps({"train": ["a"], "pool": ["b"]}), "train, pool and test"),
        (json.dumps({"train": ["a"], "pool": ["b"], "test": "c"}), "'test' is not a list"),
        (json.dumps({"train": ["a"], "pool": [2], "test": ["c"]}), "'pool' is not a list"),
        (json.dumps({"train": ["a"], "pool": ["b"], "test": ["a"]}), "duplicate ids: a"),
        (json.dumps({"train": ["a", "a"], "pool": ["b"], "test": ["c"]}), "duplicate ids: a"),
        (json.dumps({"train": ["a"], "pool": ["b"], "test": []}), "test part is empty"),
    ],
)
def test_a_damaged_split_is_refused(text, message, tmp_path):
    path = tmp_path / "split.json"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"split\.json is damaged.*{message}"):
        load_split(path)


def test_a_split_of_other_materials_is_noticed():
    split = Split(train=("a",), pool=("b",), test=("c",))
    split.check_belongs_to(["c", "b", "a"])
    with pytest.raises(DataError, match="only in the split: c; only in the dataset: d"):
        split.check_belongs_to(["a", "b", "d"])
