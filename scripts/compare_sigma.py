"""How honest σ is: ways to fit and recalibrate it, kernels and layers, side by side on test rows.

    python scripts/compare_sigma.py oxides.parquet runs/seed-0 runs/seed-1 --target formation_energy_per_atom

Every run folder brings its network and split; nothing is trained. The Gaussian process is fitted on the run's
start labels, as before the first cycle.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from gpnet_ray import load_config, read_dataset
from gpnet_ray.campaign.preparation import screen
from gpnet_ray.config import LAYERS, Config
from gpnet_ray.data.dataset import MaterialsDataset
from gpnet_ray.evaluation.uncertainty import PredictionMetrics, prediction_metrics
from gpnet_ray.gnn.featurize import Featurizer
from gpnet_ray.gnn.graphs import CrystalGraphs
from gpnet_ray.gnn.network_state import NetworkState, load_network_state
from gpnet_ray.gnn.training_set import hold_out
from gpnet_ray.gp.calibrated_fit import fit_calibrated
from gpnet_ray.gp.posterior import Posterior
from gpnet_ray.gp.scaling import LatentScaler
from gpnet_ray.gp.settings import KERNELS, GpConfig
from gpnet_ray.progress import NullProgress, make_progress
from gpnet_ray.seeds import derive_seed
from gpnet_ray.types import FloatArray

SHOWN = {
    "mae": ("MAE", "{:.4f}"),
    "coverage_2sigma": ("within 2σ", "{:.1%}"),
    "miscalibration_area": ("area", "{:.3f}"),
    "nll": ("NLL", "{:.2f}"),
    "spearman": ("rank correlation of error and σ", "{:.2f}"),
}


def main() -> None:
    """Print a Markdown table, one row a way, and write all metrics as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs, one a seed")
    parser.add_argument("--target", default="formation_energy_per_atom")
    parser.add_argument("--unit", default="eV/atom")
    parser.add_argument("--out", type=Path, default=Path("runs/compare-sigma.json"))
    options = parser.parse_args()
    dataset = read_dataset(options.dataset, target=options.target, unit=options.unit)
    rows: list[dict[str, Any]] = []
    progress = make_progress(Console(stderr=True))
    for folder in options.runs:
        run = Run(dataset, folder)
        for way, changes in ways():
            metrics = run.measured(load_config(overrides=changes))
            rows.append({"way": way, "seed": run.config.seed, **asdict(metrics)})
            progress.line(f"seed {run.config.seed}, {way}: MAE {metrics.mae:.4f} {options.unit}")
    print(table(rows))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


def table(rows: list[dict[str, Any]]) -> str:
    """A way a row; of every metric the values of the seeds in turn and, in bold, their mean."""
    headings = ["", *(heading for heading, _ in SHOWN.values())]
    lines = ["| " + " | ".join(headings) + " |", "|---" * len(headings) + "|"]
    for way in dict.fromkeys(row["way"] for row in rows):
        cells = [way]
        for metric, (_, form) in SHOWN.items():
            values = [row[metric] for row in rows if row["way"] == way]
            mean = form.format(sum(values) / len(values))
            cells.append(" / ".join(map(form.format, values)) + f" → **{mean}**")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ways() -> Iterator[tuple[str, dict[str, Any]]]:
    """What is compared, by the settings that differ from the defaults."""
    yield "as fitted", {"gp.recalibration": "none"}
    yield "fitted on held-out rows", {"gp.recalibration": "none", "gp.fit_rows": "held-out"}
    for how in ("variance", "isotonic", "conformal", "student-t"):
        yield f"recalibrated: {how}", {"gp.recalibration": how}
    both = {"gp.recalibration": "student-t", "gp.fit_rows": "held-out"}
    yield "fitted on held-out rows, student-t", both
    for kernel in KERNELS[1:]:
        yield f"student-t, kernel {kernel}", {"gp.kernel": kernel, "gp.recalibration": "student-t"}
    for layer in LAYERS[1:]:
        yield f"student-t, layer {layer}", {"network.layer": layer, "gp.recalibration": "student-t"}


class Run:
    """A run's network, train and test rows, with the latents of every layer that was asked for."""

    def __init__(self, dataset: MaterialsDataset, folder: Path) -> None:
        self.config = load_config(file=folder / "config.yaml")
        split = json.loads((folder / "split.json").read_text("utf-8"))
        rows = dataset.select([*split["train"], *split["test"]])
        problem = screen(rows, self.config, NullProgress())
        self._network = load_network_state(folder / "network")
        self._graphs: CrystalGraphs = problem.graphs
        labels = dict(zip(problem.dataset.ids, np.asarray(problem.dataset.targets), strict=True))
        self._train = tuple(i for i in split["train"] if i in labels)
        self._test = tuple(i for i in split["test"] if i in labels)
        self._y, self._test_y = (
            np.array([labels[i] for i in ids]) for ids in (self._train, self._test)
        )
        self._latents: dict[str, tuple[FloatArray, FloatArray]] = {}

    def measured(self, config: Config) -> PredictionMetrics:
        """Fit, and predict the test rows."""
        X, test_X = self._of_layer(config.network.layer, config.gp)
        fit = fit_calibrated(X, self._y, self._held_out(), config=config.gp, seed=config.seed)
        posterior = Posterior(fit.hyperparameters, self._train, X, self._y)
        mean, sigma = posterior.predict(test_X)
        return prediction_metrics(self._test_y, mean, sigma, fit.recalibration)

    def _held_out(self) -> Any:
        if self._network.held_out_ids:
            return self._network.held_out(self._train)
        # A network that was saved before it kept them: they follow from the run's seed.
        _, held = hold_out(
            self._train,
            fraction=self.config.training.validation_fraction,
            seed=derive_seed(self.config.seed, "network"),
        )
        return np.isin(self._train, held)

    def _of_layer(self, layer: Any, gp: GpConfig) -> tuple[FloatArray, FloatArray]:
        if layer not in self._latents:
            network: NetworkState = replace(
                self._network, config=self._network.config.model_copy(update={"layer": layer})
            )
            featurizer = Featurizer(network)
            _, latents, _ = featurizer.featurize(self._graphs.select(self._train))
            _, test_latents, _ = featurizer.featurize(self._graphs.select(self._test))
            scaler = LatentScaler.fit(latents, gp.latent_scaling, projection=gp.latent_projection)
            self._latents[layer] = (scaler.transform(latents), scaler.transform(test_latents))
        return self._latents[layer]


if __name__ == "__main__":
    main()
