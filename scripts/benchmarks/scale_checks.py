"""Whether picks are those of the largest σ: by the full computation, or by samples recomputed with SciPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.spatial.distance import cdist

from gpnet_ray.campaign.surrogate import Surrogate
from gpnet_ray.data.pool_folder import MappedLatents, PoolFolder
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.scored_points import ScoredPoints
from gpnet_ray.gp.selection import plan_cycles
from gpnet_ray.types import FloatArray

__all__ = ["audit", "full_computation", "laplacian_length"]

SAMPLE = 10_000
EVERY = 100


def audit(surrogate: Surrogate, pool: PoolFolder, picks: Sequence[str], *, seed: int) -> int:
    """How many of 10,000 random candidates, drawn anew for every hundredth pick, have a larger variance than it.

    All in float64 from one factor of labelled points and picks, by SciPy, for the Laplacian kernel with one length alone.

    Raises:
        ValueError: another kernel, or several lengths.
    """
    h, rng = surrogate.hyperparameters, np.random.default_rng(seed)
    length = laplacian_length(h)
    found = latents_of(pool, picks)
    P = surrogate.scaler.transform(np.stack([found[i] for i in picks]))
    X = np.concatenate([surrogate.scaler.transform(surrogate.latents), P])
    n = len(surrogate.ids)
    K = h.amplitude**2 * np.exp(-cdist(X, X) / length)
    L = cholesky(K + h.noise_std**2 * np.eye(len(X)), lower=True)
    beaten, starts = 0, np.cumsum([0, *(file.rows for file in pool.files)])
    for pick in range(0, len(picks), EVERY):
        places = np.sort(rng.choice(pool.n_points, min(SAMPLE, pool.n_points), replace=False))
        latents, ids = [], []
        for file, start in zip(pool.files, starts, strict=False):
            rows = places[(places >= start) & (places < start + file.rows)] - start
            mapped = MappedLatents(file)
            latents.append(mapped.latents[rows])
            ids += mapped.ids(rows)
        candidates = surrogate.scaler.transform(np.concatenate(latents))
        known = n + pick
        both = np.concatenate([X[known : known + 1], candidates])
        cross = h.amplitude**2 * np.exp(-cdist(X[:known], both) / length)
        V = solve_triangular(L[:known, :known], cross, lower=True)
        variance = h.amplitude**2 - np.einsum("nm,nm->m", V, V)
        taken = np.isin(ids, picks[: pick + 1])
        # What is tied goes by id; twice the width of a tie, since this way rounds as well.
        beaten += int(
            np.count_nonzero((variance[1:] > variance[0] + 2e-12 * h.amplitude**2) & ~taken)
        )
    return beaten


def full_computation(surrogate: Surrogate, pool: PoolFolder, n: int) -> list[str]:
    """The picks of a shard that keeps a column of the factor for every candidate."""
    posterior = surrogate.posterior()
    latents = np.concatenate([MappedLatents(file).latents for file in pool.files])
    ids = [i for file in pool.files for i in MappedLatents(file).ids(range(file.rows))]
    points = ScoredPoints(posterior.snapshot(), ids, surrogate.scaler.transform(latents))
    picks: list[str] = []
    while len(picks) < n:
        proposal = points.propose(1024)
        plan = plan_cycles(posterior, [proposal], strategy="max-sigma", cycles=n - len(picks))
        new = [i for cycle in plan for i in cycle.ids]
        X = dict(zip(proposal.ids, proposal.X, strict=True))
        points.absorb(posterior.commit(new, np.stack([X[i] for i in new]), np.zeros(len(new))))
        picks += new
    return picks


def laplacian_length(hyperparameters: Hyperparameters) -> float:
    """The one length of a Laplacian kernel, which is all that these checks and the other libraries compute.

    Raises:
        ValueError: another kernel, or several lengths.
    """
    kernel, lengths = hyperparameters.kernel, hyperparameters.lengths
    if kernel != "laplacian" or len(lengths) != 1:
        raise ValueError(
            f"the kernel is {kernel!r} with {len(lengths)} lengths; compare with a surrogate of kernel"
            " 'laplacian' with one"
        )
    return lengths[0]


def latents_of(pool: PoolFolder, ids: Sequence[str]) -> dict[str, FloatArray]:
    """Latents (d,) by id."""
    found: dict[str, FloatArray] = {}
    for file in pool.files:
        mapped = MappedLatents(file)
        found |= {
            i: mapped.latents[row].astype(np.float64) for i, row in mapped.rows_of(ids).items()
        }
    return found
