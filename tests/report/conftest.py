"""A small run folder, written as a campaign writes it, with every corner that the report has to turn."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

UNIT = "eV/atom"
N_TRAIN, N_POOL, N_TEST = 40, 60, 30
MEASURES = ("mae", "rmse", "r2", "coverage_2sigma")

MakeRun = Callable[..., Path]


def measured(target: np.ndarray, mean: np.ndarray, sigma: np.ndarray) -> dict[str, float]:
    """The four measures, written out on purpose rather than taken from the package."""
    residual = target - mean
    spread = ((target - target.mean()) ** 2).sum()
    return {
        "mae": float(np.abs(residual).mean()),
        "rmse": float(np.sqrt((residual**2).mean())),
        "r2": float(1 - (residual**2).sum() / spread),
        "coverage_2sigma": float((np.abs(residual) <= 2 * sigma).mean()),
    }


def write_table(path: Path, rows: list[dict[str, Any]], schema: dict[str, pa.DataType]) -> None:
    table = pa.Table.from_pylist(rows, schema=pa.schema(list(schema.items())))
    pq.write_table(table.replace_schema_metadata({b"unit": UNIT.encode()}), path)


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> MakeRun:
    """Return a function that writes a run folder and returns its path."""

    def make(
        name: str = "oxides",
        *,
        strategies: Sequence[str] = ("max-sigma", "random"),
        cycles: int = 8,
        unlabelled_known: bool = True,
        failed_pick: int | None = 3,
        formula: str = "SrTiO3",
        id_prefix: str = "mp-",
        n_rejected: int = 3,
        retrainings: Sequence[dict[str, Any]] = (),
    ) -> Path:
        path = tmp_path_factory.mktemp("runs") / name
        path.mkdir()
        rng = np.random.default_rng(7)
        target = rng.normal(-2.0, 0.8, N_TEST)
        # At the start all arms predict the same; each then gets better in its own way.
        noise = rng.normal(0.0, 1.0, N_TEST)
        sigma = rng.uniform(0.05, 0.2, N_TEST)
        gain = {"max-sigma": 0.08, "top-k": 0.06, "distance": 0.07, "random": 0.03}
        metrics: list[dict[str, Any]] = []
        picks: list[dict[str, Any]] = []
        predictions: list[dict[str, Any]] = []
        for strategy in strategies:
            labelled = N_TRAIN
            for cycle in range(cycles + 1):
                mean = target - noise * 0.2 * (1 - gain[strategy] * cycle)
                failed = cycle == failed_pick and strategy == strategies[0]
                labelled += int(cycle > 0 and not failed)
                row = {"strategy": strategy, "cycle": cycle, "n_labelled": labelled}
                row["n_unlabelled"] = N_TRAIN + N_POOL - labelled if unlabelled_known else None
                values = measured(target, mean, sigma)
                for key, value in values.items():
                    row[f"test_{key}"] = value
                    row[f"unlabelled_{key}"] = 0.9 * value if unlabelled_known else None
                metrics.append(row)
                if cycle in (0, cycles):
                    predictions += [
                        {
                            "strategy": strategy,
                            "stage": "before" if cycle == 0 else "after",
                            "material_id": f"{id_prefix}test-{i}",
                            "formula": formula,
                            "target": target[i],
                            "mean": mean[i],
                            "sigma": sigma[i],
                        }
                        for i in range(N_TEST)
                    ]
                if cycle == 0:
                    continue
                picks.append(
                    {
                        "strategy": strategy,
                        "cycle": cycle,
                        "material_id": f"{id_prefix}{strategy}-{cycle}",
                        "formula": formula,
                        "sigma": 0.3 / cycle,
                        # The distance arm could not keep what it asked for in one cycle.
                        **(radii(cycle) if strategy == "distance" else {}),
                        "status": "failed" if failed else "ok",
                        "label": None if failed else -2.0 + 0.1 * cycle,
                        "reason": "Ewald sum <did not> converge" if failed else "",
                        "tries": 3 if failed else 1,
                        "seconds": 0.25,
                    }
                )
        write_files(path, name, strategies, metrics, picks, predictions, n_rejected, retrainings)
        return path

    return make


def radii(cycle: int) -> dict[str, float]:
    return {"radius": 0.125 if cycle == 2 else 0.25, "asked_radius": 0.25}


def write_files(
    path: Path,
    name: str,
    strategies: Sequence[str],
    metrics: list[dict[str, Any]],
    picks: list[dict[str, Any]],
    predictions: list[dict[str, Any]],
    n_rejected: int,
    retrainings: Sequence[dict[str, Any]],
) -> None:
    text, count, number = pa.string(), pa.int64(), pa.float64()
    errors = {f"{on}_{m}": number for on in ("test", "unlabelled") for m in MEASURES}
    counts = dict.fromkeys(("cycle", "n_labelled", "n_unlabelled"), count)
    write_table(path / "metrics.parquet", metrics, {"strategy": text, **counts, **errors})
    write_table(
        path / "picks.parquet",
        picks,
        {
            **dict.fromkeys(("strategy", "material_id", "formula", "status", "reason"), text),
            **dict.fromkeys(("cycle", "tries"), count),
            **dict.fromkeys(("sigma", "radius", "asked_radius", "label", "seconds"), number),
        },
    )
    texts = dict.fromkeys(("strategy", "stage", "material_id", "formula"), text)
    numbers = dict.fromkeys(("target", "mean", "sigma"), number)
    write_table(path / "predictions.parquet", predictions, {**texts, **numbers})
    history = [
        {
            "epoch": epoch,
            "learning_rate": 1e-3,
            "train_mae": 0.5 / epoch,
            "validation_mae": 0.6 / epoch + (0.2 if epoch == 6 else 0.0),
            "seconds": 1.5,
        }
        for epoch in range(1, 7)
    ]
    floats = dict.fromkeys(("learning_rate", "train_mae", "validation_mae", "seconds"), number)
    write_table(path / "training_history.parquet", history, {"epoch": count, **floats})
    texts = dict.fromkeys(("strategy", "start", "kept"), text)
    counts = dict.fromkeys(("cycle", "network", "n_labelled", "epochs"), count)
    maes = ("old_validation_mae", "new_validation_mae", "network_test_mae")
    numbers = dict.fromkeys(("seconds", *maes), number)
    write_table(path / "retrainings.parquet", list(retrainings), {**texts, **counts, **numbers})
    categories = ["disordered", "no bond inside the cut-off", "no bond inside the cut-off"]
    lines = [
        f"mp-bad-{i},{categories[i % 3]},file.csv row {i},detail {i}\n" for i in range(n_rejected)
    ]
    heading = "material_id,category,where,reason\n"
    (path / "rejected.csv").write_text(heading + "".join(lines), "utf-8")
    config = {
        "name": name,
        "seed": 0,
        "selection": {
            "strategies": list(strategies),
            "distance_cutoff": None,
            "distance_cutoff_fraction": 0.1,
        },
    }
    (path / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    hyperparameters = {"kernel": "laplacian", "amplitude": 1.3, "length_scale": 2.5}
    step = {"amplitude": 1.3, "length_scale": 2.5, "mean": -2.0}
    trace = [
        {"evaluation": n, "negative_log_likelihood": -10.0 * n, **step, "noise_std": 0.2 / n}
        for n in (1, 2)
    ]
    gp = {"hyperparameters": hyperparameters, "trace": trace, "seconds": 0.5, "warnings": []}
    again = [path / "networks" / f"{r['strategy']}-{r['network']}" for r in retrainings]
    for folder in (path, *again):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "gp.json").write_text(json.dumps(gp), "utf-8")
    info = {
        "target": "formation_energy_per_atom",
        "unit": UNIT,
        "source": "embedded hypothetical oxides",
        "label_note": "Ionic-model energies, not DFT.",
        "n_materials": N_TRAIN + N_POOL + N_TEST,
        "n_train": N_TRAIN,
        "n_pool": N_POOL,
        "n_test": N_TEST,
        "n_rejected": n_rejected,
        "network_test_mae": 0.2125,
        "timings_s": {"training": 9.0, "loop": 1.25},
        "versions": {"gpnet_ray": "0.1.0"},
        "machine": {"cpus": 2},
        "started": "2026-01-01T00:00:00+00:00",
        "command": "gpnet-ray run",
    }
    (path / "run.json").write_text(json.dumps(info), "utf-8")
