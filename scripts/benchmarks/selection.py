"""Time the growing GP and its selection against a GP built anew in every cycle, in one run.

    python scripts/benchmarks/selection.py mp_oxides_latents.parquet --out runs/benchmark-selection

The table of latents has material_id, latent, the target's column, and split (train, pool, test).
Parts (``--parts``): equality, reference, ray, long, fit, growth, float32. The loop is always the
same code on the actors' classes; ``call`` decides whether a method runs here or in an actor.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import tensorflow as tf
import tensorflow_probability as tfp
from scipy.spatial.distance import cdist

from gpnet_ray.actors.gp_worker import GpWorker
from gpnet_ray.actors.pool_shard import PoolShard
from gpnet_ray.config import GpConfig
from gpnet_ray.gp.fit import SearchOptions, fit_hyperparameters
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.messages import PosteriorSnapshot
from gpnet_ray.gp.posterior import Posterior
from gpnet_ray.gp.scaling import LatentScaler
from gpnet_ray.gp.scored_points import ScoredPoints
from gpnet_ray.gp.selection import plan_cycles
from gpnet_ray.types import FloatArray

PARTS = ("equality", "reference", "ray", "long", "fit", "growth", "float32")
CANDIDATES = 1024
REFERENCE_SIZES = (1800, 2550, 3300)

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Materials:
    """Ids, scaled latents (n, d), targets (n,), and which rows are train, pool and test."""

    ids: list[str]
    X: FloatArray
    y: FloatArray
    train: Rows
    pool: Rows
    test: Rows

    def ids_of(self, rows: Rows) -> list[str]:
        """Ids of some rows."""
        return [self.ids[row] for row in rows]


@dataclass(frozen=True)
class Run:
    """What a loop gave: picks in order, the test MAE after every cycle, seconds, rounds of messages."""

    picks: list[str]
    sigmas: list[float]
    test_mae: list[float]
    seconds: float
    rounds: int


def main() -> None:
    """Run the parts that were asked for; print a table, write JSON and a figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("latents", type=Path)
    parser.add_argument("--target", default="formation_energy_per_atom")
    parser.add_argument("--parts", default=",".join(PARTS), help="comma-separated")
    parser.add_argument("--equality-cycles", type=int, default=200)
    parser.add_argument("--cycles", type=int, default=1500)
    parser.add_argument("--long-cycles", type=int, default=6000)
    parser.add_argument("--adam-steps", type=int, default=2000)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark-selection"))
    options = parser.parse_args()
    unknown = set(options.parts.split(",")) - set(PARTS)
    if unknown:
        parser.error(f"unknown parts {sorted(unknown)}; valid: {', '.join(PARTS)}")
    materials = read_materials(options.latents, options.target)
    train = materials.train
    fitted = fit_hyperparameters(materials.X[train], materials.y[train], config=GpConfig())
    options.out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {
        "hyperparameters": fitted.hyperparameters.to_json(),
        "threads": tf.config.threading.get_intra_op_parallelism_threads() or "all",
    }
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "equality": lambda: equality(materials, fitted.hyperparameters, options.equality_cycles),
        "reference": lambda: reference(materials, fitted.hyperparameters, options.cycles),
        "ray": lambda: with_and_without_ray(
            materials, fitted.hyperparameters, options.cycles, options.shards
        ),
        "long": lambda: long_run(materials, fitted.hyperparameters, options.long_cycles),
        "fit": lambda: fit_against_adam(materials, options.adam_steps),
        "growth": lambda: growth(materials, fitted.hyperparameters, options.out),
        "float32": lambda: float32(materials, fitted.hyperparameters, options.cycles),
    }
    for name in options.parts.split(","):
        results[name] = parts[name]()
        for key, value in results[name].items():
            print(f"{name:10} {key:42} {value}", flush=True)
        (options.out / "selection.json").write_text(json.dumps(results, indent=1))
    if {"reference", "ray"} <= results.keys():
        ratio = results["reference"]["seconds_integrated"] / results["ray"]["seconds_ray"]
        results["speed_up_over_reference"] = ratio
        print(
            f"{options.cycles} cycles through Ray are {ratio:.0f} times faster than the reference"
        )
        (options.out / "selection.json").write_text(json.dumps(results, indent=1))


def read_materials(path: Path, target: str) -> Materials:
    """Read the table; latents are scaled by their range on the train rows."""
    table = pq.read_table(path)
    latents = np.stack(table["latent"].to_numpy())
    split = np.array(table["split"].to_pylist())
    train, pool, test = (np.flatnonzero(split == name) for name in ("train", "pool", "test"))
    X = LatentScaler.fit(latents[train], "min-max").transform(latents)
    y = np.asarray(table[target].to_numpy(), dtype=np.float64)
    return Materials(table["material_id"].to_pylist(), X, y, train, pool, test)


def here(method: Callable[..., Any], *args: Any, returns: int = 1) -> Any:
    """Call a method in this process; the twin of :func:`in_actor`."""
    return method(*args)


def in_actor(method: Any, *args: Any, returns: int = 1) -> Any:
    """Call an actor's method; references come back."""
    return method.options(num_returns=returns).remote(*args)


def loop(
    materials: Materials,
    hyperparameters: Hyperparameters,
    gp: Any,
    shards: Sequence[Any],
    cycles: int,
    *,
    call: Callable[..., Any] = here,
    get: Callable[[Any], Any] = lambda value: value,
) -> Run:
    """Max-σ with one label a cycle, and the errors on test rows and unlabelled pool in every cycle."""
    row_of = {material_id: row for row, material_id in enumerate(materials.ids)}
    start, train = time.perf_counter(), materials.train
    labelled = (materials.ids_of(train), materials.X[train], materials.y[train])
    snapshot = call(gp.reset, hyperparameters, *labelled, cycles)
    get([call(shard.reset, snapshot) for shard in shards])
    picks: list[str] = []
    sigmas: list[float] = []
    test_mae: list[float] = []
    limit, rounds = CANDIDATES // len(shards), 0
    while len(picks) < cycles:
        proposals = [call(shard.propose, limit) for shard in shards]
        left = cycles - len(picks)
        plan = get(call(gp.plan, "max-sigma", left, 1, None, None, *proposals))
        rounds += 1
        if not plan:
            limit *= 2
            continue
        ids = [material_id for cycle in plan for material_id in cycle.ids]
        y = materials.y[[row_of[material_id] for material_id in ids]]
        cycle_of = np.arange(len(plan), dtype=np.int32)
        block, test_sums, _ = call(gp.commit, ids, y, cycle_of, len(plan), returns=3)
        sums = [call(shard.absorb, block, cycle_of, len(plan)) for shard in shards]
        test_mae += get(test_sums).metrics()["mae"].tolist()
        get(sums)
        picks += ids
        sigmas += [sigma for cycle in plan for sigma in cycle.sigmas]
    return Run(picks, sigmas, test_mae, time.perf_counter() - start, rounds)


def worker_arguments(materials: Materials, shards: int) -> tuple[tuple[Any, ...], list[Any]]:
    """What a GpWorker and each PoolShard are made of."""
    X, y, test = materials.X, materials.y, materials.test
    parts = [materials.pool[i::shards] for i in range(shards)]
    return (materials.ids_of(test), X[test], y[test]), [
        (materials.ids_of(rows), X[rows], y[rows]) for rows in parts
    ]


def loop_here(
    materials: Materials,
    hyperparameters: Hyperparameters,
    cycles: int,
    *,
    shards: int = 1,
    shard_type: type[PoolShard] = PoolShard,
) -> Run:
    """The loop in this process."""
    gp, parts = worker_arguments(materials, shards)
    pool = [shard_type(*part) for part in parts]
    return loop(materials, hyperparameters, GpWorker(*gp), pool, cycles)


class SciPyDistances(tfp.math.psd_kernels.MaternOneHalf):  # type: ignore[misc]  # TFP has no types
    """TFP's Laplacian kernel on SciPy's distances.

    TFP's own, from a matrix product, are wrong by 1e-8 on the diagonal already, which moves means
    by 1e-7: too much for the comparison of numbers, and without influence on the picks.
    """

    def _matrix(self, x1: Any, x2: Any) -> Any:
        return self.amplitude**2 * tf.exp(-cdist(x1, x2) / self.length_scale)


def reference_model(
    hyperparameters: Hyperparameters,
    X: FloatArray,
    y: FloatArray,
    X_new: FloatArray,
    *,
    kernel_type: Any = tfp.math.psd_kernels.MaternOneHalf,
) -> Any:
    """The posterior as the reference implementation builds it in every cycle."""
    return tfp.distributions.GaussianProcessRegressionModel(
        kernel=kernel_type(
            tf.constant(hyperparameters.amplitude, tf.float64),
            tf.constant(hyperparameters.length_scale, tf.float64),
        ),
        index_points=X_new,
        observation_index_points=X,
        observations=y,
        observation_noise_variance=tf.constant(hyperparameters.noise_std**2, tf.float64),
        mean_fn=lambda _: tf.constant(hyperparameters.mean, tf.float64),
        jitter=0.0,
    )


def equality(materials: Materials, hyperparameters: Hyperparameters, cycles: int) -> dict[str, Any]:
    """The picks of the reference loop, and means and σ of all unlabelled and test points with them."""
    expected = loop_here(materials, hyperparameters, cycles, shards=3)
    rows, left = materials.train, materials.pool
    X, y = materials.X, materials.y
    posterior = Posterior(hyperparameters, materials.ids_of(rows), X[rows], y[rows])
    everything = np.concatenate([left, materials.test])
    points = ScoredPoints(posterior.snapshot(), materials.ids_of(everything), X[everything])
    picks: list[str] = []
    worst = {"mean": 0.0, "sigma": 0.0}
    for _ in range(cycles):
        everything = np.concatenate([left, materials.test])
        model = reference_model(
            hyperparameters, X[rows], y[rows], X[everything], kernel_type=SciPyDistances
        )
        theirs = {"mean": model.mean().numpy(), "sigma": model.stddev().numpy()}
        ids, mean, sigma = points.predictions()
        assert list(ids) == materials.ids_of(everything)  # noqa: S101 - an internal check
        for name, ours in (("mean", mean), ("sigma", sigma)):
            worst[name] = max(worst[name], float(np.abs(theirs[name] - ours).max()))
        best = int(np.argmax(theirs["sigma"][: len(left)]))
        pick = left[best]
        picks.append(materials.ids[pick])
        rows, left = np.append(rows, pick), np.delete(left, best)
        points.absorb(posterior.commit([materials.ids[pick]], X[[pick]], y[[pick]]))
    same = [a == b for a, b in zip(picks, expected.picks, strict=True)]
    return {
        "cycles": cycles,
        "same_ids_in_order": all(same),
        "largest_mean_difference": worst["mean"],
        "largest_sigma_difference": worst["sigma"],
    }


def reference(
    materials: Materials, hyperparameters: Hyperparameters, cycles: int
) -> dict[str, Any]:
    """One cycle of the reference at three sizes, integrated over the loop by Simpson's rule."""
    X, y, seconds = materials.X, materials.y, []
    everything = np.concatenate([materials.train, materials.pool])
    points = np.concatenate([materials.pool, materials.test])
    for size in REFERENCE_SIZES:
        start = time.perf_counter()
        model = reference_model(
            hyperparameters, X[everything[:size]], y[everything[:size]], X[points]
        )
        _ = model.mean().numpy(), model.stddev().numpy(), model.variance().numpy()
        seconds.append(time.perf_counter() - start)
    mean = (seconds[0] + 4 * seconds[1] + seconds[2]) / 6
    return {
        **{f"seconds_a_cycle_at_{n}": t for n, t in zip(REFERENCE_SIZES, seconds, strict=True)},
        "seconds_integrated": mean * cycles,
    }


def with_and_without_ray(
    materials: Materials, hyperparameters: Hyperparameters, cycles: int, shards: int
) -> dict[str, Any]:
    """The same cycles through actors and in one process, one after the other."""
    loop_here(materials, hyperparameters, 20, shards=shards)  # traces and fills caches
    alone = loop_here(materials, hyperparameters, cycles, shards=shards)
    with ExitStack() as stack:
        through = loop_in_actors(materials, hyperparameters, cycles, shards, stack)
    return {
        "cycles": cycles,
        "seconds_one_process": alone.seconds,
        "seconds_ray": through.seconds,
        "ray_adds": through.seconds / alone.seconds - 1,
        "same_ids_in_order": alone.picks == through.picks,
        "rounds": through.rounds,
        **{f"test_mae_after_{n}": through.test_mae[n - 1] for n in range(500, cycles + 1, 500)},
    }


def loop_in_actors(
    materials: Materials,
    hyperparameters: Hyperparameters,
    cycles: int,
    shards: int,
    stack: ExitStack,
) -> Run:
    """The loop through Ray actors that have been used once before."""
    import ray

    from gpnet_ray.actors.cluster import start_local_ray

    start_local_ray(object_store_mebibytes=2000)
    stack.callback(ray.shutdown)
    gp_arguments, parts = worker_arguments(materials, shards)
    cpus = ray.cluster_resources()["CPU"]
    share = {"num_cpus": min(1.0, int(100 * cpus / (shards + 1)) / 100)}
    threads = {"TF_NUM_INTRAOP_THREADS": str(max(1, int(cpus) // shards))}
    gp = ray.remote(GpWorker).options(**share).remote(*gp_arguments)
    shard = ray.remote(PoolShard).options(**share, runtime_env={"env_vars": threads})
    handles = [shard.remote(*part) for part in parts]
    how = {"call": in_actor, "get": ray.get}
    loop(materials, hyperparameters, gp, handles, 20, **how)
    return loop(materials, hyperparameters, gp, handles, cycles, **how)


def long_run(materials: Materials, hyperparameters: Hyperparameters, cycles: int) -> dict[str, Any]:
    """Many cycles against the least work there is: one factorisation and one triangular solve."""
    n, m = len(materials.train) + cycles, len(materials.pool) + len(materials.test)
    run = loop_here(materials, hyperparameters, cycles)
    rng = np.random.default_rng(0)
    A = tf.constant(np.eye(n) + 1e-3 * rng.normal(size=(n, n)))
    K = tf.matmul(A, A, transpose_b=True)
    k = tf.constant(rng.normal(size=(n, m)))
    start = time.perf_counter()
    tf.linalg.triangular_solve(tf.linalg.cholesky(K), k)
    floor = time.perf_counter() - start
    return {
        "cycles": cycles,
        "seconds": run.seconds,
        "seconds_floor": floor,
        "times_the_floor": run.seconds / floor,
        "rounds": run.rounds,
        "test_mae_at_the_end": run.test_mae[-1],
    }


def fit_against_adam(materials: Materials, steps: int) -> dict[str, Any]:
    """Quasi-Newton against a given number of steps of Adam, on the train rows."""
    X, y = materials.X[materials.train], materials.y[materials.train]
    quasi_newton = fit_hyperparameters(X, y, config=GpConfig())
    adam = fit_hyperparameters(
        X, y, config=GpConfig(max_evaluations=steps), options=SearchOptions(optimiser="adam")
    )
    best = [min(s.negative_log_likelihood for s in r.trace) for r in (quasi_newton, adam)]
    return {
        "evaluations": len(quasi_newton.trace),
        "seconds": quasi_newton.seconds,
        "negative_log_likelihood": best[0],
        "adam_steps": steps,
        "adam_seconds": adam.seconds,
        "adam_negative_log_likelihood": best[1],
        "adam_over_quasi_newton": adam.seconds / quasi_newton.seconds,
    }


def growth(materials: Materials, hyperparameters: Hyperparameters, out: Path) -> dict[str, Any]:
    """Time a pick and memory of the columns, for growing pools and growing labelled sets."""
    pools = {n: seconds_a_pick(materials, hyperparameters, 1800, n) for n in (10**3, 10**4, 10**5)}
    labels = {n: seconds_a_pick(materials, hyperparameters, n, 10**4) for n in (1800, 4000, 8000)}
    plot_growth(pools, labels, out / "growth.png")
    return {
        **{f"ms_a_pick_pool_{n}": 1e3 * t for n, t in pools.items()},
        **{f"ms_a_pick_labelled_{n}": 1e3 * t for n, t in labels.items()},
        **{f"MiB_of_columns_pool_{n}": 1800 * n * 8 / 2**20 for n in pools},
        **{f"MiB_of_columns_labelled_{n}": n * 10**4 * 8 / 2**20 for n in labels},
    }


def seconds_a_pick(
    materials: Materials, hyperparameters: Hyperparameters, n_labelled: int, n_pool: int
) -> float:
    """Plan, label and take in 256 picks; latents drawn near real ones."""
    rng, picks = np.random.default_rng(0), 256
    n = n_labelled + n_pool
    X = materials.X[rng.integers(len(materials.X), size=n)]
    X = X + 0.02 * rng.normal(size=X.shape)
    ids = [f"m-{i}" for i in range(n)]
    posterior = Posterior(
        hyperparameters,
        ids[:n_labelled],
        X[:n_labelled],
        np.zeros(n_labelled),
        reserve=n_labelled + picks,
    )
    shard = ScoredPoints(posterior.snapshot(), ids[n_labelled:], X[n_labelled:])
    start, done, limit = time.perf_counter(), 0, CANDIDATES
    while done < picks:
        proposals = [shard.propose(limit)]
        plan = plan_cycles(posterior, proposals, strategy="max-sigma", cycles=picks - done)
        if not plan:
            limit *= 2
            continue
        chosen = [cycle.ids[0] for cycle in plan]
        rows = [int(material_id[2:]) for material_id in chosen]
        shard.absorb(posterior.commit(chosen, X[rows], np.zeros(len(rows))))
        done += len(plan)
    seconds = time.perf_counter() - start
    del shard, posterior
    gc.collect()
    return seconds / picks


def plot_growth(pools: dict[int, float], labels: dict[int, float], path: Path) -> None:
    """Draw both series on logarithmic axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.5), layout="constrained")
    for axes, series, name in zip(
        figure.subplots(1, 2),
        (pools, labels),
        ("pool (1,800 labelled)", "labelled (pool of 10,000)"),
        strict=True,
    ):
        axes.loglog(list(series), [1e3 * t for t in series.values()], "o-")
        axes.set(xlabel=name, ylabel="ms a pick")
        axes.grid(visible=True, which="both", alpha=0.3)
    figure.savefig(path, dpi=150)


class Float32Shard(PoolShard):
    """A shard that keeps its columns in float32."""

    def reset(self, snapshot: PosteriorSnapshot) -> Any:
        """Score all points from a posterior."""
        self._points = ScoredPoints(
            snapshot, self._ids, self._X, reference=self._reference, dtype="float32"
        )
        return self._points.error_sums()


def float32(materials: Materials, hyperparameters: Hyperparameters, cycles: int) -> dict[str, Any]:
    """What columns in float32 gain, and where the picks first differ."""
    exact = loop_here(materials, hyperparameters, cycles)
    rough = loop_here(materials, hyperparameters, cycles, shard_type=Float32Shard)
    differing = [i for i, (a, b) in enumerate(zip(exact.picks, rough.picks, strict=True)) if a != b]
    return {
        "seconds_float64": exact.seconds,
        "seconds_float32": rough.seconds,
        "first_different_pick": differing[0] + 1 if differing else None,
        "picks_in_common": len(set(exact.picks) & set(rough.picks)),
        "test_mae_float64": exact.test_mae[-1],
        "test_mae_float32": rough.test_mae[-1],
    }


if __name__ == "__main__":
    main()
