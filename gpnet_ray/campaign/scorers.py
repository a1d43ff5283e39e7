"""The actors that score: the Gaussian process with the test rows, and the shards of the pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import ray

from gpnet_ray.actors.cluster import kill_actors, remote_class
from gpnet_ray.actors.gp_worker import GpWorker
from gpnet_ray.actors.pool_shard import PoolShard
from gpnet_ray.campaign.context import RunContext
from gpnet_ray.campaign.journal import Journal
from gpnet_ray.campaign.networks import Representation
from gpnet_ray.campaign.preparation import values_of
from gpnet_ray.campaign.stretch import StartingPoint
from gpnet_ray.campaign.surrogate import gp_content, labelled_table
from gpnet_ray.data.splits import Split
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.types import FloatArray

__all__ = ["Scorers"]


class Scorers:
    """The actors of one representation at a time; they end with the ``with`` block.

    An actor whose process or node was lost starts again by itself, from the arrays that it was made with;
    what it had learned since is brought back by the stretch that runs again.
    """

    def __init__(
        self,
        context: RunContext,
        split: Split,
        reference: Mapping[str, float],
        journal: Journal,
    ) -> None:
        """``reference``: the true values that are known before the loop; perhaps the pool's among them."""
        self._context, self._split, self._reference = context, split, reference
        self._journal = journal
        self._pool_is_known = all(i in reference for i in split.pool)
        # The first representation comes into use again with every strategy; all start from one fit.
        self._known = {
            key: Hyperparameters.from_json(dict(values))
            for key, values in context.history.hyperparameters.items()
        }
        self._in_use: Representation | None = None
        self._start: StartingPoint | None = None
        self.gp: Any = None
        self.shards: list[Any] = []

    def __enter__(self) -> Scorers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """End the actors, so that others have their place."""
        kill_actors([actor for actor in (self.gp, *self.shards) if actor is not None])
        self.gp, self.shards, self._in_use = None, [], None

    def of(self, representation: Representation) -> StartingPoint:
        """Have the actors score by a representation; its labelled rows and hyperparameters (fitted, or read back).

        Raises:
            ClusterError: an actor has no place within the deadline.
        """
        if self._in_use is not representation or self._start is None:
            self.release()
            self._start_actors(representation)
            self._start = self._starting_point(representation)
            self._in_use = representation
        return self._start

    def wait_until_back(self) -> None:
        """Wait until actors that were lost run again.

        Raises:
            ray.exceptions.RayError: one was lost more often than ``resources.actor_restarts`` allows.
            ClusterError: one has no place within the deadline.
        """
        self._context.place.wait_until_ready([self.gp, *self.shards])

    def _start_actors(self, representation: Representation) -> None:
        """Start the GP actor with the test rows, and the shards with what is left of the pool dealt out."""
        latents, scaler = representation.latents, representation.scaler

        def scaled(ids: Sequence[str]) -> Any:
            return scaler.transform(latents.latents[latents.rows(ids)])

        config, test = self._context.config, self._split.test
        pool = tuple(i for i in self._split.pool if i not in representation.labels)
        place, restarts = self._context.place, config.resources.actor_restarts
        n_shards = max(1, min(place.n_shards, len(pool)))
        gp = remote_class(GpWorker).options(**place.options("gp"), max_restarts=restarts)
        self.gp = gp.remote(test, scaled(test), values_of(self._reference, test))
        for number in range(n_shards):
            options = place.options("shard", number)
            shard = remote_class(PoolShard).options(**options, max_restarts=restarts)
            ids = pool[number::n_shards]
            known = values_of(self._reference, ids) if self._pool_is_known else None
            self.shards.append(shard.remote(ids, scaled(ids), known, config.gp.columns_dtype))
        self.wait_until_back()

    def _starting_point(self, representation: Representation) -> StartingPoint:
        latents, ids = representation.latents, tuple(representation.labels)
        X = representation.scaler.transform(latents.latents[latents.rows(ids)])
        y = values_of(representation.labels, ids)
        if representation.key not in self._known:
            self._known[representation.key] = self._fitted(representation, X, y)
        return StartingPoint(
            self._known[representation.key],
            ids,
            X,
            y,
            network=representation.key[1],
            fingerprint=representation.network.fingerprint(),
        )

    def _fitted(
        self, representation: Representation, X: FloatArray, y: FloatArray
    ) -> Hyperparameters:
        """Fit, and leave the outcome in the folder and the journal."""
        context, (strategy, number) = self._context, representation.key
        held_out = representation.network.held_out(tuple(representation.labels))
        with context.timed(f"GP fit {strategy} {number}" if strategy else "GP fit"):
            fit = ray.get(
                self.gp.fit.remote(X, y, held_out, context.config.gp, context.config.seed)
            )
        for warning in fit.warnings:
            context.progress.line(f"Warning: {warning}")
        content = gp_content(fit, representation.scaler)
        context.folder.write_json(representation.files.gp, content)
        ids, latents = tuple(representation.labels), representation.latents
        table = labelled_table(ids, latents.latents[latents.rows(ids)], y)
        unit = representation.network.unit
        context.folder.write_table(representation.files.labelled, table, unit=unit)
        self._journal.append(
            {
                "event": "gp",
                "strategy": strategy,
                "network": number,
                "hyperparameters": fit.hyperparameters.to_json(),
            }
        )
        parameters: Hyperparameters = fit.hyperparameters
        return parameters
