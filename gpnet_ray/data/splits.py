"""Which materials train the network, which may be bought, and which only measure the error."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpnet_ray.data.dataset import check_unique_ids, name_some
from gpnet_ray.errors import DataError
from gpnet_ray.seeds import generator

__all__ = ["Split", "load_split", "make_split", "take_whole_crystals"]

_PARTS = ("train", "pool", "test")


@dataclass(frozen=True)
class Split:
    """Three disjoint groups of ids, each sorted.

    Attributes:
        train: ids that start labelled.
        pool: ids whose labels may be bought.
        test: ids that only measure the error.

    Raises:
        DataError: an empty group, an empty id, an id that is named twice.
    """

    train: tuple[str, ...]
    pool: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        for part in _PARTS:
            if not getattr(self, part):
                raise DataError(f"split: the {part} part is empty; make the split again")
        check_unique_ids((*self.train, *self.pool, *self.test), where="split")

    def to_json(self) -> dict[str, list[str]]:
        """The split as JSON types: three lists of ids; :func:`load_split` reads it from a file."""
        return {part: list(getattr(self, part)) for part in _PARTS}

    def without(self, ids: Collection[str]) -> Split:
        """The same split less some materials.

        Raises:
            DataError: a part would be left empty.
        """
        kept = {part: tuple(i for i in getattr(self, part) if i not in ids) for part in _PARTS}
        return Split(**kept)

    def check_belongs_to(self, ids: Sequence[str]) -> None:
        """Check that the split is one of exactly these materials.

        Raises:
            DataError: naming ids that one has and the other lacks.
        """
        own, given = {*self.train, *self.pool, *self.test}, set(ids)
        if own != given:
            raise DataError(
                "the split was made for other materials: "
                f"only in the split: {name_some(sorted(own - given)) or 'none'}; "
                f"only in the dataset: {name_some(sorted(given - own)) or 'none'}"
            )


def take_whole_crystals(
    drawn: Iterable[str], n_rows: int, crystals: Mapping[str, str] | None
) -> tuple[str, ...]:
    """The first rows of a drawn order, with all rows of their crystals and no more than ``n_rows``.

    Args:
        drawn: Ids, in the order in which they were drawn.
        n_rows: The most rows; fewer come where crystals of several rows do not fit exactly.
        crystals: What the crystal of each id is known by; ``None``: each id is one of its own.
    """
    rows: dict[str, list[str]] = {}
    for name in drawn:
        rows.setdefault(name if crystals is None else crystals[name], []).append(name)
    taken: list[str] = []
    for of_crystal in rows.values():
        if len(taken) + len(of_crystal) <= n_rows:
            taken += of_crystal
    return tuple(taken)


def make_split(
    ids: Sequence[str],
    *,
    n_train: int,
    n_test: int,
    seed: int,
    crystals: Mapping[str, str] | None = None,
) -> Split:
    """Draw train and test at random; the rest is the pool.

    The same ids in any order give the same split for the same seed.

    Args:
        ids: All materials.
        n_train: How many start labelled.
        n_test: How many only measure the error.
        seed: Another seed, another split.
        crystals: What the crystal of each id is known by, where one crystal may be several rows under several
            conditions: then all rows of a crystal are test rows or none is, and there may be fewer than ``n_test``.
            Train and pool may share a crystal: what a label under one condition tells of another is to be found
            out there.

    Raises:
        DataError: duplicate ids, fewer materials than train, test and one for the pool need, or no crystal with so
            few rows as there are to be test rows.
    """
    if n_train < 1 or n_test < 1:
        raise DataError(f"n_train and n_test must be at least 1, got {n_train} and {n_test}")
    if n_train + n_test > len(ids) - 1:
        raise DataError(
            f"{n_train} train + {n_test} test + at least 1 pool material are more than the "
            f"{len(ids)} materials that there are; lower --train or --test, or give more materials"
        )
    check_unique_ids(ids, where="split")
    ordered = sorted(ids)
    drawn = [ordered[row] for row in generator(seed, "split").permutation(len(ordered))]
    test = set(take_whole_crystals(drawn[n_train:] + drawn[:n_train], n_test, crystals))
    if not test:
        raise DataError(
            f"every crystal stands in more than {n_test} rows, which are all test rows or none is; raise --test"
        )
    rest = [name for name in drawn if name not in test]
    return Split(
        train=tuple(sorted(rest[:n_train])),
        test=tuple(sorted(test)),
        pool=tuple(sorted(rest[n_train:])),
    )


def load_split(path: Path) -> Split:
    """Read a JSON file of what :meth:`Split.to_json` gives, such as a run's ``split.json``.

    Raises:
        DataError: a file that is missing, is no JSON of three lists of ids, or names an id twice.
    """
    if not path.is_file():
        raise DataError(f"split file {path} does not exist")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"split file {path} is damaged, not JSON ({error}); make it again"
        ) from None
    if not isinstance(content, dict) or set(content) != set(_PARTS):
        raise DataError(f"split file {path} is damaged: it must hold train, pool and test")
    for part in _PARTS:
        names = content[part]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(f"split file {path} is damaged: {part!r} is not a list of ids")
    try:
        return Split(**{part: tuple(content[part]) for part in _PARTS})
    except DataError as error:
        raise DataError(f"split file {path} is damaged: {error}") from None
