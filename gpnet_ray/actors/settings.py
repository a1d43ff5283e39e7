"""What the actors ask Ray for: the section ``resources`` of the configuration."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gpnet_ray.config_section import Count, NotNegative, Positive, Section

__all__ = ["ActorShare", "ResourcesConfig"]


class ActorShare(Section):
    """What one actor asks Ray for."""

    cpus: Positive | None = None
    """CPUs, and threads of TensorFlow; ``null``: an equal share of what there is, one at most, and
    TensorFlow as many threads as it likes (a shard its part of its node)."""
    gpus: NotNegative | None = None
    """GPUs, fractions too; ``null``: by what the cluster has, see :func:`gpnet_ray.actors.placement.asked_of`."""


class ResourcesConfig(Section):
    """How the work is laid over the Ray cluster."""

    address: str | None = None
    """Ray address (``auto`` or ``host:port``); ``null``: RAY_ADDRESS if set, else a local Ray."""
    shards: Count | None = None
    """Actors that score the pool; ``null``: one a GPU, or two where there is none."""
    labellers: Count = 2
    gp: ActorShare = ActorShare()
    """The Gaussian process."""
    shard: ActorShare = ActorShare()
    """Each actor that scores a part of the pool."""
    featurizer: ActorShare = ActorShare()
    """The actor that trains the network and featurises, which has the place of the Gaussian process; and each of
    those that featurise a pool, of which there are so many that all GPUs or else all CPUs are in use."""
    labeller: ActorShare = ActorShare()
    """Each actor that asks the oracle."""
    object_store_mebibytes: Annotated[int, Field(ge=80)] = 512
    """Shared memory of a local Ray (MiB); a cluster has its own."""
    shard_memory_mebibytes: Annotated[int, Field(ge=64)] = 2048
    """What each actor that scores a part of a pool on disk may use (MiB), beside the 0.8 GB of its process:
    up to 8,192 candidates are kept exact, and more where a batch or ties need them."""
    actor_restarts: Annotated[int, Field(ge=0)] = 3
    """How often an actor that scores starts again after its process or node was lost; for pools on disk, in each
    call of ``pick``."""
    start_deadline_seconds: Positive = 120.0
    """How long to wait for the actors before giving up with what was asked and what there is."""
