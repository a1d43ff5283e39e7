"""The actor that holds one part of a pool that is larger than memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gpnet_ray.errors import ActorRestartedError
from gpnet_ray.types import IntArray

if TYPE_CHECKING:
    from gpnet_ray.data.pool_folder import PoolFile
    from gpnet_ray.gp.bounded_points import BoundedPoints
    from gpnet_ray.gp.messages import Block, PosteriorSnapshot, Proposal, Touched
    from gpnet_ray.gp.scaling import LatentScaler

__all__ = ["BoundedShard"]


class BoundedShard:
    """Files of a pool, which have to be readable where the actor runs; speaks as a pool shard does.

    ``memory_budget`` is in bytes; ``bounds_dir`` keeps first bounds. TensorFlow is imported inside the
    methods, since the driver imports this module.
    """

    def __init__(
        self,
        files: Sequence[PoolFile],
        scaler: LatentScaler,
        memory_budget: int,
        bounds_dir: Path | None = None,
    ) -> None:
        self._files, self._scaler = tuple(files), scaler
        self._memory_budget, self._bounds_dir = memory_budget, bounds_dir
        self._since_reset: BoundedPoints | None = None

    def ping(self) -> bool:
        """Answer once the process runs."""
        return True

    @property
    def _points(self) -> BoundedPoints:
        # Ray starts a lost actor again and then sends it what was meant for the lost one.
        if self._since_reset is None:
            raise ActorRestartedError("a shard has no posterior to score by; call reset first")
        return self._since_reset

    def reset(self, snapshot: PosteriorSnapshot, labelled: Sequence[str], reserve: int) -> str:
        """Score by a posterior of at most ``reserve`` labels from now on; says what memory that needs."""
        from gpnet_ray.gp.bounded_points import BoundedPoints

        # What was there before gives its memory back first.
        self._since_reset = None
        self._since_reset = BoundedPoints(
            snapshot,
            labelled,
            self._files,
            scaler=self._scaler,
            reserve=reserve,
            memory_budget=self._memory_budget,
            bounds_dir=self._bounds_dir,
        )
        return str(self._points.need)

    def first_bounds(self) -> Iterator[int]:
        """Bound every point that has none yet; streams how many were done."""
        yield from self._points.first_bounds()

    def add(self, files: Sequence[PoolFile]) -> str:
        """Let the pool grow; :meth:`first_bounds` has to follow. Says what memory is needed now."""
        self._points.add(files)
        self._files += tuple(files)
        return str(self._points.need)

    def reserve_more(self, reserve: int) -> str:
        """Have room for more labels without losing a bound. Says what memory is needed now."""
        self._points.reserve_more(reserve)
        return str(self._points.need)

    def propose(self, limit: int) -> Proposal:
        """Offer the ``limit`` points of largest variance and a bound on the rest."""
        return self._points.propose(limit)

    def absorb(self, block: Block, cycle_of: IntArray, n_cycles: int) -> None:
        """Come up to date with a block of new labels (``cycle_of``, ``n_cycles``: no errors are measured here)."""
        self._points.absorb(block)

    def withdraw(self, ids: Sequence[str]) -> None:
        """Never offer the named points again."""
        self._points.withdraw(ids)

    def touched(self) -> Touched:
        """What the picks have cost so far."""
        return self._points.touched()
