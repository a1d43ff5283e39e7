"""A shard of a pool of any size: a bound for every point, columns for the few that may be picked next.

The loop of :mod:`gpnet_ray.gp.scored_points` with the same messages; there every point has a column of the factor, and mean
and error are known in every cycle. Here a point has its latent, which is mapped from disk, and an upper bound of its
variance (:mod:`gpnet_ray.gp.first_bounds`). A variance only falls, so that a bound stays one whatever is labelled. When
candidates are asked for, points are computed in full in the order of falling bounds, until no bound outside reaches the
candidates: accelerated greedy selection (Minoux, Optimization Techniques, LNCIS 7, 234 (1978), doi:10.1007/BFb0006528), on
bounds of two kinds. What is offered is exact, however loose the bounds are; loose ones only cost time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from gpnet_ray.data.pool_folder import MappedLatents, PoolFile
from gpnet_ray.errors import InputError
from gpnet_ray.gp.active_points import ActivePoints
from gpnet_ray.gp.bound_files import load_bounds, save_bounds
from gpnet_ray.gp.buffers import GrowingFactor
from gpnet_ray.gp.first_bounds import FirstBounds, rounded_up
from gpnet_ray.gp.kernels import kernel_matrix
from gpnet_ray.gp.linear_algebra import solve_lower
from gpnet_ray.gp.memory_need import MOST_ACTIVE, REFINED_AT_ONCE, MemoryNeed, memory_need
from gpnet_ray.gp.messages import Block, PosteriorSnapshot, Proposal, Touched
from gpnet_ray.gp.pool_file_bounds import FileBounds
from gpnet_ray.gp.scaling import LatentScaler
from gpnet_ray.tensorflow_devices import prepare_gpus
from gpnet_ray.types import FloatArray

__all__ = ["BoundedPoints"]

# Rows of a place: the file's number times this, plus the row in the file.
_FILE_STRIDE = 1 << 32


@dataclass
class _OpenFile:
    file: PoolFile
    latents: MappedLatents
    bounds: FileBounds | None


class BoundedPoints:
    """The candidates of some files of a pool, in a bounded memory.

    Args:
        snapshot: The posterior to start from; the first bounds rest on its points.
        labelled: Ids of the snapshot's points, which are never offered.
        files: The shard's part of the pool.
        scaler: What the posterior's latents were scaled by.
        reserve: Largest number of labels that the posterior will have.
        memory_budget: In bytes, beside what the process has before.
        bounds_dir: Where first bounds are kept, so that nothing is bounded twice; nowhere where ``None``.

    Raises:
        InputError: the budget is too small, or ids do not fit the snapshot.
        DataError: a file of the pool is damaged.
    """

    _active: ActivePoints

    def __init__(
        self,
        snapshot: PosteriorSnapshot,
        labelled: Sequence[str],
        files: Sequence[PoolFile],
        *,
        scaler: LatentScaler,
        reserve: int,
        memory_budget: int,
        bounds_dir: Path | None = None,
    ) -> None:
        prepare_gpus()
        if len(labelled) != len(snapshot.X):
            raise InputError(f"{len(labelled)} ids for a posterior of {len(snapshot.X)} points")
        self._hyperparameters = snapshot.hyperparameters
        self._prior = snapshot.hyperparameters.amplitude**2
        self._reserve, self._memory_budget = max(reserve, len(labelled)), memory_budget
        self._scaler, self._bounds_dir = scaler, bounds_dir
        self._labelled, self._withdrawn = set(labelled), set[str]()
        self._X = snapshot.X
        self._L = GrowingFactor(self._reserve)
        self._L.append(tf.zeros((len(snapshot.X), 0), tf.float64), tf.constant(snapshot.L))
        self._first = FirstBounds(snapshot.hyperparameters, snapshot.X, jitter=snapshot.jitter)
        self._files: list[_OpenFile] = []
        self._n_computed = 0
        self._open(files)

    def __len__(self) -> int:
        return sum(len(open_.latents) for open_ in self._files)

    def add(self, files: Sequence[PoolFile]) -> None:
        """Let the pool grow by files; :meth:`first_bounds` has to be run before the next proposal.

        Raises:
            InputError: the budget is too small for so many.
        """
        self._put_back(np.arange(len(self._active)))
        self._open(files)

    def reserve_more(self, reserve: int) -> None:
        """Have room for more labels; every bound stays, since variances only fall.

        Raises:
            InputError: the budget is too small for so many.
        """
        need = memory_need(len(self), reserve, budget=self._memory_budget)
        self._put_back(np.arange(len(self._active)))
        self.need, self._reserve = need, reserve
        factor = GrowingFactor(reserve)
        factor.append(tf.zeros((len(self._L), 0), tf.float64), self._L.read())
        self._L, self._active = factor, self._no_points(need)

    def first_bounds(self) -> Iterator[int]:
        """Bound every point that has no bound yet, file by file.

        Yields:
            How many points were bounded, or read back, since the last time.

        Raises:
            DataError: a file of bounds is damaged, or one of the pool is not what its manifest says.
        """
        for open_ in self._files:
            if open_.bounds is not None:
                continue
            key = f"{self._first.fingerprint()} {self._scaling} {open_.file.sha256}"
            bounds = load_bounds(self._bounds_dir, key, open_.latents) if self._bounds_dir else None
            if bounds is not None:
                yield len(bounds)
            else:
                # Bounds are kept under what the manifest says of the points.
                open_.latents.check_content()
                bounds = np.empty(len(open_.latents), np.float32)
                for start in range(0, len(bounds), self._first.tile_rows):
                    tile = slice(start, start + self._first.tile_rows)
                    scaled = self._scaler.transform(open_.latents.latents[tile])
                    bounds[tile] = self._first.of(scaled)
                    yield len(scaled)
                if self._bounds_dir:
                    save_bounds(self._bounds_dir, key, open_.latents, bounds)
            open_.bounds = FileBounds(bounds)

    def propose(self, limit: int) -> Proposal:
        """Name the ``limit`` points of largest variance, exactly, and a bound on all others.

        Fewer are named where the memory is too small to keep as many exact, and the proposal says so.

        Raises:
            InputError: a limit below 1.
        """
        if limit < 1:
            raise InputError(f"a proposal of {limit} candidates is none; ask for at least 1")
        self._make_room(limit)
        asked, limit = limit, min(limit, self.need.most_active)
        self._refine(limit)
        rows = self._descending()
        chosen, others = np.sort(rows[:limit]), rows[limit:]
        rest = self._active.variance[others].max() if len(others) else -np.inf
        return Proposal(
            ids=tuple(self._active.ids[row] for row in chosen.tolist()),
            X=self._active.latents[chosen],
            bound_of_rest=float(max(rest, self._largest_bound())),
            V=self._active.columns(chosen),
            is_cut_short=limit < asked,
        )

    def _make_room(self, limit: int) -> None:
        """Have room for as many exact candidates, or for as many as the budget allows."""
        most = self.need.most_active
        if limit <= most or len(self) <= most:
            return
        need = self._memory_need(most_active=min(limit, len(self)))
        if need.most_active > most:
            self._put_back(np.arange(len(self._active)))
            self.need, self._active = need, self._no_points(need)

    def withdraw(self, ids: Sequence[str]) -> None:
        """Never offer these; ids of other shards are passed over."""
        self._withdrawn.update(ids)
        self._drop(ids)

    def absorb(self, block: Block) -> None:
        """Take in newly labelled points; blocks have to arrive in the order of the commits.

        Raises:
            InputError: a block that does not follow the last one, or more labels than there is room for.
        """
        if len(self._L) + len(block) > self._reserve:
            raise InputError(
                f"{len(self._L) + len(block)} labels came to a shard that has room for {self._reserve}; make"
                " more with reserve_more"
            )
        if len(block.V) != len(self._L):
            raise InputError(
                f"a block for {len(block.V)} labelled points came to a shard that knows {len(self._L)}; give it the"
                " blocks in the order of their commits, or reset it"
            )
        self._labelled.update(block.ids)
        self._drop(block.ids)
        self._active.absorb(block)
        self._L.append(tf.constant(block.V.T), tf.constant(block.L))
        self._X = np.concatenate([self._X, block.X])

    def touched(self) -> Touched:
        """How many points were computed in full so far."""
        n_touched = sum(open_.bounds.n_touched for open_ in self._files if open_.bounds)
        return Touched(len(self), n_touched, self._n_computed)

    def _open(self, files: Sequence[PoolFile]) -> None:
        n_points = len(self) + sum(file.rows for file in files)
        self.need = memory_need(n_points, self._reserve, budget=self._memory_budget)
        """What the shard needs; known before anything is computed."""
        self._files += [_OpenFile(file, MappedLatents(file), None) for file in files]
        self._active = self._no_points(self.need)

    def _memory_need(self, *, most_active: int = MOST_ACTIVE) -> MemoryNeed:
        budget = self._memory_budget
        return memory_need(len(self), self._reserve, budget=budget, most_active=most_active)

    def _no_points(self, need: MemoryNeed) -> ActivePoints:
        return ActivePoints(
            self._hyperparameters,
            width=self._X.shape[1],
            most=need.most_active,
            n_labelled=len(self._X),
            reserve=self._reserve,
        )

    @property
    def _scaling(self) -> str:
        return repr(sorted(self._scaler.to_json().items()))

    def _refine(self, limit: int) -> None:
        """Compute points in full until no bound outside is above the ``limit`` largest variances."""
        while True:
            known = np.sort(self._active.variance)
            # As it would be kept as a bound: what was let go for being smaller must not come back for its rounding.
            is_full = len(known) >= limit
            threshold = rounded_up(known[-limit] / self._prior) if is_full else -np.inf
            places = self._next_places(float(threshold))
            if not len(places):
                return
            self._compute(places)

    def _next_places(self, threshold: float) -> npt.NDArray[np.int64]:
        """Points whose bounds, shares of the prior's variance, are above a threshold: the largest of the whole shard, a tile of them."""
        found, bounds = [np.empty(0, np.int64)], [np.empty(0)]
        for number, open_ in enumerate(self._files):
            file = _bounds_of(open_)
            rows = file.above(threshold, REFINED_AT_ONCE)
            found.append(number * _FILE_STRIDE + rows)
            bounds.append(file.of(rows))
        places, bound = np.concatenate(found), np.concatenate(bounds)
        if len(places) > REFINED_AT_ONCE:
            places = places[np.argpartition(-bound, REFINED_AT_ONCE - 1)[:REFINED_AT_ONCE]]
        return np.sort(places)

    def _compute(self, places: npt.NDArray[np.int64]) -> None:
        """Compute points in full and keep them exact from now on, except what must not be picked."""
        ids: list[str] = []
        latents = []
        for number, rows in _by_file(places):
            open_ = self._files[number]
            _bounds_of(open_).take_out(rows)
            ids += open_.latents.ids(rows)
            latents.append(open_.latents.latents[rows])
        free = np.array([i not in self._labelled and i not in self._withdrawn for i in ids])
        places, ids = places[free], [i for i, is_free in zip(ids, free, strict=True) if is_free]
        X = self._scaler.transform(np.concatenate(latents)[free])
        V = solve_lower(self._L.read(), kernel_matrix(self._hyperparameters, self._X, X)).numpy()
        variance = np.maximum(self._prior - np.einsum("nk,nk->k", V, V), 0.0)
        self._n_computed += len(ids)
        # The largest of old and new stay; of the others what is known by now remains as their bound.
        spare = max(0, len(ids) - self._active.room)
        both = np.concatenate([self._active.variance, variance])
        smallest = np.argsort(both, kind="stable")[:spare]
        old, new = smallest[smallest < len(self._active)], smallest[smallest >= len(self._active)]
        stays = np.ones(len(ids), dtype=np.bool_)
        stays[new - len(self._active)] = False
        self._put_back(old)
        self._bound(places[~stays], variance[~stays])
        kept = [material_id for material_id, is_kept in zip(ids, stays, strict=True) if is_kept]
        self._active.add(kept, places[stays], X[stays], V[:, stays], variance[stays])

    def _put_back(self, rows: npt.NDArray[np.int64]) -> None:
        """Keep no more than a bound of some points that were exact."""
        self._bound(self._active.places[rows], self._active.variance[rows])
        self._active.drop(rows)

    def _bound(self, places: npt.NDArray[np.int64], variance: FloatArray) -> None:
        order = np.argsort(places)
        bounds = rounded_up(variance[order] / self._prior)
        for number, rows in _by_file(places[order]):
            mine = places[order] // _FILE_STRIDE == number
            _bounds_of(self._files[number]).put_back(rows, bounds[mine])

    def _descending(self) -> npt.NDArray[np.int64]:
        return np.argsort(-self._active.variance, kind="stable")

    def _drop(self, ids: Sequence[str]) -> None:
        gone = set(ids)
        rows = [row for row, material_id in enumerate(self._active.ids) if material_id in gone]
        self._active.drop(np.array(rows, dtype=np.int64))

    def _largest_bound(self) -> float:
        shares = (_bounds_of(open_).largest for open_ in self._files)
        return max(shares, default=-np.inf) * self._prior


def _bounds_of(open_: _OpenFile) -> FileBounds:
    if open_.bounds is None:
        raise InputError(f"{open_.file.path} has no bounds yet; run first_bounds() to its end")
    return open_.bounds


def _by_file(places: npt.NDArray[np.int64]) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Sorted places as rows of one file after another."""
    files = places // _FILE_STRIDE
    for number in np.unique(files).tolist():
        yield number, places[files == number] % _FILE_STRIDE
