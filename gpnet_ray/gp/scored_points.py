"""Points that are predicted and ranked after every label: a shard of the pool, or the test points.

The loop that a driver runs, with any number of shards (all calls may be remote ones):

1. ``snapshot = posterior.snapshot()``; one ``ScoredPoints(snapshot, ids, X, reference=...)`` for
   each shard of the pool and one for the test rows.
2. ``proposals = [shard.propose(limit) for shard in shards]``; for ``random`` the driver shuffles the
   pool's ids once, and ``propose_ids(order)`` with the next of them.
3. ``plan = plan_cycles(posterior, proposals, strategy=..., cycles=left, batch_size=...)``, for
   ``random`` with ``order=order``. When it is empty, double ``limit`` and go to 2: the candidates
   were too few to be certain.
4. Label the picks. ``block = posterior.commit(ids, X, y)`` of all that were labelled, with
   ``cycle_of`` saying for every row of the block in which of the planned cycles it was picked.
   ``withdraw`` those that failed from every shard.
5. ``sums = scored.absorb(block, cycle_of=..., n_cycles=len(plan))`` on every shard and on the test
   rows; ``sum(...).metrics()`` are the metrics after each of these cycles. Go to 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from gpnet_ray.errors import InputError
from gpnet_ray.evaluation.metrics import ErrorSums, error_sums
from gpnet_ray.gp.buffers import GrowingRows
from gpnet_ray.gp.kernels import kernel_matrix
from gpnet_ray.gp.linear_algebra import solve_lower
from gpnet_ray.gp.messages import Block, PosteriorSnapshot, Proposal
from gpnet_ray.gp.scaling import finite_latents
from gpnet_ray.gp.single_precision import check_single_precision
from gpnet_ray.tensorflow_devices import prepare_gpus
from gpnet_ray.types import BoolArray, FloatArray

__all__ = ["ScoredPoints"]

# Columns solved at once when the shard is built.
_COLUMN_TILE = 2048
# Entries (cycles × points) of the metrics' temporaries, which then stay in the cache.
_METRIC_ENTRIES = 1 << 18
# Columns of labelled points are given back when they are that share of all.
_LABELLED_SHARE = 0.2


class ScoredPoints:
    """Mean and variance of fixed points, kept up to date by one matrix product a block of labels.

    Args:
        snapshot: The posterior to start from.
        ids: The points, all different, m of them.
        X: Their scaled latents, shape (m, d).
        reference: Their true values, shape (m,), where they are known: then errors are measured.
        dtype: ``float64``, or ``float32``: half the memory and up to twice the speed for variances
            that are wrong by about 1e-6 of the prior variance, so that picks differ after a while. Means are
            off more, the smaller the noise: by 4e-3 eV/atom at a σ of 0.09 on real oxides.

    Raises:
        InputError: arrays that do not fit the ids or are not finite, an id twice.
        NumericalError: ``float32`` is too coarse for this posterior.
    """

    def __init__(
        self,
        snapshot: PosteriorSnapshot,
        ids: Sequence[str],
        X: npt.ArrayLike,
        *,
        reference: npt.ArrayLike | None = None,
        dtype: str = "float64",
    ) -> None:
        if dtype not in ("float64", "float32"):
            raise InputError(f"columns of dtype {dtype!r} cannot be kept; use float64 or float32")
        prepare_gpus()
        self._dtype = dtype
        self._X = finite_latents(X, width=snapshot.X.shape[1])
        self._ids = np.array(ids, dtype=np.str_)
        self._reference = None if reference is None else np.asarray(reference, dtype=np.float64)
        self._check_shapes()
        self._column_of = {material_id: column for column, material_id in enumerate(ids)}
        if len(self._column_of) != len(ids):
            raise InputError("an id occurs twice among the points of a shard; ids have to differ")
        self._hyperparameters = snapshot.hyperparameters
        self._labelled: BoolArray = np.zeros(len(ids), dtype=np.bool_)
        self._withdrawn: BoolArray = np.zeros(len(ids), dtype=np.bool_)
        self.clipped = 0
        """How many variances came out negative by rounding and were set to 0."""
        self._V, self._mean, variance = self._solve_from(snapshot)
        if dtype == "float32":
            check_single_precision(snapshot, self._X, variance)
        self._variance = self._clip(variance)

    def __len__(self) -> int:
        """How many of the points are not labelled yet."""
        return int(np.count_nonzero(~self._labelled))

    @property
    def n_labelled(self) -> int:
        """How many labels the posterior had when these points were last brought up to date."""
        return self._V.shape[0]

    def propose(self, limit: int, *, with_columns: bool = True) -> Proposal:
        """Name the points of largest variance, at most ``limit`` of them.

        Args:
            limit: Largest number of candidates, at least 1.
            with_columns: Send the columns V along, which spares the planner most of its work.

        Raises:
            InputError: a limit below 1.
        """
        if limit < 1:
            raise InputError(f"a proposal of {limit} candidates is none; ask for at least 1")
        free = self._free()
        if len(free) > limit:
            free = free[np.argpartition(-self._variance[free], limit - 1)[:limit]]
        return self._proposal(np.sort(free), with_columns=with_columns)

    def propose_ids(self, ids: Sequence[str], *, with_columns: bool = True) -> Proposal:
        """Name those of ``ids`` that are here and can still be picked, in the given order."""
        free = set(self._free().tolist())
        columns = [self._column_of[i] for i in ids if self._column_of.get(i) in free]
        return self._proposal(np.array(columns, dtype=np.int64), with_columns=with_columns)

    def largest_sigma(self) -> float | None:
        """Largest standard deviation of an observation of what can still be picked; ``None``: nothing."""
        free = self._free()
        return float(self._sigma(self._variance[free].max())) if len(free) else None

    def withdraw(self, ids: Sequence[str]) -> None:
        """Never propose these again, though they have no label; ids of other shards are passed over."""
        self._withdrawn[[self._column_of[i] for i in ids if i in self._column_of]] = True

    def absorb(
        self, block: Block, *, cycle_of: npt.ArrayLike | None = None, n_cycles: int = 1
    ) -> ErrorSums | None:
        """Take in newly labelled points and measure the errors after each of their cycles.

        Mean and variance after a cycle are cumulative sums over the block's rows, so that measuring
        in every cycle costs no more than the block itself. A point counts as long as it has no
        label: those of this block until their own cycle.

        Args:
            block: From :meth:`Posterior.commit`; blocks have to arrive in the order of the commits.
            cycle_of: For each row of the block its cycle, 0 … ``n_cycles`` − 1, not decreasing,
                shape (b,); ``None``: all in the last one.
            n_cycles: Number of cycles that the block spans; one without a row repeats the metrics.

        Returns:
            Sums over the points here without a label after each cycle; ``None`` without references.

        Raises:
            InputError: a block that does not follow the last one, or cycles that do not fit it.
        """
        cycles = self._checked_cycles(block, cycle_of, n_cycles)
        rows = self._append_rows(block)
        sums = self._sums_in_every_cycle(block, rows, cycles, n_cycles)
        self._mean = self._mean + block.z @ rows
        self._variance = self._clip(self._variance - np.einsum("bm,bm->m", rows, rows))
        self._labelled[[self._column_of[i] for i in block.ids if i in self._column_of]] = True
        self._give_back_labelled()
        return sums

    def predictions(self) -> tuple[tuple[str, ...], FloatArray, FloatArray]:
        """Ids, means and standard deviations of an observation of the points without a label."""
        rest = ~self._labelled
        ids = tuple(self._ids[rest].tolist())
        return ids, self._mean[rest], self._sigma(self._variance[rest])

    def error_sums(self) -> ErrorSums | None:
        """Sums over the points without a label, now (one cycle); ``None`` without references."""
        if self._reference is None:
            return None
        rest = ~self._labelled
        return error_sums(
            self._reference[rest],
            self._mean[np.newaxis, rest],
            self._sigma(self._variance[np.newaxis, rest]),
            centre=self._hyperparameters.mean,
        )

    def _check_shapes(self) -> None:
        if len(self._X) != len(self._ids):
            raise InputError(f"{len(self._ids)} ids with latents of shape {self._X.shape}")
        if self._reference is not None:
            if self._reference.shape != self._ids.shape:
                raise InputError(
                    f"{len(self._ids)} ids with true values of shape {self._reference.shape}"
                )
            if not np.isfinite(self._reference).all():
                raise InputError(
                    "true values hold NaN or infinite entries; give none at all instead"
                )

    def _solve_from(
        self, snapshot: PosteriorSnapshot
    ) -> tuple[GrowingRows, FloatArray, FloatArray]:
        """Columns V = L⁻¹ k(X_labelled, X), means and (unclipped) variances."""
        L = tf.constant(snapshot.L, self._dtype)
        tiles = [tf.zeros((len(snapshot.X), 0), self._dtype)]
        mean = np.full(len(self._ids), self._hyperparameters.mean)
        variance = np.full(len(self._ids), self._hyperparameters.amplitude**2)
        for start in range(0, len(self._ids), _COLUMN_TILE):
            tile = slice(start, start + _COLUMN_TILE)
            covariance = kernel_matrix(self._hyperparameters, snapshot.X, self._X[tile])
            tiles.append(solve_lower(L, tf.cast(covariance, self._dtype)))
            V = tf.cast(tiles[-1], tf.float64)
            mean[tile] += tf.linalg.matvec(V, snapshot.z, transpose_a=True).numpy()
            variance[tile] -= tf.reduce_sum(V * V, axis=0).numpy()
        return GrowingRows(tf.concat(tiles, axis=1)), mean, variance

    def _clip(self, variance: FloatArray) -> FloatArray:
        self.clipped += int(np.count_nonzero(variance < 0))
        return np.maximum(variance, 0.0)

    def _free(self) -> npt.NDArray[np.int64]:
        return np.flatnonzero(~(self._labelled | self._withdrawn))

    def _proposal(self, columns: npt.NDArray[np.int64], *, with_columns: bool) -> Proposal:
        rest = np.setdiff1d(self._free(), columns, assume_unique=True)
        return Proposal(
            ids=tuple(self._ids[columns].tolist()),
            X=self._X[columns],
            bound_of_rest=float(self._variance[rest].max()) if rest.size else -np.inf,
            V=self._V.columns(columns).numpy() if with_columns else None,
        )

    def _checked_cycles(
        self, block: Block, cycle_of: npt.ArrayLike | None, n_cycles: int
    ) -> npt.NDArray[np.int64]:
        if len(block.V) != self.n_labelled:
            raise InputError(
                f"a block for {len(block.V)} labelled points came to a shard that knows {self.n_labelled}; "
                "give it the blocks in the order of their commits, or rebuild it from a snapshot"
            )
        cycles = np.full(len(block), n_cycles - 1) if cycle_of is None else np.asarray(cycle_of)
        fits = cycles.shape == (len(block),) and n_cycles >= 1
        if not fits or (len(cycles) and (cycles[0] < 0 or cycles[-1] >= n_cycles)):
            raise InputError(
                f"cycle_of {cycles.tolist()} does not give each of {len(block)} rows one of {n_cycles} cycles"
            )
        if np.any(np.diff(cycles) < 0):
            raise InputError("cycle_of decreases; commit points in the order of their cycles")
        return cycles.astype(np.int64)

    def _append_rows(self, block: Block) -> FloatArray:
        """Extend V by L_b⁻¹ (k(X_b, P) − V_bᵀ V): float64 (b, m)."""
        covariance = tf.cast(kernel_matrix(self._hyperparameters, block.X, self._X), self._dtype)
        covariance -= self._V.transposed_product(block.V)
        rows = solve_lower(tf.constant(block.L, self._dtype), covariance)
        self._V.append(rows)
        return np.asarray(rows.numpy(), dtype=np.float64)

    def _sums_in_every_cycle(
        self, block: Block, rows: FloatArray, cycles: npt.NDArray[np.int64], n_cycles: int
    ) -> ErrorSums | None:
        if self._reference is None:
            return None
        # A point counts in the cycles before this one.
        counts_until = np.where(self._labelled, 0, n_cycles)
        for material_id, cycle in zip(block.ids, cycles.tolist(), strict=True):
            if material_id in self._column_of:
                counts_until[self._column_of[material_id]] = cycle
        ends = np.searchsorted(cycles, np.arange(n_cycles), side="right")
        step = max(1, _METRIC_ENTRIES // max(1, len(self._ids)))
        parts: list[ErrorSums] = []
        mean, variance, done = self._mean, self._variance, 0
        for first in range(0, n_cycles, step):
            chunk = np.arange(first, min(first + step, n_cycles))
            stop = int(ends[chunk[-1]])
            piece = rows[done:stop]
            means = np.concatenate([mean[np.newaxis], piece * block.z[done:stop, np.newaxis]])
            variances = np.concatenate([variance[np.newaxis], -(piece**2)])
            np.cumsum(means, axis=0, out=means)
            np.cumsum(variances, axis=0, out=variances)
            after = ends[chunk] - done
            parts.append(
                error_sums(
                    self._reference,
                    means[after],
                    self._sigma(np.maximum(variances[after], 0.0)),
                    mask=counts_until > chunk[:, np.newaxis],
                    centre=self._hyperparameters.mean,
                )
            )
            mean, variance, done = means[-1], variances[-1], stop
        return _concatenated(parts)

    def _give_back_labelled(self) -> None:
        """Drop the columns of labelled points once they are many: they only cost time from then on."""
        if np.count_nonzero(self._labelled) <= _LABELLED_SHARE * len(self._ids):
            return
        keep = np.flatnonzero(~self._labelled)
        self._V.keep_columns(keep)
        self._ids, self._X = self._ids[keep], self._X[keep]
        self._mean, self._variance = self._mean[keep], self._variance[keep]
        self._labelled, self._withdrawn = self._labelled[keep], self._withdrawn[keep]
        if self._reference is not None:
            self._reference = self._reference[keep]
        self._column_of = {material_id: i for i, material_id in enumerate(self._ids.tolist())}

    def _sigma(self, variance: FloatArray) -> FloatArray:
        return np.sqrt(variance + self._hyperparameters.noise_std**2)


def _concatenated(parts: Sequence[ErrorSums]) -> ErrorSums:
    names = ("n", "sum_absolute", "sum_squared", "n_within_2sigma", "sum_target")
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in (*names, "sum_target_squared")
    }
    return ErrorSums(**arrays, centre=parts[0].centre)
