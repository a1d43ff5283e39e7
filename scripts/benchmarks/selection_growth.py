"""Time a pick and peak memory as pool and labelled points grow, each case in a process of its own."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np
from selection_loops import CANDIDATES, read_materials

from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.posterior import Posterior
from gpnet_ray.gp.scored_points import ScoredPoints
from gpnet_ray.gp.selection import plan_cycles

__all__ = ["growth"]

PICKS = 256
POOLS = (10**3, 10**4, 10**5)
LABELLED = (1800, 4000, 8000)


def growth(
    latents: Path, target: str, hyperparameters: Hyperparameters, out: Path
) -> dict[str, Any]:
    """Measure every case; draw time and memory on logarithmic axes."""
    processes = multiprocessing.get_context("spawn")

    def measured(n_labelled: int, n_pool: int) -> tuple[float, float]:
        with processes.Pool(1) as pool:
            case = (latents, target, hyperparameters.to_json(), n_labelled, n_pool)
            return pool.apply(milliseconds_and_mebibytes, case)

    pools = {n: measured(1800, n) for n in POOLS}
    labelled = {n: measured(n, 10**4) for n in LABELLED}
    plot_growth(pools, labelled, out / "growth.png")
    results: dict[str, Any] = {}
    for name, series in (("pool", pools), ("labelled", labelled)):
        for n, (milliseconds, mebibytes) in series.items():
            results[f"ms_a_pick_{name}_{n}"] = milliseconds
            results[f"peak_MiB_{name}_{n}"] = mebibytes
    return results


def milliseconds_and_mebibytes(
    latents: Path, target: str, parameters: dict[str, Any], n_labelled: int, n_pool: int
) -> tuple[float, float]:
    """Plan, label and take in picks; latents drawn near real ones.

    Returns:
        Milliseconds a pick, and the peak memory (MiB) beyond what the process had with everything imported.
    """
    materials = read_materials(latents, target)
    hyperparameters = Hyperparameters.from_json(parameters)
    rng = np.random.default_rng(0)
    n = n_labelled + n_pool
    X = materials.X[rng.integers(len(materials.X), size=n)]
    X = X + 0.02 * rng.normal(size=X.shape)
    ids = [f"m-{i}" for i in range(n)]
    # A first small case, so that TensorFlow's own start is in neither figure.
    picked(hyperparameters, ids[:200], X[:200], n_labelled=100, picks=8)
    before = peak_mebibytes()
    seconds = picked(hyperparameters, ids, X, n_labelled=n_labelled, picks=PICKS)
    return 1e3 * seconds / PICKS, peak_mebibytes() - before


def picked(
    hyperparameters: Hyperparameters, ids: list[str], X: Any, *, n_labelled: int, picks: int
) -> float:
    """Seconds of the picks alone, without the first factorisation and the first columns."""
    labels = np.zeros(n_labelled)
    posterior = Posterior(
        hyperparameters,
        ids[:n_labelled],
        X[:n_labelled],
        labels,
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
    return time.perf_counter() - start


def peak_mebibytes() -> float:
    """Largest resident memory of this process so far, as Linux has it.

    Not ``ru_maxrss``: a child starts with its parent's.
    """
    status = Path("/proc/self/status").read_text("utf-8")
    (kibibytes,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(kibibytes) / 1024


def plot_growth(
    pools: dict[int, tuple[float, float]], labelled: dict[int, tuple[float, float]], path: Path
) -> None:
    """Draw time a pick and memory of both series on logarithmic axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    grid = figure.subplots(2, 2, sharex="col", sharey="row")
    columns = ((pools, "pool (1,800 labelled)"), (labelled, "labelled (pool of 10,000)"))
    for row, quantity in enumerate(("time a pick (ms)", "peak memory (MiB)")):
        for axes, (series, name) in zip(grid[row], columns, strict=True):
            axes.loglog(list(series), [values[row] for values in series.values()], "o-")
            axes.grid(visible=True, which="both", alpha=0.3)
            axes.set(xlabel=f"points: {name}" if row else None)
        grid[row][0].set(ylabel=quantity)
    figure.savefig(path, dpi=150)
