"""How many processes featurise a pool: no GPU waits for crystals that its own process has to read."""

from __future__ import annotations

import pytest

from gpnet_ray.actors.placement import Ask, Node, fit
from gpnet_ray.actors.pool_crew import PoolCrew, pool_crew
from gpnet_ray.actors.settings import ActorShare

MANY = 2000


def crew(nodes: list[Node], n_blocks: int = MANY, **wanted: float) -> PoolCrew:
    return pool_crew(ActorShare(**wanted), nodes, n_blocks)


def room_for_graphs(made: PoolCrew, nodes: list[Node]) -> int:
    """How many tasks find a place beside the actors and the one that reads."""
    fixed = [*[made.actor.bundle()] * made.n_actors, made.task.bundle()]
    return next(n for n in range(1000) if not fit([*fixed, *[made.task.bundle()] * (n + 1)], nodes))


@pytest.mark.parametrize(
    ("nodes", "n_actors", "n_graph_tasks"),
    [
        ([Node(16, 1)], 1, 14),
        ([Node(128, 8)], 8, 119),
        ([Node(64, 8), Node(64, 0)], 8, 119),
        ([Node(2, 1)], 1, 1),
        ([Node(1, 1)], 1, 1),
        ([Node(8, 8)], 8, 1),
    ],
    ids=lambda value: str(value) if isinstance(value, list) else None,
)
def test_every_gpu_has_an_actor_and_all_other_cpus_make_graphs(nodes, n_actors, n_graph_tasks):
    made = crew(nodes)
    assert made.graphs_apart
    assert (made.n_actors, made.actor.gpus, made.task.gpus) == (n_actors, 1, 0)
    assert room_for_graphs(made, nodes) == n_graph_tasks


def test_without_a_gpu_every_cpu_has_an_actor_that_makes_its_graphs():
    for nodes in ([Node(16, 0)], [Node(16, 1)]):
        made = crew(nodes, gpus=0)
        # 17 on 16 CPUs: one more for what reads.
        assert (made.n_actors, made.actor, made.task) == (16, Ask(0.94, 0), Ask(0.94, 0))
        assert not made.graphs_apart
    assert crew([Node(16, 0)]) == made


def test_what_is_named_is_kept():
    quarters = crew([Node(16, 1)], gpus=0.25)
    assert (quarters.n_actors, quarters.actor, quarters.graphs_apart) == (4, Ask(1, 0.25), True)
    four = crew([Node(16, 1)], cpus=4)
    assert (four.n_actors, four.actor, four.threads, four.task) == (1, Ask(4, 1), 4, Ask(1, 0))
    assert crew([Node(16, 0)], cpus=4).n_actors == 4
    assert crew([Node(128, 8)], n_blocks=3).n_actors == 3
