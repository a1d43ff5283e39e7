"""Variances of a set of candidates that fall as one after the other is taken as picked.

Pivoted Cholesky of the posterior covariance, row by row: with p the point taken,
row(q) = cov(p, q) / π and var(q) −= row(q)², where π² = var(p) + noise². No label is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from gpnet_ray.errors import InputError
from gpnet_ray.gp.kernels import kernel_matrix
from gpnet_ray.gp.linear_algebra import smallest_pivot
from gpnet_ray.gp.messages import Proposal
from gpnet_ray.types import BoolArray, FloatArray

if TYPE_CHECKING:
    from gpnet_ray.gp.posterior import Posterior

__all__ = ["CandidateSet"]

# Rounding, which depends on how the pool is cut into shards, is about 1e-13 of the prior variance; real differences are
# not much larger where a smooth kernel fits labels almost without noise.
_TIE_SHARE = 1e-12
# Rows of the covariance computed at once: those of the points that are likely to be taken next.
_PANEL = 64


class CandidateSet:
    """The merged candidates of all shards, given a posterior that stays as it is.

    Args:
        posterior: The posterior of the labels so far.
        proposals: One a shard; an id in two of them, or one that has a label, is an error.
        order: Ids in the order in which they will be taken, where that is known beforehand.

    Attributes:
        ids: The candidates, in the order of the proposals.
        X: Their scaled latents, float64 (k, d).
        variance: Their variances (of f, without noise) given the labels and all points taken, (k,).
        free: Which have not been taken, (k,).
        rank: Their places in the order of ids, (k,): ties go to the smallest.
        tie: Variances that differ by no more are equal but for rounding.
        bound: Largest variance that a point outside the set can have.

    Raises:
        InputError: as said of ``proposals``; an id of ``order`` that nobody proposed.
    """

    def __init__(
        self,
        posterior: Posterior,
        proposals: Sequence[Proposal],
        *,
        order: Sequence[str] | None = None,
    ) -> None:
        self.ids = [i for proposal in proposals for i in proposal.ids]
        self._check_ids(posterior)
        self.X = np.concatenate([np.empty((0, posterior.latent_width)), *(p.X for p in proposals)])
        self.bound = max((p.bound_of_rest for p in proposals), default=-np.inf)
        self._hyperparameters = posterior.hyperparameters
        self._V = _columns(posterior, proposals)
        prior = self._hyperparameters.amplitude**2
        raw = prior - tf.reduce_sum(self._V * self._V, axis=0).numpy()
        self.variance: FloatArray = np.maximum(raw, 0.0)
        self.free: BoolArray = np.ones(len(self.ids), dtype=np.bool_)
        self._position = {material_id: k for k, material_id in enumerate(self.ids)}
        self.rank = np.empty(len(self.ids), dtype=np.int64)
        self.rank[np.argsort(np.array(self.ids, dtype=np.str_), kind="stable")] = np.arange(
            len(self.ids)
        )
        self._order = None if order is None else self._positions_of(order)
        self.tie = _TIE_SHARE * prior
        self._pivot_floor = smallest_pivot(prior)
        self._rows = np.empty((min(_PANEL, len(self.ids)), len(self.ids)))
        self._taken = 0
        # position → (its covariances with all candidates, how many taken points these account for)
        self._panel: dict[int, tuple[FloatArray, int]] = {}

    def sigma(self, position: int) -> float:
        """Standard deviation of an observation, sqrt(variance + noise²), target's unit."""
        return float(np.sqrt(self.variance[position] + self._hyperparameters.noise_std**2))

    def take(self, position: int) -> None:
        """Take a candidate as picked: it is free no longer and all variances fall accordingly."""
        if position not in self._panel:
            self._compute_panel(position)
        covariance, known = self._panel.pop(position)
        j = self._taken
        newer = self._rows[known:j]
        pivot = max(self.variance[position] + self._hyperparameters.noise_std**2, self._pivot_floor)
        row = (covariance - newer[:, position] @ newer) / np.sqrt(pivot)
        if j == len(self._rows):
            room = np.empty((min(2 * j, len(self.ids)), len(self.ids)))
            room[:j] = self._rows
            self._rows = room
        self._rows[j] = row
        self._taken = j + 1
        self.free[position] = False
        np.maximum(self.variance - row**2, 0.0, out=self.variance)

    def next_in_order(self, count: int) -> list[int]:
        """The next ``count`` positions (fewer at the end) of the order given beforehand."""
        order = [] if self._order is None else self._order
        return order[self._taken : self._taken + count]

    def _positions_of(self, ids: Sequence[str]) -> list[int]:
        unknown = [i for i in ids if i not in self._position]
        if unknown:
            raise InputError(
                f"{len(unknown)} ids to take are not among the candidates (first: {unknown[0]!r}); propose_ids() them first"
            )
        return [self._position[i] for i in ids]

    def _compute_panel(self, position: int) -> None:
        """Covariances of the points likely to be taken next, given everything taken so far."""
        if self._order is not None:
            panel = np.array(self.next_in_order(_PANEL))
        else:
            keys = np.where(self.free, self.variance, -np.inf)
            keys[position] = np.inf
            size = min(_PANEL, int(np.count_nonzero(self.free)))
            panel = np.argpartition(-keys, size - 1)[:size]
        K = kernel_matrix(self._hyperparameters, self.X[panel], self.X)
        K -= tf.matmul(tf.gather(self._V, panel, axis=1), self._V, transpose_a=True)
        taken = self._rows[: self._taken]
        if self._taken:
            K -= tf.matmul(tf.constant(taken[:, panel]), tf.constant(taken), transpose_a=True)
        covariance = K.numpy()
        self._panel = {int(p): (covariance[i], self._taken) for i, p in enumerate(panel)}

    def _check_ids(self, posterior: Posterior) -> None:
        if len(set(self.ids)) != len(self.ids):
            twice = next(i for k, i in enumerate(self.ids) if i in set(self.ids[:k]))
            raise InputError(f"{twice!r} is proposed twice; each material belongs to one shard")
        labelled = set(posterior.ids).intersection(self.ids)
        if labelled:
            raise InputError(
                f"{len(labelled)} candidates have a label already (one is {min(labelled)!r}); let the shards absorb every block"
            )


def _columns(posterior: Posterior, proposals: Sequence[Proposal]) -> tf.Tensor:
    """Columns L⁻¹ k(X_labelled, X) of all candidates, (n, k): as sent, or computed here."""
    n = len(posterior)
    parts = [
        posterior.columns(p.X) if p.V is None or len(p.V) != n else tf.constant(p.V, tf.float64)
        for p in proposals
    ]
    return tf.concat([tf.zeros((n, 0), tf.float64), *parts], axis=1)
