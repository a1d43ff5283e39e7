"""How many processes featurise a pool, and what each asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gpnet_ray.actors.placement import ROUNDING, Ask, Node, largest_share
from gpnet_ray.actors.settings import ActorShare

__all__ = ["PoolCrew", "pool_crew", "smallest_ask"]


@dataclass(frozen=True)
class PoolCrew:
    """The processes through which a pool streams.

    Attributes:
        n_actors: how many actors hold the network.
        actor: what each of them asks for.
        threads: of TensorFlow, in each of them.
        graphs_apart: whether graphs are made by tasks, as many as the CPUs that are left have room for, and not by the
            actors.
        task: what each of these tasks asks for, and the one that reads or generates crystals.
    """

    n_actors: int
    actor: Ask
    threads: int
    graphs_apart: bool
    task: Ask


def smallest_ask(wanted: ActorShare, nodes: Sequence[Node]) -> Ask:
    """What an actor asks for if it is the only one: a GPU where there is one, and a CPU."""
    has_gpus = any(node.gpus >= 1 for node in nodes)
    gpus = wanted.gpus if wanted.gpus is not None else float(has_gpus)
    return Ask(wanted.cpus or 1.0, gpus)


def pool_crew(wanted: ActorShare, nodes: Sequence[Node], n_blocks: int) -> PoolCrew:
    """Deal what there is.

    One actor for every GPU (or share of one), or as many as the CPUs have threads for; no more than blocks. On a CPU
    the forward pass takes several times as long as the graph, so that actors there make their graphs themselves.

    Args:
        wanted: ``resources.featurizer``.
        nodes: What there is.
        n_blocks: How many blocks the pool has.
    """
    alone = smallest_ask(wanted, nodes)
    possible = sum(
        int((node.gpus / alone.gpus if alone.gpus else node.cpus / alone.cpus) + ROUNDING)
        for node in nodes
    )
    n_actors = max(1, min(possible, n_blocks))
    graphs_apart = alone.gpus > 0
    # A share of a CPU is left for what reads or generates the blocks, and another one for graphs: a stage without a
    # place would stop the others, which keep theirs while they wait for it.
    share = largest_share(n_actors + 1 + graphs_apart, nodes, at_most=alone.cpus)
    return PoolCrew(
        n_actors=n_actors,
        actor=Ask(share, alone.gpus),
        threads=max(1, int(alone.cpus)),
        graphs_apart=graphs_apart,
        task=Ask(min(1.0, share), 0.0),
    )
