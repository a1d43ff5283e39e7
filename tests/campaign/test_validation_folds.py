"""What is held out: every row once, by ids, from the seed alone; and what cannot be held out."""

from __future__ import annotations

import pytest

from gpnet_ray.campaign.validation_folds import HeldOut, draw_folds
from gpnet_ray.campaign.validation_task import threads_a_fold
from gpnet_ray.data.splits import make_split
from gpnet_ray.errors import DataError, InputError

IDS = [f"m-{number}" for number in range(47)]


def test_every_row_is_held_out_once_and_learned_from_in_all_other_folds():
    folds = draw_folds(IDS, HeldOut(folds=5), seed=3)
    assert [fold.number for fold in folds] == [1, 2, 3, 4, 5]
    assert sorted(i for fold in folds for i in fold.test) == sorted(IDS)
    assert sorted(len(fold.test) for fold in folds) == [9, 9, 9, 10, 10]
    for fold in folds:
        assert sorted(fold.train + fold.test) == sorted(IDS)


def test_folds_depend_on_ids_and_seed_not_on_the_order_of_the_rows():
    folds = draw_folds(IDS, HeldOut(folds=3), seed=3)
    assert draw_folds(IDS[::-1], HeldOut(folds=3), seed=3) == folds
    assert draw_folds(IDS, HeldOut(folds=3), seed=4) != folds
    # Shuffled: neighbours in the file, which are often alike, are not in one fold together.
    assert set(folds[0].test) != set(sorted(IDS)[:16])


def test_one_split_is_that_of_a_campaign_with_the_same_numbers_and_seed():
    split = make_split(IDS, n_train=20, n_test=9, seed=7)
    (fold,) = draw_folds(IDS, HeldOut(n_train=20, n_test=9), seed=7)
    assert (fold.train, fold.test) == (split.train, split.test)
    (rest,) = draw_folds(IDS, HeldOut(n_test=9), seed=7)
    assert len(rest.train) == 38
    assert len(set(rest.train) & set(rest.test)) == 0


CRYSTALS = {f"{i}@{p}": i for i in IDS for p in range(1 + int(i[2:]) % 4)}
"""47 crystals, each under one to four conditions."""


def test_a_crystal_under_several_conditions_is_held_out_in_one_fold():
    rows = sorted(CRYSTALS)
    folds = draw_folds(rows, HeldOut(folds=5), seed=3, crystals=CRYSTALS)
    assert sorted(i for fold in folds for i in fold.test) == rows
    for fold in folds:
        assert not {CRYSTALS[i] for i in fold.train} & {CRYSTALS[i] for i in fold.test}
        assert sorted(fold.train + fold.test) == rows
        # As equal as crystals of up to four rows can be dealt out.
        assert abs(len(fold.test) - len(rows) / 5) <= 4
    assert draw_folds(rows[::-1], HeldOut(folds=5), seed=3, crystals=CRYSTALS) == folds


@pytest.mark.parametrize("n_train", [None, 40])
def test_a_split_shares_no_crystal_and_is_that_of_a_campaign(n_train):
    rows, held_out = sorted(CRYSTALS), HeldOut(n_test=21, n_train=n_train)
    (fold,) = draw_folds(rows, held_out, seed=7, crystals=CRYSTALS)
    assert not {CRYSTALS[i] for i in fold.train} & {CRYSTALS[i] for i in fold.test}
    assert {i for i in rows if CRYSTALS[i] in {CRYSTALS[t] for t in fold.test}} == set(fold.test)
    assert 18 <= len(fold.test) <= 21
    assert len(fold.train) == (n_train or len(rows) - len(fold.test))
    if n_train:
        split = make_split(rows, n_train=40, n_test=21, seed=7, crystals=CRYSTALS)
        assert (split.train, split.test) == (fold.train, fold.test)
        assert not {CRYSTALS[i] for i in split.pool} & {CRYSTALS[i] for i in split.test}


def test_crystals_of_too_many_rows_to_be_held_out_are_refused():
    four = {f"{i}@{p}": i for i in IDS[:8] for p in range(4)}
    with pytest.raises(InputError, match=r"--test 3 holds out 0 rows.*raise --test"):
        draw_folds(list(four), HeldOut(n_test=3), seed=0, crystals=four)
    with pytest.raises(DataError, match=r"more than 3 rows.*raise --test"):
        make_split(list(four), n_train=10, n_test=3, seed=0, crystals=four)
    with pytest.raises(InputError, match=r"9 folds of 8 crystals.*lower --folds"):
        draw_folds(list(four), HeldOut(folds=9), seed=0, crystals=four)


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"folds": 1}, "at least 2 folds, got 1"),
        ({"folds": 0}, "at least 2 folds, got 0"),
        ({"folds": 24}, "24 folds of 47 usable materials"),
        ({"folds": 48}, "48 folds of 47 usable materials"),
        ({"folds": 5, "n_test": 3}, "leave out --folds"),
        ({"n_train": 20}, "nothing is held out"),
        ({"n_test": 1}, "--test 1 is too few"),
        ({"n_test": 3, "n_train": 9}, "--train 9 is too few"),
        ({"n_test": 38}, "38 test rows and 10 to learn from are more than the 47"),
        ({"n_test": 20, "n_train": 28}, "20 test rows and 28 to learn from are more than the 47"),
    ],
)
def test_what_cannot_be_held_out_is_refused_with_the_numbers(chosen, said):
    with pytest.raises(InputError, match=said):
        draw_folds(IDS, HeldOut(**chosen), seed=0)


def test_too_few_rows_to_learn_from_are_refused():
    with pytest.raises(InputError, match="leave 8 to learn from, and at least 10 are needed"):
        draw_folds(IDS[:16], HeldOut(folds=2), seed=0)


def test_folds_side_by_side_share_the_cpus():
    # As many threads as leave a place for every fold; more folds than CPUs take turns with one each.
    assert threads_a_fold([2], 4) == 1
    assert threads_a_fold([2], 1) == 2
    assert threads_a_fold([64], 10) == 6
    assert threads_a_fold([16, 16], 3) == 8  # no fold is spread over two nodes
