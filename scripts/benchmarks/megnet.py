"""Time our compiled MEGNet against megnet's own ``train`` and ``predict_graphs``, in one run.

    python scripts/benchmarks/megnet.py mp_oxides_10455.parquet

Both sides train the same crystals at the same batch size, alternately, so that what else the machine
does falls on both; CPU seconds (of all threads) hardly depend on that. The first epoch of each, which
compiles, is shown apart. Structures become graphs beforehand on both sides.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tf_keras
from pymatgen.core import Structure

from gpnet_ray.config import NetworkConfig, TrainingConfig
from gpnet_ray.gnn._megnet import import_megnet
from gpnet_ray.gnn.featurize import Featurizer
from gpnet_ray.gnn.graphs import CrystalGraphs, build_graphs
from gpnet_ray.gnn.training import Trainer
from gpnet_ray.types import FloatArray

Seconds = tuple[float, float]
"""Wall and CPU."""


def main() -> None:
    """Read crystals, time both sides, print one table."""
    # This file's own name would hide the megnet that it measures.
    here = Path(__file__).resolve().parent
    sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != here]
    options = _options()
    table = pd.read_parquet(
        options.dataset, columns=["material_id", "structure", options.target]
    ).sample(options.crystals, random_state=options.seed)
    structures = [Structure.from_dict(json.loads(text)) for text in table["structure"]]
    y = table[options.target].to_numpy(np.float64)

    start = time.perf_counter()
    graphs, _ = build_graphs(list(table["material_id"]), structures, cutoff_angstrom=4.0)
    print(
        f"{len(graphs)} crystals, {graphs.n_atoms().mean():.0f} atoms and {graphs.n_bonds().mean():.0f} "
        f"bonds each; graphs in {time.perf_counter() - start:.1f} s"
    )
    converter = import_megnet("megnet.data.crystal").CrystalGraph(
        cutoff=4.0,
        bond_converter=import_megnet("megnet.data.graph").GaussianDistance(
            np.linspace(0, 5, 100), 0.5
        ),
    )
    their_graphs = [converter.convert(structure) for structure in structures]
    for batch_size in options.batch_sizes:
        _compare(graphs, y, converter, their_graphs, batch_size, options.epochs)


def _compare(
    graphs: CrystalGraphs,
    y: FloatArray,
    converter: Any,
    their_graphs: list[dict[str, Any]],
    batch_size: int,
    epochs: int,
) -> None:
    theirs = import_megnet("megnet.models.megnet").MEGNetModel(
        nfeat_edge=100, nfeat_global=2, graph_converter=converter
    )
    trainer = Trainer(
        graphs,
        y,
        network=NetworkConfig(),
        # About one validation crystal, the fewest there can be: megnet's side has none.
        training=TrainingConfig(
            epochs=epochs + 1, batch_size=batch_size, validation_fraction=1 / len(graphs)
        ),
        seed=0,
        target="target",
        unit="",
    )
    records = trainer.run()
    scaled = list((y - y.mean()) / y.std())
    ours, megnet = [], []
    for _ in range(epochs + 1):
        ours.append(_timed(lambda: next(records)))
        megnet.append(_keras_epoch(theirs, their_graphs, scaled, batch_size))
    _print_comparison(f"training, batch {batch_size}, an epoch", ours, megnet)
    print(f"  padding: {trainer.padding_waste:.1%} of the bonds")
    featurizer = Featurizer(trainer.best_state())
    ours, megnet = [], []
    for _ in range(2):
        ours.append(_timed(lambda: featurizer.featurize(graphs)))
        megnet.append(_timed(lambda: theirs.predict_graphs(their_graphs, batch_size=batch_size)))
    _print_comparison(f"featurising {len(graphs)} crystals, batch {batch_size}", ours, megnet)


def _print_comparison(what: str, ours: list[Seconds], megnet: list[Seconds]) -> None:
    """Compare the medians of all but the first, which compiles."""
    print(f"{what} (median of {len(ours) - 1}):")
    for kind, i in (("wall", 0), ("CPU", 1)):
        mine, yours = (statistics.median(t[i] for t in times[1:]) for times in (ours, megnet))
        print(
            f"  {kind:<4} {mine:6.2f} s, megnet {yours:6.2f} s: {yours / mine:.1f} times faster; "
            f"first {ours[0][i]:.1f} s and {megnet[0][i]:.1f} s"
        )


def _timed(run: Callable[[], object]) -> Seconds:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def _keras_epoch(
    model: Any, graphs: list[dict[str, Any]], targets: list[float], batch_size: int
) -> Seconds:
    class Clock(tf_keras.callbacks.Callback):  # type: ignore[misc]
        """Times the epoch alone, not how megnet lays the graphs out before it."""

        def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            self.start = time.perf_counter(), time.process_time()

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            wall, cpu = self.start
            self.seconds = time.perf_counter() - wall, time.process_time() - cpu

    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        model.train_from_graphs(
            graphs,
            targets,
            epochs=1,
            batch_size=batch_size,
            verbose=0,
            callbacks=[clock],
            save_checkpoint=False,
            dirname=folder,
        )
    return clock.seconds


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "dataset", type=Path, help="Parquet with material_id, structure and a target"
    )
    parser.add_argument("--target", default="formation_energy_per_atom")
    parser.add_argument("--crystals", type=int, default=1800)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[32, 128])
    parser.add_argument(
        "--epochs", type=int, default=3, help="timed epochs, after one that compiles"
    )
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
