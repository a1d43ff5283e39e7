"""The actors behind a session on pools: the Gaussian process, and shards that hold bounds.

The driver says what they are to know (:class:`~gpnet_ray.campaign.pool_state.Known`); what differs from what they know already is told to them, or they
begin again. So an actor that is lost costs time and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import ray

from gpnet_ray.actors.bounded_shard import BoundedShard
from gpnet_ray.actors.cluster import LOST, connected, kill_actors, remote_class
from gpnet_ray.actors.gp_worker import GpWorker
from gpnet_ray.actors.placement import Placement, reserved
from gpnet_ray.campaign.planning import Planner
from gpnet_ray.campaign.pool_state import Known
from gpnet_ray.campaign.surrogate import Surrogate
from gpnet_ray.campaign.telemetry_meter import Meter
from gpnet_ray.config import Config, Strategy
from gpnet_ray.data.pool_folder import PoolFile
from gpnet_ray.progress import Progress
from gpnet_ray.types import FloatArray

if TYPE_CHECKING:
    from gpnet_ray.gp.messages import Block, PlannedCycle, Touched

__all__ = ["PoolScoring", "Traffic"]

T = TypeVar("T")
_MEBIBYTE = 1 << 20
_RESERVE_STEP = 256
"""Room for labels grows by so many at a time: what is kept exact has to be computed again then."""


@dataclass(frozen=True)
class Traffic:
    """What has gone between the driver and the actors that score, and among these: rounds, messages, bytes."""

    rounds: int = 0
    messages: int = 0
    bytes: int = 0


class PoolScoring:
    """Actors that start when they are first needed, and end with :meth:`close`."""

    _gp: Any
    _shards: list[Any]
    _files_of: list[list[PoolFile]]
    _planners: dict[Strategy, Planner]
    # What the actors know.
    _assumed: dict[str, None]
    _labels: dict[str, float]
    _withdrawn: frozenset[str]
    _reserve: int

    def __init__(
        self, config: Config, surrogate: Surrogate, bounds_dir: Path | None, progress: Progress
    ) -> None:
        self._config, self._surrogate, self._progress = config, surrogate, progress
        self._bounds_dir = bounds_dir
        self._X = surrogate.scaler.transform(surrogate.latents)
        self._stack = ExitStack()
        self._place: Placement | None = None
        self._meter = Meter()
        self.traffic = Traffic()
        """Of all picks so far."""
        self._forget()

    def close(self) -> None:
        """End the actors, and the local Ray that was started for them."""
        self._stack.close()
        self._place = None

    def surviving(self, work: Callable[[], T]) -> T:
        """Do it, and again when an actor was lost and a new one has its place, ``resources.actor_restarts`` times.

        Raises:
            ray.exceptions.RayError: one was lost more often.
        """
        restarts_left = self._config.resources.actor_restarts
        while True:
            try:
                return work()
            except LOST as error:  # noqa: PERF203 - what is tried takes seconds to minutes
                if not restarts_left:
                    raise
                restarts_left -= 1
                self._progress.line(
                    f"An actor that scores was lost ({type(error).__name__}); it starts, and all begin again with what is known"
                )
                self._drop_lost()

    def bring_up_to(self, known: Known, *, reserve: int) -> None:
        """Have the actors know this, with room for at least ``reserve`` labels in all."""
        self._start(known.files)
        follows = (
            self._reserve > 0
            and list(self._assumed) == list(known.points)[: len(self._assumed)]
            and self._withdrawn <= known.withdrawn
        )
        room = max(-(-reserve // _RESERVE_STEP) * _RESERVE_STEP, self._reserve)
        if not follows:
            self._begin(room)
        elif room > self._reserve:
            self._say_memory(ray.get([shard.reserve_more.remote(room) for shard in self._shards]))
            self._reserve = room
        self._grow(known.files)
        gone = sorted(known.withdrawn - self._withdrawn)
        if gone:
            ray.get([shard.withdraw.remote(gone) for shard in self._shards])
            self._withdrawn = known.withdrawn
        new = {i: x for i, x in known.points.items() if i not in self._assumed}
        if new:
            block, _ = self._assume(new)
            self._absorb(block, len(new))
            self._assumed |= dict.fromkeys(new)
        if dict(known.labels) != self._labels:
            self._learn(known)

    def plan(self, strategy: Strategy, cycles: int, batch_size: int) -> tuple[PlannedCycle, ...]:
        """Plan at least one cycle and at most ``cycles``, of what the actors were brought up to."""
        if strategy not in self._planners:
            self._planners[strategy] = Planner(
                strategy,
                self._config.selection,
                self._surrogate.hyperparameters,
                gp=self._gp,
                shards=self._shards,
                pool_size=self._n_points(),
                meter=self._meter,
            )
        return self._planners[strategy].plan(cycles, batch_size)

    def take(self, ids: Sequence[str]) -> tuple[FloatArray, FloatArray]:
        """Count planned picks as known from now on; their scaled latents (b, d) and predictions (b,)."""
        block, predicted = self._gp.assume.options(num_returns=2).remote(tuple(ids))
        self._absorb(block, len(ids))
        self._assumed |= dict.fromkeys(ids)
        content: Block = ray.get(block)
        means: FloatArray = ray.get(predicted)
        self._meter.exchanged(1 + len(self._shards), [predicted, *[block] * len(self._shards)])
        spent, sofar = self._meter.take_round(), self.traffic
        messages, n_bytes = (int(spent[name]) for name in ("messages", "bytes"))
        self.traffic = Traffic(sofar.rounds + 1, sofar.messages + messages, sofar.bytes + n_bytes)
        return content.X, means

    def touched(self) -> Touched | None:
        """How many candidates were computed in full since the bounds were first there; ``None`` before."""
        if not self._shards:
            return None
        first, *others = ray.get([shard.touched.remote() for shard in self._shards])
        total: Touched = sum(others, start=first)
        return total

    def _n_points(self) -> int:
        return sum(file.rows for mine in self._files_of for file in mine)

    def _forget(self) -> None:
        """Hold no actors, which know nothing."""
        self._gp, self._shards, self._files_of, self._planners = None, [], [], {}
        self._assumed, self._labels, self._withdrawn, self._reserve = {}, {}, frozenset(), 0

    def _end_actors(self) -> None:
        kill_actors([actor for actor in (self._gp, *self._shards) if actor])
        self._forget()

    def _drop_lost(self) -> None:
        """Leave the places of actors that do not answer to new ones; all begin again."""
        lost = [actor for actor in (self._gp, *self._shards) if actor and not _answers(actor)]
        kill_actors(lost)
        self._gp = None if self._gp in lost else self._gp
        self._shards = [None if shard in lost else shard for shard in self._shards]
        # Planners hold the handles.
        self._planners, self._reserve = {}, 0

    def _start(self, files: Sequence[PoolFile]) -> None:
        """Start the actors that are not there, the files dealt out among the shards."""
        if self._place is not None and not ray.is_initialized():
            # Somebody has shut Ray down, and the actors with it.
            self.close()
        if self._gp is not None and self._shards and None not in self._shards:
            return
        if self._place is None:
            resources = self._config.resources
            self._stack.enter_context(connected(resources))
            self._place = self._stack.enter_context(reserved(resources))
            self._stack.callback(self._end_actors)
        place = self._place
        if not self._shards:
            self._shards = [None] * place.n_shards
            self._files_of = [[] for _ in self._shards]
            self._deal(files)
        if self._gp is None:
            gp = remote_class(GpWorker).options(**place.options("gp"))
            # No rows measure an error here.
            self._gp = gp.remote((), np.empty((0, self._X.shape[1])), np.empty(0))
        self._shards = [
            self._new_shard(place, number) if shard is None else shard
            for number, shard in enumerate(self._shards)
        ]
        place.wait_until_ready([self._gp, *self._shards])

    def _new_shard(self, place: Placement, number: int) -> Any:
        budget = self._config.resources.shard_memory_mebibytes * _MEBIBYTE
        shard = remote_class(BoundedShard).options(**place.options("shard", number))
        files, scaler = self._files_of[number], self._surrogate.scaler
        return shard.remote(files, scaler, budget, self._bounds_dir)

    def _deal(self, files: Sequence[PoolFile]) -> list[list[PoolFile]]:
        """Give every file to the shard with the fewest points; what each has got."""
        dealt: list[list[PoolFile]] = [[] for _ in self._files_of]
        sizes = [sum(file.rows for file in mine) for mine in self._files_of]
        for file in files:
            least = sizes.index(min(sizes))
            dealt[least].append(file)
            self._files_of[least].append(file)
            sizes[least] += file.rows
        return dealt

    def _begin(self, reserve: int) -> None:
        """Score by the surrogate alone, whose first bounds do not change with what is told or asked."""
        surrogate = self._surrogate
        snapshot = self._gp.reset.remote(*self._labelled({}, []), reserve=reserve)
        needs = [shard.reset.remote(snapshot, surrogate.ids, reserve) for shard in self._shards]
        self._say_memory(ray.get(needs))
        self._assumed, self._labels, self._withdrawn = {}, {}, frozenset()
        self._reserve = reserve
        self._bound(self._n_points())

    def _grow(self, files: Sequence[PoolFile]) -> None:
        """Hand files out that no shard has yet, and bound their points."""
        have = {file for mine in self._files_of for file in mine}
        new = [file for file in files if file not in have]
        if not new:
            return
        adding = zip(self._shards, self._deal(new), strict=True)
        self._say_memory(ray.get([shard.add.remote(mine) for shard, mine in adding]))
        # Planners hold the size of the pool.
        self._planners = {}
        self._bound(sum(file.rows for file in new))

    def _bound(self, n_points: int) -> None:
        """Compute the first bounds, all shards at once."""
        task = self._progress.task("Bounding the pool", total=n_points, unit="candidates")
        with task as bar:
            streams = [
                shard.first_bounds.options(num_returns="streaming").remote()
                for shard in self._shards
            ]
            while streams:
                (ready,), _ = ray.wait(streams, num_returns=1)
                done = next(ready, None)
                if done is None:
                    streams = [stream for stream in streams if stream is not ready]
                else:
                    bar.advance(ray.get(done))

    def _say_memory(self, needs: Sequence[str]) -> None:
        n_points = self._n_points()
        listing = "; ".join(dict.fromkeys(needs))
        self._progress.line(
            f"{n_points:,} candidates in {len(needs)} shards, memory of each: {listing}"
        )

    def _labelled(self, points: Mapping[str, FloatArray], y: Iterable[float]) -> tuple[Any, ...]:
        """What a posterior is built of: the surrogate's labels and then some more points, in this order."""
        surrogate = self._surrogate
        ids = (*surrogate.ids, *points)
        X = np.stack([*self._X, *points.values()])
        labels = np.array([*surrogate.labels, *y], dtype=np.float64)
        return surrogate.hyperparameters, ids, X, labels

    def _relearn(self, points: Mapping[str, FloatArray], y: Iterable[float]) -> None:
        """Build the posterior anew; whatever keeps the actor from it is raised."""
        ray.get(self._gp.relearn.remote(*self._labelled(points, y), reserve=self._reserve))

    def _assume(self, points: Mapping[str, FloatArray]) -> tuple[Any, Any]:
        """Have the Gaussian process count points as known, at what it predicts: the block, the predictions."""
        X = np.stack(list(points.values()))
        assumed = self._gp.assume.options(num_returns=2).remote(tuple(points), X)
        return assumed[0], assumed[1]

    def _absorb(self, block: Any, n_points: int) -> None:
        one_cycle = np.zeros(n_points, dtype=np.int32)
        ray.get([shard.absorb.remote(block, one_cycle, 1) for shard in self._shards])

    def _learn(self, known: Known) -> None:
        """Predict from the labels that are told; a variance never reads one, so no shard hears of it."""
        told = {i: x for i, x in known.points.items() if i in known.labels}
        pending = {i: x for i, x in known.points.items() if i not in known.labels}
        y = {i: known.labels[i] for i in told}
        self._relearn(told, y.values())
        if pending:
            _, predicted = self._assume(pending)
            y |= dict(zip(pending, ray.get(predicted).tolist(), strict=True))
        if list(known.points) != list(y):
            # The shards' columns belong to a factor whose rows are in the order in which points came.
            self._relearn(known.points, [y[i] for i in known.points])
        self._labels = dict(known.labels)


def _answers(actor: Any) -> bool:
    try:
        ray.get(actor.ping.remote())
    except LOST:
        return False
    return True
