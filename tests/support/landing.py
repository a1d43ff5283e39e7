"""Where a campaign's actors land on clusters with make-believe GPUs: for a process of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import ray

from gpnet_ray.actors.labeller import Labeller
from gpnet_ray.actors.network_worker import NetworkWorker
from gpnet_ray.actors.placement import reserved
from gpnet_ray.campaign.context import RunContext
from gpnet_ray.campaign.history import FIRST_NETWORK
from gpnet_ray.campaign.networks import Representation
from gpnet_ray.campaign.run_folder import RunFolder
from gpnet_ray.campaign.scorers import Scorers
from gpnet_ray.campaign.stages import Latents
from gpnet_ray.config import Config
from gpnet_ray.data.splits import Split
from gpnet_ray.gp.scaling import LatentScaler
from gpnet_ray.oracles.ionic import IonicOracle
from gpnet_ray.progress import NullProgress

N_POOL = 20


@dataclass(frozen=True)
class Seat:
    """Where an actor is: its node, the GPUs that Ray gave it, those that are visible, TensorFlow's threads."""

    node: str
    gpus: tuple[str, ...]
    visible: str | None
    threads: str | None


def seat_of(_: Any) -> Seat:
    """Run inside an actor."""
    context = ray.get_runtime_context()
    return Seat(
        context.get_node_id(),
        tuple(context.get_accelerator_ids()["GPU"]),
        os.environ.get("CUDA_VISIBLE_DEVICES"),
        os.environ.get("TF_NUM_INTRAOP_THREADS"),
    )


Landing = dict[str, list[Seat]]


def land(**resources: Any) -> Landing:
    """Start the actors of a campaign on the cluster that there is, and see where they are."""
    labellers = resources.setdefault("labellers", 2)
    config = Config.model_validate({"resources": {"start_deadline_seconds": 60, **resources}})
    with reserved(config.resources, labellers=labellers) as placement:
        context = RunContext(
            config, RunFolder(Path()), IonicOracle(), NullProgress(), placement=placement
        )
        network = ray.remote(NetworkWorker).options(**placement.options("featurizer")).remote()
        seats = {"network": seats_of([network])}
        ray.kill(network)
        hire = ray.remote(Labeller).options(**placement.options("labeller"))
        labellers_alive = [hire.remote(context.oracle) for _ in range(labellers)]
        names = tuple(f"m-{n}" for n in range(N_POOL))
        split = Split(names[:2], names[3:], names[2:3])
        vectors = np.random.default_rng(0).random((N_POOL, 2), dtype=np.float32)
        latents = Latents(names, vectors, np.zeros(N_POOL))
        scaler = LatentScaler.fit(vectors, "min-max")
        labels = dict.fromkeys(split.train, 0.0)
        reference = dict.fromkeys((*split.train, *split.test), 0.0)
        unused: Any = SimpleNamespace()
        representation = Representation(
            FIRST_NETWORK, unused, latents, scaler, labels, context.folder
        )
        with Scorers(context, split, reference, unused) as scorers:
            scorers._start_actors(representation)
            seats["gp"] = seats_of([scorers.gp])
            seats["shards"] = seats_of(scorers.shards)
            seats["labellers"] = seats_of(labellers_alive)
        for labeller in labellers_alive:
            ray.kill(labeller)
    return seats


def seats_of(actors: list[Any]) -> list[Seat]:
    seats: list[Seat] = ray.get([actor.__ray_call__.remote(seat_of) for actor in actors])
    return seats


@contextmanager
def environment() -> Iterator[None]:
    """What workers need to import this module."""
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.pop("RAY_ADDRESS", None)
    yield
    ray.shutdown()


def on_one_node_with_four_gpus() -> dict[str, Landing]:
    with environment():
        ray.init(
            address="local",
            num_cpus=8,
            num_gpus=4,
            include_dashboard=False,
            object_store_memory=100 * 2**20,
            log_to_driver=False,
        )
        return {
            "default": land(),
            "two a GPU": land(shards=8, labellers=1),
            "named": land(
                shards=3,
                gp={"gpus": 1, "cpus": 2},
                shard={"gpus": 0.5, "cpus": 1.5},
                labeller={"cpus": 0.5, "gpus": 0.5},
            ),
        }


def on_nodes_with_one_and_three_gpus() -> dict[str, Landing]:
    """First with the one GPU alone; the head has none."""
    from ray.cluster_utils import Cluster

    with environment():
        node = {"num_cpus": 4, "object_store_memory": 100 * 2**20}
        cluster = Cluster(
            initialize_head=True, head_node_args={**node, "num_gpus": 0, "include_dashboard": False}
        )
        try:
            cluster.add_node(**node, num_gpus=1)
            ray.init(address=cluster.address, log_to_driver=False)
            one = land()
            three = cluster.add_node(**node, num_gpus=3)
            cluster.wait_for_nodes()
            several = land()
            # Whose GPUs were asked for go with their node.
            lost = [Seat(three.node_id, (), None, None)]
            return {"one GPU": one, "four GPUs": several, "the node with three": {"": lost}}
        finally:
            ray.shutdown()
            cluster.shutdown()
