"""Picks for somebody who computes the labels: exact, given everything that is told or still pending.

The variance never reads a label, so what was asked for and not yet told counts as known; asking for 20
at once, or for one 20 times, or telling in between, gives the same picks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import ray

from gpnet_ray.actors.cluster import connected, kill_actors, remote_class
from gpnet_ray.actors.gp_worker import GpWorker
from gpnet_ray.actors.placement import reserved
from gpnet_ray.actors.pool_shard import PoolShard
from gpnet_ray.campaign.planning import Planner
from gpnet_ray.campaign.stages import Latents
from gpnet_ray.config import Config, Strategy
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.scaling import LatentScaler
from gpnet_ray.types import FloatArray

if TYPE_CHECKING:
    from gpnet_ray.gp.messages import PlannedCycle

__all__ = ["PlannedPick", "Representation", "Scores", "Scoring"]


@dataclass(frozen=True)
class PlannedPick:
    """A material to label: σ of an observation and the prediction when it was picked (target's unit)."""

    material_id: str
    sigma: float
    predicted: float


@dataclass(frozen=True)
class Representation:
    """Where every material lies in the latent space, and the Gaussian process there; both stay fixed."""

    latents: Latents
    scaler: LatentScaler
    hyperparameters: Hyperparameters

    def X(self, ids: Sequence[str]) -> FloatArray:  # noqa: N802 - as in the mathematics
        """Scaled latents of some materials (n, d)."""
        return self.scaler.transform(self.latents.latents[self.latents.rows(ids)])


@dataclass(frozen=True)
class Scores:
    """How well the campaign stands, in the target's unit.

    Attributes:
        largest_sigma: σ of the most uncertain candidate, given all that is told or pending; ``None``
            where no candidate is left.
        test_mae: Mean absolute error on the test rows from the labels told so far; ``None`` without
            test rows.
    """

    largest_sigma: float | None
    test_mae: float | None


class Scoring:
    """The actors that score a campaign's pool: the Gaussian process, and the shards.

    They start when they are first needed and end with :meth:`close`.
    """

    def __init__(
        self,
        config: Config,
        representation: Representation,
        candidates: Sequence[str],
        test: Mapping[str, float],
    ) -> None:
        """Prepare for a pool.

        Args:
            config: Strategy, seed, shards and where Ray is.
            representation: Latents of all materials and the Gaussian process.
            candidates: Everything that may be picked now or later.
            test: Labels of the rows that only measure the error.
        """
        self._config, self._representation = config, representation
        self._candidates, self._test = tuple(candidates), dict(test)
        self._stack = ExitStack()
        self._gp: Any = None
        self._shards: list[Any] = []
        self._labelled: dict[str, float] = {}
        self._assumed: list[str] = []
        self._gone: set[str] = set()

    def __enter__(self) -> Scoring:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the actors, and the local Ray that was started for them."""
        self._gp, self._shards = None, []
        self._stack.close()

    def bring_up_to(
        self, labelled: Mapping[str, float], pending: Sequence[str], free: Collection[str]
    ) -> None:
        """Have the actors know these labels, take pending ones as known, and offer only what is free."""
        # What was told since the shards were made is among them and must not be offered again.
        gone = set(self._candidates).difference(free).difference(pending)
        self._start()
        follows = (
            self._labelled == dict(labelled)
            and self._assumed == list(pending[: len(self._assumed)])
            and self._gone <= gone
        )
        if not follows:
            self._begin(labelled, n_more=len(pending))
        new = sorted(gone - self._gone)
        if new:
            # A withdrawal that is lost unseen would be asked for again.
            ray.get([shard.withdraw.remote(new) for shard in self._shards])
        self._gone = gone
        self._assume(pending[len(self._assumed) :])

    def pick(self, n: int, strategy: Strategy, free: Sequence[str]) -> list[PlannedPick]:
        """Pick the next ``n`` of the free candidates and take them as pending from now on."""
        # A batch is what is picked without seeing the rest of it.
        as_one_batch = strategy in ("top-k", "distance")
        picks: list[PlannedPick] = []
        while len(picks) < n:
            left = n - len(picks)
            cycles, size = (1, left) if as_one_batch else (left, 1)
            gone = {pick.material_id for pick in picks}
            planned = self._plan(strategy, cycles, size, [i for i in free if i not in gone])
            ids = [i for cycle in planned for i in cycle.ids]
            sigmas = [s for cycle in planned for s in cycle.sigmas]
            predicted = self._assume(ids).tolist()
            picks += [PlannedPick(*row) for row in zip(ids, sigmas, predicted, strict=True)]
        return picks

    def scores(self, free: Sequence[str]) -> Scores:
        """How well the campaign stands, of what the actors were last brought up to."""
        mae = None
        if self._test:
            mae = float(ray.get(self._gp.test_error_sums.remote()).metrics()["mae"][-1])
        largest = self._plan("max-sigma", 1, 1, free)[0].sigmas[0] if free else None
        return Scores(largest_sigma=largest, test_mae=mae)

    def _start(self) -> None:
        if self._gp is not None and not ray.is_initialized():
            # Somebody has shut Ray down, and the actors with it.
            self.close()
        if self._gp is not None:
            return
        resources = self._config.resources
        self._stack.enter_context(connected(resources))
        most = max(1, len(self._candidates))
        place = self._stack.enter_context(reserved(resources, most_shards=most))
        X, test = self._representation.X, tuple(self._test)
        y = np.array(list(self._test.values()), dtype=np.float64)
        gp = remote_class(GpWorker).options(**place.options("gp")).remote(test, X(test), y)
        dtype, shards = self._config.gp.columns_dtype, []
        for number in range(place.n_shards):
            ids = self._candidates[number :: place.n_shards]
            shard = remote_class(PoolShard).options(**place.options("shard", number))
            shards.append(shard.remote(ids, X(ids), None, dtype))
        self._stack.callback(kill_actors, [gp, *shards])
        place.wait_until_ready([gp, *shards])
        self._gp, self._shards, self._labelled = gp, shards, {}

    def _begin(self, labelled: Mapping[str, float], *, n_more: int) -> None:
        """Build the posterior of the labels anew, with room for some more."""
        ids, y = tuple(labelled), np.array(list(labelled.values()), dtype=np.float64)
        X, hyperparameters = self._representation.X(ids), self._representation.hyperparameters
        snapshot = self._gp.reset.remote(hyperparameters, ids, X, y, reserve=n_more)
        ray.get([shard.reset.remote(snapshot) for shard in self._shards])
        self._labelled, self._assumed, self._gone = dict(labelled), [], set()

    def _assume(self, ids: Sequence[str]) -> FloatArray:
        """Take points as known though their labels are pending; what is predicted for them."""
        if not ids:
            return np.empty(0)
        X = self._representation.X(ids)
        block, predicted = self._gp.assume.options(num_returns=2).remote(tuple(ids), X)
        one_cycle = np.zeros(len(ids), dtype=np.int32)
        ray.get([shard.absorb.remote(block, one_cycle, 1) for shard in self._shards])
        self._assumed += ids
        means: FloatArray = ray.get(predicted)
        return means

    def _plan(
        self, strategy: Strategy, cycles: int, batch_size: int, free: Sequence[str]
    ) -> tuple[PlannedCycle, ...]:
        """Plan at least one cycle."""
        planner = Planner(
            strategy,
            self._config.selection,
            self._representation.hyperparameters,
            gp=self._gp,
            shards=self._shards,
            pool_size=len(self._candidates),
        )
        order = None
        if strategy == "random":
            order = _random_order(self._config.seed, free)[: cycles * batch_size]
        return planner.plan(cycles, batch_size, order=order)


def _random_order(seed: int, ids: Sequence[str]) -> list[str]:
    """A random order in which each id has its place by itself.

    So it does not change for the others when candidates come or go.
    """
    return sorted(ids, key=lambda i: sha256(f"{seed}:{i}".encode()).digest())
