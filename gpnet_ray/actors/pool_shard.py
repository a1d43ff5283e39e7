"""The actor that holds one part of the unlabelled pool and scores it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from gpnet_ray.errors import ActorRestartedError
from gpnet_ray.types import FloatArray, IntArray

if TYPE_CHECKING:
    from gpnet_ray.evaluation.metrics import ErrorSums
    from gpnet_ray.gp.messages import Block, PosteriorSnapshot, Proposal
    from gpnet_ray.gp.scored_points import ScoredPoints

__all__ = ["PoolShard"]


class PoolShard:
    """Latents (m, d) of some of the pool's ids, kept up to date with the posterior.

    ``reference`` (m,) holds the true targets where they are known beforehand (a comparison of
    strategies on labelled data); it measures the error of what is not yet labelled and is never
    read when picks are proposed. ``dtype`` is that of the columns kept (``gp.columns_dtype``). TensorFlow
    is imported inside the methods, since the driver imports this module.
    """

    def __init__(
        self,
        ids: Sequence[str],
        X: FloatArray,
        reference: FloatArray | None,
        dtype: Literal["float64", "float32"] = "float64",
    ) -> None:
        self._ids, self._X, self._reference, self._dtype = tuple(ids), X, reference, dtype
        self._since_reset: ScoredPoints | None = None

    def ping(self) -> bool:
        """Answer once the process runs."""
        return True

    @property
    def _points(self) -> ScoredPoints:
        # Ray starts a lost actor again and then sends it what was meant for the lost one.
        if self._since_reset is None:
            raise ActorRestartedError("a shard has no posterior to score by; call reset first")
        return self._since_reset

    def reset(self, snapshot: PosteriorSnapshot) -> ErrorSums | None:
        """Score all points from a posterior; error sums before the first cycle."""
        from gpnet_ray.gp.scored_points import ScoredPoints

        self._since_reset = ScoredPoints(
            snapshot, self._ids, self._X, reference=self._reference, dtype=self._dtype
        )
        return self._points.error_sums()

    def propose(self, limit: int) -> Proposal:
        """Offer the ``limit`` points of largest variance and a bound on the rest."""
        return self._points.propose(limit)

    def propose_ids(self, ids: Sequence[str]) -> Proposal:
        """Offer those of the named points that lie here, in the order named."""
        return self._points.propose_ids(ids)

    def absorb(self, block: Block, cycle_of: IntArray, n_cycles: int) -> ErrorSums | None:
        """Come up to date with a block of new labels; error sums after each of its cycles."""
        return self._points.absorb(block, cycle_of=cycle_of, n_cycles=n_cycles)

    def withdraw(self, ids: Sequence[str]) -> None:
        """Never offer the named points again (they could not be labelled)."""
        self._points.withdraw(ids)

    def largest_sigma(self) -> float | None:
        """The largest σ of what may still be picked; ``None`` where nothing is left."""
        return self._points.largest_sigma()

    def clipped(self) -> int:
        """How many variances came out negative by rounding and were set to 0."""
        return self._points.clipped
