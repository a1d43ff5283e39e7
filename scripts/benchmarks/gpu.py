"""Time network and Gaussian process on a GPU against the CPU of the same machine, and compare what they give.

    python scripts/benchmarks/gpu.py mp_oxides_10455.parquet mp_oxides_latents.parquet

Each side is a process of its own, one after the other, so that neither knows of the other's device. The first
epoch, which compiles, and the first cycles, which fill caches, are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SIDES = ("cpu", "gpu")
WARM_UP_CYCLES = 20


def main() -> None:
    """Run both sides; print what each took, the ratio, and how far the results are apart."""
    # Last, since the benchmark megnet.py beside this one would hide the package of that name.
    sys.path.append(sys.path.pop(0))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path, help="Parquet with material_id, structure, target")
    parser.add_argument(
        "latents", type=Path, help="Parquet with material_id, latent, target, split"
    )
    parser.add_argument("--target", default="formation_energy_per_atom")
    parser.add_argument("--crystals", type=int, default=1800, help="that are trained on")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--epochs", type=int, default=3, help="timed, after one that compiles")
    parser.add_argument("--cycles", type=int, nargs="+", default=[1500, 6000])
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        one_side(options)
        return
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for side in SIDES:
            hidden = {"CUDA_VISIBLE_DEVICES": "-1"} if side == "cpu" else {}
            out = Path(folder) / f"{side}.json"
            command = [sys.executable, *sys.argv, "--side", side, "--out", str(out)]
            subprocess.run(command, check=True, env=os.environ | hidden)
            results[side] = json.loads(out.read_text("utf-8"))
    compare(results["cpu"], results["gpu"])


def compare(cpu: dict[str, Any], gpu: dict[str, Any]) -> None:
    """Print both sides beside each other."""
    print(f"CPU: {cpu['device']}; GPU: {gpu['device']}")
    for what, seconds in cpu["seconds"].items():
        other = gpu["seconds"][what]
        print(f"{what:44} CPU {seconds:8.2f} s, GPU {other:8.2f} s: {seconds / other:5.1f} times")
    apart = np.abs(np.subtract(cpu["latents"], gpu["latents"])).max()
    print(f"latents of the same weights differ by at most {apart:.1e}")
    for cycles, (picks, sigmas) in cpu["picks"].items():
        theirs, other_sigmas = gpu["picks"][cycles]
        same = sum(a == b for a, b in zip(picks, theirs, strict=True))
        apart = np.abs(np.subtract(sigmas, other_sigmas)).max()
        print(
            f"{same} of {cycles} picks are the same in order; their σ differ by at most {apart:.1e}"
        )
    print(f"largest GPU memory (MiB): {gpu['peak_mebibytes']}")


def one_side(options: argparse.Namespace) -> None:
    """Everything on the device that this process sees."""
    import tensorflow as tf

    from gpnet_ray.tensorflow_devices import prepare_gpus

    if (prepare_gpus() > 0) != (options.side == "gpu"):
        sys.exit(f"TensorFlow sees {tf.config.list_physical_devices()}, not what --side asks for")
    seconds: dict[str, float] = {}
    peak: dict[str, float] = {}
    latents = network(options, seconds)
    note_peak(peak, "network")
    picks = selection(options, seconds)
    note_peak(peak, "gaussian process")
    devices = tf.config.list_physical_devices("GPU")
    details = tf.config.experimental.get_device_details(devices[0]) if devices else {}
    result = {
        "device": details.get("device_name", f"{os.cpu_count()} cores"),
        "seconds": seconds,
        "latents": latents,
        "picks": picks,
        "peak_mebibytes": peak,
    }
    options.out.write_text(json.dumps(result), "utf-8")


def note_peak(peak: dict[str, float], what: str) -> None:
    """Keep the largest GPU memory since the last call (MiB)."""
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        peak[what] = round(tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20)
        tf.config.experimental.reset_memory_stats("GPU:0")


def network(options: argparse.Namespace, seconds: dict[str, float]) -> list[list[float]]:
    """Train and featurise; give latents of weights that are drawn, not trained, to compare."""
    import pandas as pd
    from pymatgen.core import Structure

    from gpnet_ray.config import NetworkConfig, TrainingConfig
    from gpnet_ray.gnn.featurize import Featurizer
    from gpnet_ray.gnn.graphs import build_graphs
    from gpnet_ray.gnn.initial_weights import draw_weights
    from gpnet_ray.gnn.network_state import NetworkState
    from gpnet_ray.gnn.training import Trainer

    table = pd.read_parquet(options.dataset).sample(options.crystals, random_state=0)
    structures = [Structure.from_dict(json.loads(text)) for text in table["structure"]]
    graphs, _ = build_graphs(list(table["material_id"]), structures, cutoff_angstrom=4.0)
    y = table[options.target].to_numpy(np.float64)
    for batch_size in options.batch_sizes:
        training = TrainingConfig(epochs=options.epochs + 1, batch_size=batch_size)
        trainer = Trainer(
            graphs, y, network=NetworkConfig(), training=training, seed=0, target="E", unit="eV"
        )
        epochs = [record.seconds for record in trainer.run()]
        seconds[f"an epoch of {len(graphs)} crystals, batch {batch_size}"] = statistics.median(
            epochs[1:]
        )
    drawn = draw_weights(NetworkConfig(), seed=0)
    featurizer = Featurizer(NetworkState(NetworkConfig(), drawn, 0.0, 1.0, "E", "eV"))
    for _ in range(3):
        begun = time.perf_counter()
        _, latents, _ = featurizer.featurize(graphs)
        seconds[f"featurising {len(graphs)} crystals"] = time.perf_counter() - begun
    rows: list[list[float]] = latents.astype(np.float64).tolist()
    return rows


def selection(
    options: argparse.Namespace, seconds: dict[str, float]
) -> dict[str, tuple[list[str], list[float]]]:
    """The max-σ loop of the benchmark of selection, with hyperparameters fitted once on this side."""
    from selection_loops import loop_here, read_materials

    from gpnet_ray.gp.hyperparameters import Hyperparameters

    materials = read_materials(options.latents, options.target)
    # Given, not fitted here, so that both sides have the same to the last digit.
    y = materials.y[materials.train]
    fixed = Hyperparameters("laplacian", float(y.std()), 2.0, 0.05, float(y.mean()))
    loop_here(materials, fixed, WARM_UP_CYCLES)
    picks: dict[str, tuple[list[str], list[float]]] = {}
    for cycles in options.cycles:
        run = loop_here(materials, fixed, cycles)
        seconds[f"{cycles} max-σ cycles"] = run.seconds
        picks[str(cycles)] = (run.picks, run.sigmas)
    return picks


if __name__ == "__main__":
    main()
