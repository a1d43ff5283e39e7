"""The planner over stand-in actors: what it asks for until something is certain."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gpnet_ray.campaign import planning
from gpnet_ray.campaign.planning import Planner
from gpnet_ray.config import SelectionConfig
from gpnet_ray.gp.hyperparameters import Hyperparameters

FITTED = Hyperparameters("rbf", 1.0, (0.5, 2.0), 0.1, 0.0)


def remote(function: Any) -> Any:
    return SimpleNamespace(remote=function)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    monkeypatch.setattr(planning, "ray", SimpleNamespace(get=lambda reference: reference))
    return []


def planner(asked: list[Any], *, enough: int, pool_size: int = 10_000, **selection: Any) -> Planner:
    """Over two shards; a cycle is certain once each has offered ``enough`` candidates."""

    def propose(limit: int) -> int:
        asked.append(limit)
        return limit

    def plan(strategy: str, cycles: int, size: int, cutoff: float, order: Any, *offers: Any) -> Any:
        is_certain = order is not None or min(offers) >= enough
        return ((strategy, cycles, size, cutoff, order),) if is_certain else ()

    shard = SimpleNamespace(propose=remote(propose), propose_ids=remote(lambda ids: ids))
    return Planner(
        "distance",
        SelectionConfig(**selection),
        FITTED,
        gp=SimpleNamespace(plan=remote(plan)),
        shards=[shard, shard],
        pool_size=pool_size,
    )


def test_shards_offer_more_until_a_cycle_is_certain_and_then_keep_offering_that_much(
    asked: list[Any],
) -> None:
    made = planner(asked, enough=2000, distance_cutoff=0.3)
    for _ in range(2):
        assert made.plan(5, 3) == (("distance", 5, 3, 0.3, None),)
    # 1024 over two shards, four times as many, and at once as many the next time.
    assert asked == [512, 512, 2048, 2048, 2048, 2048]


def test_when_the_whole_pool_is_not_enough_it_is_a_defect(asked: list[Any]) -> None:
    with pytest.raises(RuntimeError, match="whole pool of 600"):
        planner(asked, enough=10**9, pool_size=600).plan(1, 1)
    assert asked == [512, 512, 2048, 2048]


def test_an_order_is_asked_for_by_id_and_the_cutoff_follows_the_shortest_length(
    asked: list[Any],
) -> None:
    made = planner(asked, enough=1, distance_cutoff_fraction=0.2)
    # 0.2 of 0.5; the product is exact in floating point.
    assert made.plan(1, 2, order=["b", "a"]) == (("distance", 1, 2, 0.1, ["b", "a"]),)
    assert asked == []
