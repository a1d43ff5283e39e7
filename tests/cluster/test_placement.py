"""Where every actor of a campaign lands, and which GPUs it sees, on clusters with make-believe GPUs."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import pytest
from support import landing
from support.landing import Landing

pytestmark = pytest.mark.long


def in_a_process_of_its_own(work: Callable[[], dict[str, Landing]]) -> dict[str, Landing]:
    """Other tests may be connected to a Ray of theirs in this one."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work).result()


def check_what_needs_no_gpu_sees_none(seats: Landing) -> None:
    # Ray leaves all GPUs visible to an actor that asked for none.
    assert all((s.gpus, s.visible) == ((), "") for s in seats["labellers"])


def test_on_a_node_with_four_gpus() -> None:
    seen = in_a_process_of_its_own(landing.on_one_node_with_four_gpus)
    default = seen["default"]
    assert sorted(s.gpus for s in default["shards"]) == [("0",), ("1",), ("2",), ("3",)]
    assert all(s.visible == s.gpus[0] for s in default["shards"] + default["gp"])
    # On a GPU with a shard, and the network is trained where the process will be.
    assert default["network"][0].gpus == default["gp"][0].gpus
    # Four shards on eight CPUs.
    assert {s.threads for s in default["shards"]} == {"2"}
    assert default["gp"][0].threads is None
    check_what_needs_no_gpu_sees_none(default)
    two_each = Counter(s.gpus for s in seen["two a GPU"]["shards"])
    assert sorted(two_each.values()) == [2, 2, 2, 2]
    named = seen["named"]
    own = named["gp"][0].gpus
    assert len(own) == 1
    assert own not in [s.gpus for s in named["shards"] + named["labellers"]]
    assert max(Counter(s.gpus for s in named["shards"] + named["labellers"]).values()) == 2
    assert [s.threads for s in named["gp"] + named["shards"]] == ["2", "1", "1", "1"]


def test_on_nodes_with_one_and_with_three_gpus() -> None:
    seen = in_a_process_of_its_own(landing.on_nodes_with_one_and_three_gpus)
    one = seen["one GPU"]
    assert len(one["shards"]) == 1
    assert one["gp"] == one["network"]
    assert (one["gp"][0].node, one["gp"][0].gpus) == (one["shards"][0].node, one["shards"][0].gpus)
    check_what_needs_no_gpu_sees_none(one)
    several = seen["four GPUs"]
    with_three = seen["the node with three"][""][0].node
    places = Counter(s.node for s in several["shards"])
    assert places == {with_three: 3, one["shards"][0].node: 1}
    assert len({(s.node, s.gpus) for s in several["shards"]}) == 4
    # Three shards on the four CPUs of the one node, one on those of the other.
    assert sorted(s.threads or "" for s in several["shards"]) == ["1", "1", "1", "4"]
