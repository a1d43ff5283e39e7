"""A surrogate that nobody trained, pools drawn for it, and what a loop over the whole pool in plain NumPy picks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy.linalg import cho_solve, solve_triangular
from scipy.spatial.distance import cdist
from support.ask_tell import small_config, small_network

from gpnet_ray.campaign.latent_writer import LatentWriter, PoolPart
from gpnet_ray.campaign.surrogate import Surrogate
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.recalibration import Recalibration
from gpnet_ray.gp.scaling import LatentScaler
from gpnet_ray.latent_columns import latent_column

WIDTH = 8
"""Latents of layer readout_0 of the small network."""
LABELLED = tuple(f"known-{n:03d}" for n in range(300))


def latents(ids: Sequence[str]) -> np.ndarray:
    """Drawn by the id, around one of five places: some candidates are close to much that is labelled."""
    rows = []
    for material_id in ids:
        rng = np.random.default_rng(list(material_id.encode()))
        centre = np.eye(5, WIDTH)[rng.integers(5)]
        rows.append(centre + 0.4 * rng.normal(size=WIDTH))
    return np.array(rows, dtype=np.float32).reshape(len(ids), WIDTH)


def truth(material_id: str) -> float:
    return float(np.sin(3 * latents([material_id])[0].astype(np.float64)).sum())


def hand_made_surrogate() -> Surrogate:
    X = latents(LABELLED)
    return Surrogate(
        network=small_network(small_config()),
        scaler=LatentScaler.fit(X, "standard"),
        hyperparameters=Hyperparameters("laplacian", 1.4, 2.0, 0.1, 0.3),
        ids=LABELLED,
        latents=X,
        labels=np.array([truth(i) for i in LABELLED]),
        recalibration=Recalibration(),
    )


def write_pool(
    folder: Path,
    ids: Sequence[str],
    surrogate: Surrogate,
    *,
    rows_a_file: int = 500,
    **about: object,
) -> Path:
    network = surrogate.network
    made_by = {"layer": network.config.layer, "network_fingerprint": network.fingerprint()}
    with LatentWriter(folder, {"kind": "featurised", **made_by, **about}) as writer:
        for start in range(0, len(ids), rows_a_file):
            mine = list(ids[start : start + rows_a_file])
            points = pa.table({"material_id": mine, "latent": latent_column(latents(mine))})
            writer.write(PoolPart(points, (), n_done=start + len(mine)))
        writer.finish()
    return folder


@dataclass
class DenseLoop:
    """Everything solved anew for every batch, over all candidates at once."""

    surrogate: Surrogate
    ids: Sequence[str]
    known: list[str] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.all = list(dict.fromkeys([*self.surrogate.ids, *self.ids]))
        self.row = {material_id: row for row, material_id in enumerate(self.all)}
        self.X = self.surrogate.scaler.transform(latents(self.all))
        h = self.surrogate.hyperparameters
        self.K = h.amplitude**2 * np.exp(-cdist(self.X, self.X) / h.lengths[0])

    def _rows(self, ids: Iterable[str]) -> list[int]:
        return [self.row[i] for i in ids]

    def _factor(self, rows: Sequence[int]) -> np.ndarray:
        noise = self.surrogate.hyperparameters.noise_std**2 * np.eye(len(rows))
        return np.linalg.cholesky(self.K[np.ix_(rows, rows)] + noise)

    def variances(self) -> dict[str, float]:
        """Of all candidates that can be picked."""
        taken = {*self.known, *self.gone, *self.surrogate.ids}
        free = [i for i in self.ids if i not in taken]
        known = self._rows([*self.surrogate.ids, *self.known])
        cross = self.K[np.ix_(known, self._rows(free))]
        V = solve_triangular(self._factor(known), cross, lower=True)
        prior = self.surrogate.hyperparameters.amplitude**2
        return dict(zip(free, prior - (V**2).sum(0), strict=True))

    def mean(self, material_id: str, labels: Mapping[str, float]) -> float:
        """What the surrogate's labels and these predict."""
        known, h = self._rows([*self.surrogate.ids, *labels]), self.surrogate.hyperparameters
        y = np.array([*self.surrogate.labels, *labels.values()]) - h.mean
        weights = cho_solve((self._factor(known), True), y)
        return h.mean + float(self.K[self.row[material_id], known] @ weights)

    def pick(self, n: int, *, size: int = 1, apart: float = 0.0) -> tuple[list[str], list[float]]:
        """``n`` picks in batches of ``size``, of which no two are closer than ``apart``; ids and σ."""
        picked: list[str] = []
        sigmas: list[float] = []
        while len(picked) < n:
            variance = self.variances()
            descending = sorted(variance, key=lambda i: -variance[i])
            batch = self._spread_out(descending, min(size, n - len(picked)), apart)
            self.known += batch
            picked += batch
            noise = self.surrogate.hyperparameters.noise_std
            sigmas += [float(np.sqrt(variance[i] + noise**2)) for i in batch]
        return picked, sigmas

    def _spread_out(self, ids: Sequence[str], size: int, apart: float) -> list[str]:
        batch: list[str] = []
        for i in ids:
            X = self.X[self._rows([i, *batch])]
            if all(np.linalg.norm(X[1:] - X[0], axis=1) >= apart):
                batch.append(i)
            if len(batch) == size:
                return batch
        raise AssertionError("the pool has to hold such a batch")
