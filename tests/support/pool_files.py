"""A small pool on disk, some labelled points, and the loop over all of it that its shards are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy.spatial.distance import cdist

from gpnet_ray.data.pool_folder import PoolFile
from gpnet_ray.gp.bounded_points import BoundedPoints
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.posterior import Posterior
from gpnet_ray.gp.scaling import LatentScaler
from gpnet_ray.latent_columns import latent_column

WIDTH, N_LABELLED, N_FILES, ROWS = 3, 40, 4, 1500
HYPERPARAMETERS = Hyperparameters("laplacian", 1.3, 2.0, 0.05, 0.0)
ENOUGH = 1 << 30


@dataclass(frozen=True)
class Pool:
    files: list[PoolFile]
    ids: list[str]
    latents: np.ndarray
    labelled: list[str]
    X: np.ndarray
    scaler: LatentScaler
    hyperparameters: Hyperparameters = HYPERPARAMETERS

    def posterior(self) -> Posterior:
        return Posterior(self.hyperparameters, self.labelled, self.X, np.zeros(len(self.X)))

    def shards(self, count: int, **options: object) -> list[BoundedPoints]:
        """The pool's files dealt out, first bounds computed."""
        posterior = self.posterior()
        how = {"scaler": self.scaler, "reserve": 400, "memory_budget": ENOUGH, **options}
        shards = [
            BoundedPoints(posterior.snapshot(), self.labelled, self.files[i::count], **how)
            for i in range(count)
        ]
        for shard in shards:
            assert sum(shard.first_bounds()) == len(shard)
        return shards

    def loop(
        self, n: int, *, without: Sequence[str] = (), also: Sequence[str] = ()
    ) -> tuple[list[str], list[float]]:
        """One row of the factor after another for all labelled points and candidates; ids and σ of the picks."""
        h, everything = (
            self.hyperparameters,
            np.concatenate([self.X, self.scaler.transform(self.latents)]),
        )
        names = [f"labelled {n}" for n in range(len(self.X))] + self.ids
        row_of = {name: row for row, name in enumerate(names)}
        todo = [*range(len(self.X)), *(row_of[i] for i in also)]
        is_free = np.ones(len(names), dtype=bool)
        is_free[[*todo, *(row_of[i] for i in {*without, *self.labelled} if i in row_of)]] = False
        rows, variance = np.empty((0, len(names))), np.full(len(names), h.amplitude**2)
        picks: list[str] = []
        sigmas: list[float] = []
        while todo or len(picks) < n:
            if todo:
                best = todo.pop(0)
            else:
                best = int(np.argmax(np.where(is_free, variance, -np.inf)))
                picks.append(names[best])
                sigmas.append(float(np.sqrt(variance[best] + h.noise_std**2)))
                is_free[best] = False
            k = h.amplitude**2 * np.exp(-cdist(everything[[best]], everything)[0] / h.lengths[0])
            row = (k - rows[:, best] @ rows) / np.sqrt(variance[best] + h.noise_std**2)
            rows, variance = np.concatenate([rows, row[np.newaxis]]), variance - row**2
        return picks, sigmas


def small_pool(folder: Path) -> Pool:
    rng = np.random.default_rng(3)
    # Dense in the middle and thin outside, as latents are: few points are far from all others.
    latents = (rng.standard_t(4, size=(N_FILES * ROWS, WIDTH))).astype(np.float32)
    ids = [f"m-{n}" for n in rng.permutation(10 * len(latents))[: len(latents)]]
    files = []
    for number in range(N_FILES):
        mine = slice(number * ROWS, (number + 1) * ROWS)
        files.append(write_file(folder / f"{number}.arrow", ids[mine], latents[mine]))
    # Some of what is labelled lies in the pool.
    X = np.concatenate([latents[:10], rng.standard_t(4, size=(N_LABELLED - 10, WIDTH))])
    labelled = ids[:10] + [f"known-{n}" for n in range(N_LABELLED - 10)]
    scaler = LatentScaler.fit(X, "standard")
    return Pool(files, ids, latents, labelled, scaler.transform(X), scaler)


def write_file(path: Path, ids: Sequence[str], latents: np.ndarray) -> PoolFile:
    batch = pa.record_batch({"material_id": list(ids), "latent": latent_column(latents)})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return PoolFile(path, len(ids), sha256(path.read_bytes()).hexdigest())
