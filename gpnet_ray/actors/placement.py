"""Where the actors of a run have their place: what each asks for, and its reservation with a deadline.

The Gaussian process and the shards are reserved together, in a placement group, from before the first
label is bought to the end of the run. The actor that trains the network uses the place of the Gaussian process,
since the two never live at the same time. Labellers stand outside: they come and go, and those that have no
place at first join when there is one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import ray
import ray.exceptions
from ray.util import placement_group, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from gpnet_ray.actors.cluster import kill_actors
from gpnet_ray.actors.settings import ResourcesConfig
from gpnet_ray.errors import ClusterError

__all__ = [
    "ROUNDING",
    "Ask",
    "Asked",
    "Node",
    "Placement",
    "Role",
    "actor_environment",
    "asked_of",
    "cluster_nodes",
    "fit",
    "largest_share",
    "no_place",
    "reserved",
    "wait_for_place",
    "wait_until_ready",
]

Role: TypeAlias = Literal["gp", "shard", "featurizer", "labeller"]

SHARDS_WITHOUT_GPU = 2
PAUSE_BETWEEN_PINGS_SECONDS = 0.5
ROUNDING = 1e-6
"""Sums of shares that are this much above what there is are equal to it."""


@dataclass(frozen=True)
class Node:
    """CPUs and GPUs of a living node, free or not."""

    cpus: float
    gpus: float


@dataclass(frozen=True)
class Ask:
    """What one actor asks for."""

    cpus: float
    gpus: float

    def __str__(self) -> str:
        return f"{self.cpus:g} CPU" + (f" and {self.gpus:g} GPU" if self.gpus else "")

    def bundle(self) -> dict[str, float]:
        """The same as a bundle of a placement group."""
        return {"CPU": self.cpus} | ({"GPU": self.gpus} if self.gpus else {})


@dataclass(frozen=True)
class Asked:
    """What the actors of each kind ask for, and how many there are of those of which there are several."""

    gp: Ask
    shard: Ask
    featurizer: Ask
    labeller: Ask
    n_shards: int
    n_labellers: int

    def bundles(self) -> list[dict[str, float]]:
        """The reservation: one place for the Gaussian process or the network, and one a shard."""
        first = Ask(
            max(self.gp.cpus, self.featurizer.cpus), max(self.gp.gpus, self.featurizer.gpus)
        )
        return [first.bundle()] + [self.shard.bundle()] * self.n_shards

    def with_labellers(self) -> list[dict[str, float]]:
        """The reservation and a place for every labeller."""
        return [*self.bundles(), *[self.labeller.bundle()] * self.n_labellers]

    def __str__(self) -> str:
        first, shard = self.bundles()[0], self.shard
        parts = [
            f"{Ask(first['CPU'], first.get('GPU', 0))} for the Gaussian process or the network"
        ]
        if self.n_shards:
            parts.append(f"{shard} for each of {self.n_shards} shards")
        if self.n_labellers:
            parts.append(f"{self.labeller} for each of {self.n_labellers} labellers")
        return ", ".join(parts)


def cluster_nodes() -> list[Node]:
    """The nodes that live."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Node(float(node.get("CPU", 0)), float(node.get("GPU", 0))) for node in alive]


def asked_of(
    resources: ResourcesConfig,
    nodes: Sequence[Node],
    *,
    most_shards: int | None = None,
    labellers: int = 0,
) -> Asked:
    """Say what every actor asks for: what the configuration says, and the rest by what there is.

    Without a GPU all is done on CPUs. One GPU is shared by the Gaussian process and the shards. Of several, each
    has a shard, and the Gaussian process is on one of them with a shard. CPUs that are not named are
    equal shares, at most one each, the largest with which all find a place.

    Args:
        resources: The configuration.
        nodes: What there is.
        most_shards: No more shards than this; 0: none are needed.
        labellers: How many labellers there will be beside them.
    """
    n_shards = resources.shards or sum(int(n.gpus) for n in nodes) or SHARDS_WITHOUT_GPU
    if most_shards is not None:
        n_shards = min(n_shards, most_shards)
    gpus_gp, gpus_shard = _gpu_shares(nodes, n_shards)
    gp = _given(resources.gp.gpus, gpus_gp)
    gpus: dict[Role, float] = {
        "gp": gp,
        "shard": _given(resources.shard.gpus, gpus_shard),
        "featurizer": _given(resources.featurizer.gpus, gp),
        "labeller": _given(resources.labeller.gpus, 0.0),
    }
    cpus: dict[Role, float | None] = {
        "gp": resources.gp.cpus,
        "shard": resources.shard.cpus,
        "featurizer": resources.featurizer.cpus,
        "labeller": resources.labeller.cpus,
    }

    def asked(share: float) -> Asked:
        asks = {role: Ask(_given(cpus[role], share), gpus[role]) for role in gpus}
        return Asked(**asks, n_shards=n_shards, n_labellers=labellers)

    shares = [hundredths / 100 for hundredths in range(100, 0, -1)]
    # GPUs that are not there may come with nodes that start when they are asked for.
    with_them = [Node(node.cpus, float("inf")) for node in nodes]
    fitting = (
        s for there in (nodes, with_them) for s in shares if fit(asked(s).with_labellers(), there)
    )
    return asked(next(fitting, 1.0))


def _given(value: float | None, default: float) -> float:
    return default if value is None else value


def _gpu_shares(nodes: Sequence[Node], n_shards: int) -> tuple[float, float]:
    """Shares of a GPU for the Gaussian process and for each shard."""
    n_gpus = sum(int(node.gpus) for node in nodes)
    if not n_gpus:
        return 0.0, 0.0
    if n_shards < n_gpus:
        return 1.0, 1.0
    # k shards a GPU. Ray places by the sum over a node's GPUs, m of them at most: km + 1 shards must be
    # more than m GPUs, or it may try for ever to lay k + 1 on one of them. That is so for a share of
    # (1 - g) / k with g < 1 / (km + 1), which leaves g to the process. Ray counts in ten-thousandths.
    k, m = -(-n_shards // n_gpus), max(int(node.gpus) for node in nodes)
    gp = 1 / (2 * (k * m + 1))
    return int(1e4 * gp) / 1e4, int(1e4 * (1 - gp) / k) / 1e4


def fit(bundles: Iterable[dict[str, float]], nodes: Sequence[Node]) -> bool:
    """Whether all find a place on empty nodes, those first that need a GPU, then by size."""
    order = sorted(bundles, key=lambda b: (b.get("GPU", 0.0), b["CPU"]), reverse=True)
    # A CPU of a node with GPUs is left to those that need one, as long as there are others.
    left = sorted(([node.cpus, node.gpus] for node in nodes), key=lambda node: node[1])
    for bundle in order:
        cpus, gpus = bundle["CPU"] - ROUNDING, bundle.get("GPU", 0.0) - ROUNDING
        place = next((node for node in left if node[0] >= cpus and node[1] >= gpus), None)
        if place is None:
            return False
        place[0] -= bundle["CPU"]
        place[1] -= bundle.get("GPU", 0.0)
    return True


def largest_share(n_actors: int, nodes: Iterable[Node], *, at_most: float = 1.0) -> float:
    """The largest equal share of CPUs with which so many actors find a place, none of it on two nodes."""
    cpus = [round(100 * node.cpus) for node in nodes]
    fitting = (
        share
        for share in range(round(100 * at_most), 0, -1)
        if sum(node // share for node in cpus) >= n_actors
    )
    return next(fitting, round(100 * at_most)) / 100


def actor_environment(ask: Ask, threads: int | None) -> dict[str, str]:
    """Environment variables of an actor: what TensorFlow may take of the machine it is on.

    ``threads`` limits TensorFlow (Ray's own OMP_NUM_THREADS does not).
    """
    environment = {"TF_CPP_MIN_LOG_LEVEL": "2"}
    if not ask.gpus:
        # Ray leaves a machine's GPUs visible to an actor that asked for none, and TensorFlow takes them.
        environment["CUDA_VISIBLE_DEVICES"] = ""
    if threads is not None:
        environment["TF_NUM_INTRAOP_THREADS"] = str(threads)
        environment["TF_NUM_INTEROP_THREADS"] = "1"
    return environment


class Placement:
    """The places of a run's actors, as long as they are reserved; made by :func:`reserved`."""

    def __init__(self, resources: ResourcesConfig, asked: Asked, group: Any) -> None:
        self.asked = asked
        """What each actor asks for."""
        self._resources, self._group = resources, group

    @property
    def n_shards(self) -> int:
        """How many shards have a place."""
        return self.asked.n_shards

    def options(self, role: Role, number: int = 0) -> dict[str, Any]:
        """Ray options of an actor; ``number`` counts the shards from 0."""
        ask: Ask = getattr(self.asked, role)
        strategy: Any = "SPREAD"
        if role != "labeller":
            bundle = 1 + number if role == "shard" else 0
            strategy = PlacementGroupSchedulingStrategy(
                self._group, placement_group_bundle_index=bundle
            )
        return {
            "num_cpus": ask.cpus,
            "num_gpus": ask.gpus,
            "scheduling_strategy": strategy,
            "runtime_env": {"env_vars": actor_environment(ask, self._threads(role, number))},
        }

    def _threads(self, role: Role, number: int) -> int | None:
        """Threads of TensorFlow: as many as the CPUs that were given, or a shard's part of its node."""
        given: float | None = getattr(self._resources, role).cpus
        if given is not None:
            return max(1, int(given))
        if role != "shard":
            return None
        node_of: dict[int, str] = placement_group_table(self._group)["bundles_to_node_id"]
        mine = node_of[1 + number]
        neighbours = sum(node == mine for bundle, node in node_of.items() if bundle)
        cpus = {node["NodeID"]: node["Resources"].get("CPU", 1) for node in ray.nodes()}
        return max(1, int(cpus[mine]) // neighbours)

    def wait_until_ready(self, actors: Sequence[Any]) -> None:
        """Wait until all of these actors run, or run again; see :func:`wait_until_ready`."""
        wait_until_ready(actors, self._resources, asked=str(self.asked))


@contextmanager
def reserved(
    resources: ResourcesConfig, *, most_shards: int | None = None, labellers: int = 0
) -> Iterator[Placement]:
    """Reserve a place for the Gaussian process (or the network) and the shards until the block ends.

    Args:
        resources: What is asked for, and how long to wait.
        most_shards: No more shards than this; 0: none are needed.
        labellers: How many labellers shall find a place beside them; they are not reserved.

    Raises:
        ClusterError: there is none within the deadline; names what was asked and what there is.
    """
    asked = asked_of(resources, cluster_nodes(), most_shards=most_shards, labellers=labellers)
    # Over as many nodes as there are: each brings its own cores and memory.
    group = placement_group(asked.bundles(), strategy="SPREAD")
    try:
        if not group.wait(resources.start_deadline_seconds):
            raise no_place("the actors of this run have", str(asked), resources)
        yield Placement(resources, asked, group)
    finally:
        _give_back(group)


def wait_for_place(who: str, ask: Ask, resources: ResourcesConfig) -> None:
    """Wait until one actor would have a place, without starting it; nodes may be starting for it.

    Raises:
        ClusterError: there is none within the deadline; begins with ``who`` (``the actors ... have``).
    """
    group = placement_group([ask.bundle()])
    try:
        if not group.wait(resources.start_deadline_seconds):
            raise no_place(who, str(ask), resources)
    finally:
        _give_back(group)


def _give_back(group: Any) -> None:
    """Give a reservation back; where Ray was shut down, it has ended with it.

    What nobody closed is collected in any order, after its Ray too. Asked then, Ray would start again by
    itself: without a token, on all interfaces, and the process might never end.
    """
    if ray.is_initialized():
        remove_placement_group(group)


def wait_until_ready(actors: Sequence[Any], resources: ResourcesConfig, *, asked: str) -> None:
    """Wait until every actor runs, or runs again.

    Raises:
        ClusterError: one does not within the deadline; names what was ``asked`` and what there is.
        ray.exceptions.ActorDiedError: one has died for good.
    """
    deadline = time.monotonic() + resources.start_deadline_seconds
    waiting = list(actors)
    while waiting:
        actor_of = {actor.ping.remote(): actor for actor in waiting}
        left = max(0.0, deadline - time.monotonic())
        ready, pending = ray.wait(list(actor_of), num_returns=len(actor_of), timeout=left)
        waiting = [actor_of[ping] for ping in pending]
        waiting += [actor_of[ping] for ping in ready if not _answers(ping)]
        if waiting and time.monotonic() >= deadline:
            kill_actors(actors)
            raise no_place(f"{len(waiting)} of {len(actors)} actors had", asked, resources)
        time.sleep(PAUSE_BETWEEN_PINGS_SECONDS if waiting else 0)


def _answers(ping: Any) -> bool:
    try:
        ray.get(ping)
    except ray.exceptions.ActorUnavailableError:
        # Its connection is gone, and Ray has not yet noticed that it has to be started again.
        return False
    return True


def no_place(who: str, asked: str, resources: ResourcesConfig) -> ClusterError:
    """The error of actors without a place, with what was asked and what there is."""
    total, free = ray.cluster_resources(), ray.available_resources()
    shown = ", ".join(
        f"{free.get(key, 0):g} of {total.get(key, 0):g} {key}" for key in ("CPU", "GPU")
    )
    nodes = "; ".join(f"{node.cpus:g} CPU, {node.gpus:g} GPU" for node in cluster_nodes())
    return ClusterError(
        f"{who} no place after {resources.start_deadline_seconds:g} s. Asked: {asked}."
        f" Free: {shown} (nodes: {nodes}). Ask for less (resources.shards, resources.labellers, and"
        " cpus and gpus of resources.gp, .shard, .featurizer, .labeller), end other jobs, add nodes,"
        " or give nodes that are starting more time with resources.start_deadline_seconds"
    )
