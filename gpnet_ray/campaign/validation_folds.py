"""Which rows are held out, and in which fold: drawn from the seed, by ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gpnet_ray.data.dataset import check_unique_ids
from gpnet_ray.data.splits import take_whole_crystals
from gpnet_ray.errors import InputError
from gpnet_ray.seeds import generator

__all__ = ["Fold", "HeldOut", "draw_folds"]

DEFAULT_FOLDS = 5
FEWEST_TRAIN = 10
"""As in a campaign: with fewer rows neither a network nor a Gaussian process says anything."""
FEWEST_TEST = 2
"""Correlations and R² need two values."""


@dataclass(frozen=True)
class HeldOut:
    """How rows are held out: k folds, each of which is held out once, or a number of them once.

    Attributes:
        folds: Number of folds k; ``None``: one train/test split.
        n_test: Held-out rows of the one split; ``None`` with folds.
        n_train: Rows that the one split learns from; ``None``: all others.

    Raises:
        InputError: less than two folds, none of both ways or both, numbers below 1.
    """

    folds: int | None = None
    n_test: int | None = None
    n_train: int | None = None

    def __post_init__(self) -> None:
        if self.folds is not None and (self.n_test is not None or self.n_train is not None):
            raise InputError(
                f"{self.folds} folds hold out every row once, so there is no number of train or test rows"
                " to choose; leave out --folds, or --train and --test"
            )
        if self.folds is None and self.n_test is None:
            raise InputError("nothing is held out; give --folds, or --test for one split")
        if self.folds is not None and self.folds < 2:
            raise InputError(
                f"cross-validation needs at least 2 folds, got {self.folds}; for one train/test split"
                " give --test and no --folds"
            )
        for option, number, fewest in (
            ("--test", self.n_test, FEWEST_TEST),
            ("--train", self.n_train, FEWEST_TRAIN),
        ):
            if number is not None and number < fewest:
                raise InputError(f"{option} {number} is too few; give at least {fewest}")

    @classmethod
    def chosen(cls, folds: int | None, *, n_test: int | None, n_train: int | None) -> HeldOut:
        """What a user chose: five folds where nothing is named."""
        if folds is None and n_test is None and n_train is None:
            folds = DEFAULT_FOLDS
        return cls(folds, n_test=n_test, n_train=n_train)


@dataclass(frozen=True)
class Fold:
    """One part of the rows that is held out, and what is learned from.

    Attributes:
        number: Counted from 1.
        train: ids that are learned from, sorted.
        test: ids that are held out, sorted.
    """

    number: int
    train: tuple[str, ...]
    test: tuple[str, ...]


def draw_folds(
    ids: Sequence[str],
    held_out: HeldOut,
    *,
    seed: int,
    crystals: Mapping[str, str] | None = None,
) -> tuple[Fold, ...]:
    """Draw what is held out, at random; the same ids in any order give the same folds.

    The one split holds out and learns from what a campaign with this seed and these numbers does; folds
    differ in size by at most one. Where one crystal is several rows, all of them are in one fold, or held out together:
    then folds differ by a crystal's rows, and one split may hold out fewer rows than it was told.

    Args:
        ids: All rows, distinct.
        held_out: How many folds, or how large a split.
        seed: The seed of the configuration.
        crystals: What the crystal of each id is known by; ``None``: each id is one of its own.

    Raises:
        InputError: more folds, train or test rows than there are rows or crystals for.
        DataError: duplicate ids.
    """
    check_unique_ids(ids, where="validation")
    ordered, n = sorted(ids), len(ids)
    if held_out.folds is None:
        # The stream and the order of :func:`gpnet_ray.data.splits.make_split`.
        drawn = [ordered[row] for row in generator(seed, "split").permutation(n)]
        n_test = held_out.n_test or 0
        n_train = n - n_test if held_out.n_train is None else held_out.n_train
        _check_rows(n, n_train, n_test)
        test = take_whole_crystals(drawn[n_train:] + drawn[:n_train], n_test, crystals)
        if len(test) < FEWEST_TEST:
            raise InputError(
                f"--test {n_test} holds out {len(test)} rows, since all rows of a crystal are held out or none is, and"
                f" at least {FEWEST_TEST} are needed; raise --test"
            )
        rest = [name for name in drawn if name not in set(test)]
        train = rest if held_out.n_train is None else rest[:n_train]
        return (Fold(1, tuple(sorted(train)), tuple(sorted(test))),)
    k = held_out.folds
    _check_folds(n, k)
    drawn = [ordered[row] for row in generator(seed, "folds").permutation(n)]
    parts = _parts(drawn, k, crystals)
    return tuple(
        Fold(number, tuple(i for i in ordered if i not in part), tuple(sorted(part)))
        for number, part in enumerate(parts, start=1)
    )


def _parts(
    drawn: Sequence[str], k: int, crystals: Mapping[str, str] | None
) -> tuple[frozenset[str], ...]:
    """Deal crystals out in the order in which they were drawn, each to the smallest part."""
    rows: dict[str, list[str]] = {}
    for name in drawn:
        rows.setdefault(name if crystals is None else crystals[name], []).append(name)
    parts: list[list[str]] = [[] for _ in range(k)]
    for of_crystal in rows.values():
        min(parts, key=len).extend(of_crystal)
    n_test, n_train = min(map(len, parts)), len(drawn) - max(map(len, parts))
    if n_test < FEWEST_TEST or n_train < FEWEST_TRAIN:
        raise InputError(
            f"{k} folds of {len(rows)} crystals, whose rows stay together, would hold out {n_test} rows at least and leave"
            f" {n_train} to learn from, and {FEWEST_TEST} and {FEWEST_TRAIN} are needed; lower --folds, or give more"
            " crystals"
        )
    return tuple(map(frozenset, parts))


def _check_rows(n: int, n_train: int, n_test: int) -> None:
    if n_train < FEWEST_TRAIN or n_train + n_test > n:
        raise InputError(
            f"{n_test} test rows and {max(n_train, FEWEST_TRAIN)} to learn from are more than the {n}"
            " usable materials; lower --test or --train, or give more materials"
        )


def _check_folds(n: int, k: int) -> None:
    if k > n // FEWEST_TEST:
        raise InputError(
            f"{k} folds of {n} usable materials would hold out fewer than {FEWEST_TEST} each; lower --folds"
        )
    n_train = n - -(-n // k)
    if n_train < FEWEST_TRAIN:
        raise InputError(
            f"{k} folds of {n} usable materials leave {n_train} to learn from, and at least {FEWEST_TRAIN}"
            " are needed; give more materials or more folds"
        )
