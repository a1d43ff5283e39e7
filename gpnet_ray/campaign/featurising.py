"""A whole pool through the network, in blocks, with Ray Data: every id comes out exactly once.

Blocks of crystals (text) stream through actors that hold the network, and their latents stream to the driver,
which writes them. Actors with GPUs are handed graphs, which tasks on CPUs make of the crystals. No stage waits for
the whole of the one before it, so that memory does not grow with the pool.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import ray
import ray.exceptions

from gpnet_ray.actors.placement import actor_environment, cluster_nodes, wait_for_place
from gpnet_ray.actors.pool_crew import PoolCrew, pool_crew, smallest_ask
from gpnet_ray.actors.pool_featurizer import PoolFeaturizer
from gpnet_ray.actors.pool_graphs import graph_columns
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

IN_BLOCKS: dict[str, Any] = {"batch_format": "pyarrow", "batch_size": ROWS_PER_BLOCK}

BLOCK_MEBIBYTES = 8
"""Size of a block (MiB): some of them have to fit into a local Ray's object store."""

BLOCK_OF_GRAPHS_MEBIBYTES = 2
"""The same where tasks make graphs (MiB): Ray Data starts no more of them than its share of the object store has room
for, of 512 MiB eight with blocks of 2 MiB and two with blocks of 8 MiB."""


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
    crew = _crew(resources, total)
    block_mebibytes = BLOCK_OF_GRAPHS_MEBIBYTES if crew.graphs_apart else BLOCK_MEBIBYTES
    with _quiet_ray_data(block_mebibytes), ray_errors_explained(TRY_AGAIN):
        blocks = source.open(crew.task.cpus, n_done)
        if crew.graphs_apart:
            # Ray Data joins steps that ask for the same: with the environment of the reading, all graphs of a
            # file would be made in the one process that reads it.
            blocks = blocks.map_batches(
                graph_columns,
                fn_args=(network.config,),
                num_cpus=crew.task.cpus,
                runtime_env={"env_vars": actor_environment(crew.task, 1)},
                **IN_BLOCKS,
            )
        featurised = blocks.map_batches(
            PoolFeaturizer,
            fn_constructor_args=(network, surrogate, crew.graphs_apart),
            compute=ray.data.ActorPoolStrategy(size=crew.n_actors),
            num_cpus=crew.actor.cpus,
            num_gpus=crew.actor.gpus,
            runtime_env={"env_vars": actor_environment(crew.actor, crew.threads)},
            **IN_BLOCKS,
        )
        with progress.task("Featurising", total=total, unit="crystals") as task:
            for table in featurised.iter_batches(batch_size=None, batch_format="pyarrow"):
                yield table
                task.advance(table.num_rows)


def _crew(resources: ResourcesConfig, total: int) -> PoolCrew:
    """What featurises so many crystals.

    Raises:
        ClusterError: there is no place for a single actor within the deadline.
    """
    alone = smallest_ask(resources.featurizer, cluster_nodes())
    wait_for_place("the actors that featurise have", alone, resources)
    return pool_crew(resources.featurizer, cluster_nodes(), -(-total // ROWS_PER_BLOCK))


@contextmanager
def _quiet_ray_data(block_mebibytes: int) -> Iterator[None]:
    """Keep the order of blocks, and Ray Data's own bars and log lines off the terminal, here alone."""
    mine = ray.data.DataContext.get_current().copy()
    mine.execution_options.preserve_order = True
    mine.target_max_block_size = block_mebibytes * 2**20
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
