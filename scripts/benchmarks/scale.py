"""Exact picks from pools of up to ten million candidates, and what scoring such a pool once costs with other libraries.

    python scripts/benchmarks/scale.py mp_oxides_latents.parquet --out runs/benchmark-scale

The table of latents has material_id, latent, the target's column, and split (train, pool, test). Pools are drawn like its
latents (``gpnet-ray pool build --latents-like``); the labelled rows are its train rows, hyperparameters are fitted to them. About an hour
on two cores, most of it the other libraries.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from scale_checks import audit, full_computation
from scale_memory import PeakMemory
from scale_peers import PEERS

from gpnet_ray.actors.settings import ResourcesConfig
from gpnet_ray.campaign.pool_build import draw_pool
from gpnet_ray.campaign.pool_session import PoolSession
from gpnet_ray.campaign.surrogate import Surrogate
from gpnet_ray.config import Config, NetworkConfig
from gpnet_ray.data.pool_folder import PoolFolder
from gpnet_ray.gnn.architecture import weight_shapes
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.gp.fit import fit_hyperparameters
from gpnet_ray.gp.recalibration import Recalibration
from gpnet_ray.gp.scaling import LatentScaler
from gpnet_ray.gp.settings import GpConfig

FULL_AT_MOST = 200_000
"""Up to so many candidates all picks are compared with the full computation."""


@dataclass
class Stages:
    """A progress that shows lines and keeps when each step began and ended (s)."""

    spans: dict[str, tuple[float, float]] = field(default_factory=dict)

    @contextmanager
    def task(self, title: str, *, total: float, unit: str) -> Iterator[Stages]:
        """Keep the time of a step."""
        begun = time.perf_counter()
        yield self
        self.spans[title] = (begun, time.perf_counter())

    def advance(self, steps: float = 1, *, note: str = "") -> None:
        """Show nothing of single steps."""

    def line(self, text: str) -> None:
        """Show a line."""
        print(f"  {text}", flush=True)


def main() -> None:
    """Measure every size with every number of shards, then the others; print tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("latents", type=Path)
    parser.add_argument("--target", default="formation_energy_per_atom")
    parser.add_argument("--counts", default="100000,1000000,10000000", help="comma-separated")
    parser.add_argument("--shards", default="1,2,4", help="comma-separated")
    parser.add_argument("--picks", type=int, default=1000)
    parser.add_argument("--memory-mebibytes", type=int, default=1024, help="of every shard")
    parser.add_argument("--peers", default=",".join(PEERS), help="comma-separated, or nothing")
    parser.add_argument("--peer-counts", default="100000,1000000", help="comma-separated")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark-scale"))
    options = parser.parse_args()
    surrogate = fitted_surrogate(options.latents, options.target)
    options.out.mkdir(parents=True, exist_ok=True)
    results: list[dict[str, Any]] = []
    for count in map(int, options.counts.split(",")):
        pool = pool_of(count, options)
        for shards in map(int, options.shards.split(",")):
            results.append(picking(surrogate, pool, shards, options))
            save(results, options.out)
    for name in filter(None, options.peers.split(",")):
        for count in map(int, options.peer_counts.split(",")):
            results.append(scoring(name, surrogate, pool_of(count, options)))
            save(results, options.out)


def fitted_surrogate(latents: Path, target: str) -> Surrogate:
    """The train rows with hyperparameters fitted to them; its network is a stand-in that nobody asks."""
    table = pq.read_table(latents)
    train = np.flatnonzero(np.array(table["split"].to_pylist()) == "train")
    X = np.stack(table["latent"].to_numpy())[train].astype(np.float32)
    y = np.asarray(table[target].to_numpy(), dtype=np.float64)[train]
    scaler = LatentScaler.fit(X, "min-max")
    config = GpConfig(recalibration="none")
    fit = fit_hyperparameters(scaler.transform(X), y, config=config)
    network = NetworkConfig()
    weights = {name: np.zeros(s, np.float32) for name, s in weight_shapes(network).items()}
    state = NetworkState(network, weights, 0.0, 1.0, target, "eV/atom")
    ids = tuple(table["material_id"].to_pylist()[row] for row in train)
    return Surrogate(state, scaler, fit.hyperparameters, ids, X, y, Recalibration())


def pool_of(count: int, options: argparse.Namespace) -> PoolFolder:
    """A pool of that size drawn like the given latents; one that is there, whole or begun, is gone on with."""
    folder = options.out / f"pool-{count}"
    draw_pool(folder, options.latents, count=count, seed=0, resume=True, progress=Stages())
    return PoolFolder.open(folder)


def picking(
    surrogate: Surrogate, pool: PoolFolder, shards: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Time exact picks; check them."""
    resources = ResourcesConfig(
        shards=shards, shard_memory_mebibytes=options.memory_mebibytes, object_store_mebibytes=512
    )
    config, stages = Config(resources=resources), Stages()
    print(f"{pool.n_points:,} candidates, {shards} shards", flush=True)
    with (
        PeakMemory() as memory,
        PoolSession(surrogate, [pool.path], config, progress=stages) as session,
    ):
        begun = time.perf_counter()
        picks = session.pick(options.picks)
        ended = time.perf_counter()
        touched, traffic = session.touched(), session.traffic()
    if touched is None:
        raise RuntimeError("nothing was picked, so nothing was measured")
    bounding, bounded = stages.spans["Bounding the pool"]
    ids = [pick.material_id for pick in picks]
    result = {
        "candidates": pool.n_points,
        "shards": shards,
        "picks": len(picks),
        "start (s)": bounding - begun,
        "first bounds (s)": bounded - bounding,
        "picking (s)": ended - bounded,
        "ms a pick": 1000 * (ended - bounded) / len(picks),
        "rounds": traffic.rounds,
        "kB a pick": traffic.bytes / len(picks) / 1000,
        "share touched": touched.n_touched / touched.n_points,
        "computed in full": touched.n_computed,
        **{f"{kind}, peak (MiB)": peak for kind, peak in memory.peaks().items()},
        "beaten in samples": audit(surrogate, pool, ids, seed=0),
    }
    if pool.n_points <= FULL_AT_MOST:
        result["same picks as in full"] = full_computation(surrogate, pool, len(ids)) == ids
    show(result)
    return result


def scoring(name: str, surrogate: Surrogate, pool: PoolFolder) -> dict[str, Any]:
    """Time how long another library needs for mean and σ of every candidate once."""
    seconds = PEERS[name](surrogate, pool)
    rate = pool.n_points / seconds
    result = {"library": name, "candidates": pool.n_points, "once (s)": seconds, "a second": rate}
    show(result)
    return result


def show(result: dict[str, Any]) -> None:
    """Print what was measured, a line a number."""
    for key, value in result.items():
        text = f"{value:.5g}" if isinstance(value, float) else f"{value}"
        print(f"    {key}: {text}", flush=True)


def save(results: list[dict[str, Any]], out: Path) -> None:
    """Write all results so far."""
    (out / "scale.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
