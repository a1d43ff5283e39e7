"""A whole pool through the network, in blocks, with Ray Data: every id comes out exactly once.

Blocks of crystals (text) stream through actors that hold the network, and their latents stream to the driver,
which writes them; no stage waits for the whole of the one before it, so that memory does not grow with
the pool.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa
import ray
import ray.exceptions

from gpnet_ray.actors.placement import (
    ROUNDING,
    Ask,
    actor_environment,
    cluster_nodes,
    largest_share,
    wait_for_place,
)
from gpnet_ray.actors.pool_featurizer import PoolFeaturizer
from gpnet_ray.actors.settings import ResourcesConfig
from gpnet_ray.campaign.pool_sources import ROWS_PER_BLOCK, PoolSource
from gpnet_ray.campaign.ray_errors import ray_errors_explained
from gpnet_ray.progress import Progress

if TYPE_CHECKING:
    from gpnet_ray.campaign.surrogate import Surrogate
    from gpnet_ray.gnn.network_state import NetworkState

__all__ = ["featurise"]

TRY_AGAIN = (
    "Run the command again; if it comes back, give each process more memory with fewer actors"
    " (resources.featurizer.cpus)"
)

BLOCK_MEBIBYTES = 8
"""Size of a block (MiB): some of them have to fit into a local Ray's object store."""


def featurise(
    source: PoolSource,
    network: NetworkState,
    *,
    surrogate: Surrogate | None = None,
    n_done: int = 0,
    resources: ResourcesConfig,
    progress: Progress,
) -> Iterator[pa.Table]:
    """Stream a pool's crystals through the network; Ray has to be connected.

    Args:
        source: The crystals.
        network: The network.
        surrogate: The surrogate that the network is part of; without it there is no mean and no σ.
        n_done: How many of the first crystals are left out, fewer than there are.
        resources: How many actors, with how many threads or GPUs.
        progress: Where crystals and crystals a second are shown.

    Yields:
        Tables as :func:`~gpnet_ray.actors.pool_featurizer.featurised_schema` says, in the order of the source;
        what the source itself rejected is not among them.

    Raises:
        ClusterError: a process of the cluster was lost, and again after Ray had started it anew.
    """
    total = source.total - len(source.rejected) - n_done
    n_actors, ask, threads = _actors(resources, total)
    environment = actor_environment(ask, threads)
    with _quiet_ray_data(), ray_errors_explained(TRY_AGAIN):
        featurised = source.open(min(1.0, ask.cpus), n_done).map_batches(
            PoolFeaturizer,
            fn_constructor_args=(network, surrogate),
            batch_format="pyarrow",
            batch_size=ROWS_PER_BLOCK,
            compute=ray.data.ActorPoolStrategy(size=n_actors),
            num_cpus=ask.cpus,
            num_gpus=ask.gpus,
            runtime_env={"env_vars": environment},
        )
        with progress.task("Featurising", total=total, unit="crystals") as task:
            for table in featurised.iter_batches(batch_size=None, batch_format="pyarrow"):
                yield table
                task.advance(table.num_rows)


def _actors(resources: ResourcesConfig, total: int) -> tuple[int, Ask, int]:
    """How many actors there are, what each asks for, and its threads.

    One for every GPU (or share of one), or as many as the CPUs have threads for; no more than blocks.

    Raises:
        ClusterError: there is no place for a single one within the deadline.
    """
    wanted = resources.featurizer
    has_gpus = any(node.gpus >= 1 for node in cluster_nodes())
    gpus = wanted.gpus if wanted.gpus is not None else float(has_gpus)
    cpus = wanted.cpus or 1.0
    wait_for_place("the actors that featurise have", Ask(cpus, gpus), resources)
    nodes = cluster_nodes()
    possible = sum(
        int((node.gpus / gpus if gpus else node.cpus / cpus) + ROUNDING) for node in nodes
    )
    n_actors = max(1, min(possible, -(-total // ROWS_PER_BLOCK)))
    # One more: a share of a CPU is left for what reads or generates the blocks.
    share = largest_share(n_actors + 1, nodes, at_most=cpus)
    return n_actors, Ask(share, gpus), max(1, int(cpus))


@contextmanager
def _quiet_ray_data() -> Iterator[None]:
    """Keep the order of blocks, and Ray Data's own bars and log lines off the terminal, here alone."""
    mine = ray.data.DataContext.get_current().copy()
    mine.execution_options.preserve_order = True
    mine.target_max_block_size = BLOCK_MEBIBYTES * 2**20
    mine.enable_progress_bars = False
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with ray.data.DataContext.current(mine), warnings.catch_warnings():
            # A pool in one part (one row group, the generator) streams its blocks to all actors even so.
            warnings.filterwarnings("ignore", message="The minimum number of concurrent actors")
            yield
    finally:
        logger.setLevel(level)
