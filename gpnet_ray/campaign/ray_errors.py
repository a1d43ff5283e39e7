"""Ray's own failures as errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import ray.exceptions

from gpnet_ray.errors import ClusterError

__all__ = ["ray_errors_explained"]


@contextmanager
def ray_errors_explained(advice: str) -> Iterator[None]:
    """Turn a dead worker or a lost node into a :class:`ClusterError`, ending with ``advice``.

    An exception that was raised inside an actor comes out as it was raised there.
    """
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        raise ClusterError(
            f"a worker process or node of the Ray cluster was lost: {error}. {advice}"
        ) from error
