"""Time the growing GP and its selection against a GP built anew in every cycle, in one run.

    python scripts/benchmarks/selection.py mp_oxides_latents.parquet --out runs/benchmark-selection

The table of latents has material_id, latent, the target's column, and split (train, pool, test).
Parts (``--parts``): reference, ray, long, float32, growth, fit, equality; about 40 minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from selection_growth import growth
from selection_loops import (
    Materials,
    Run,
    loop_here,
    loop_in_actors,
    read_materials,
    start_actors,
)
from selection_reference import equality, reference

from gpnet_ray.gp.fit import fit_hyperparameters
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.settings import GpConfig

PARTS = ("reference", "ray", "long", "float32", "growth", "fit", "equality")
REPEATS = 3


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
        "reference": lambda: reference(materials, fitted.hyperparameters, options.cycles),
        "ray": lambda: with_and_without_ray(
            materials, fitted.hyperparameters, options.cycles, options.shards
        ),
        "long": lambda: long_run(materials, fitted.hyperparameters, options.long_cycles),
        "float32": lambda: float32(materials, fitted.hyperparameters, options.cycles),
        "growth": lambda: growth(
            options.latents, options.target, fitted.hyperparameters, options.out
        ),
        "fit": lambda: fit_against_adam(materials, options.adam_steps),
        "equality": lambda: equality(materials, fitted.hyperparameters, options.equality_cycles),
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


def with_and_without_ray(
    materials: Materials, hyperparameters: Hyperparameters, cycles: int, shards: int
) -> dict[str, Any]:
    """The same cycles in one process and through actors, by turns; medians."""
    alone: list[Run] = []
    through: list[Run] = []
    with ExitStack() as stack:
        gp, handles = start_actors(materials, shards, stack)
        for n in (20, *[cycles] * REPEATS):  # the first traces and fills caches
            alone.append(loop_here(materials, hyperparameters, n, shards=shards))
            through.append(loop_in_actors(materials, hyperparameters, gp, handles, n))
    seconds = [[run.seconds for run in runs[1:]] for runs in (alone, through)]
    medians = [statistics.median(times) for times in seconds]
    last = through[-1]
    return {
        "cycles": cycles,
        "seconds_one_process": medians[0],
        "seconds_ray": medians[1],
        "ray_adds": medians[1] / medians[0] - 1,
        "seconds_of_each_run": seconds,
        "same_ids_in_order": all(a.picks == b.picks for a, b in zip(alone, through, strict=True)),
        "rounds": last.rounds,
        **{f"test_mae_after_{n}": last.test_mae[n - 1] for n in range(500, cycles + 1, 500)},
    }


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
    adam = fit_hyperparameters(X, y, config=GpConfig(optimiser="adam", max_evaluations=steps))
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


def float32(materials: Materials, hyperparameters: Hyperparameters, cycles: int) -> dict[str, Any]:
    """What columns in float32 gain, and where the picks first differ."""
    exact = loop_here(materials, hyperparameters, cycles)
    rough = loop_here(materials, hyperparameters, cycles, dtype="float32")
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
