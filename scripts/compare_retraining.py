"""What training the network again on the bought labels brings: schedules side by side, from one network a seed.

    python scripts/compare_retraining.py oxides.parquet --target formation_energy_per_atom --seeds 0,1,2

Each schedule is a whole campaign with both strategies. A campaign that was interrupted goes on, one that is
finished is only read, so that the table can be had in several sittings.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from gpnet_ray import Campaign, load_config, read_dataset
from gpnet_ray.data.dataset import MaterialsDataset
from gpnet_ray.gnn.network_state import load_network_state
from gpnet_ray.progress import make_progress

SCHEDULES = ("frozen", "end", "every-warm", "every-scratch")
HEADINGS = (
    *("schedule", "seed", "arm", "labels", "epochs", "training (s)"),
    *("network test MAE", "GP test MAE", "within 2σ"),
)


def main() -> None:
    """Run what is not finished yet; print a Markdown table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--target", default="formation_energy_per_atom")
    parser.add_argument("--unit", default="eV/atom")
    parser.add_argument("--seeds", default="0", help="comma-separated")
    parser.add_argument("--schedules", default=",".join(SCHEDULES), help="comma-separated")
    parser.add_argument("--strategies", default="max-sigma,random", help="comma-separated")
    parser.add_argument("--epochs", type=int, default=100, help="of every training from scratch")
    parser.add_argument("--warm-epochs", type=int, default=40)
    parser.add_argument("--warm-rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--every", type=int, default=500, help="labels")
    parser.add_argument("--cycles", type=int, default=1500)
    parser.add_argument("--train", type=int, default=1800)
    parser.add_argument("--test", type=int, default=1460)
    parser.add_argument("--out", type=Path, default=Path("runs/compare-retraining"))
    options = parser.parse_args()
    unknown = set(options.schedules.split(",")) - set(SCHEDULES)
    if unknown:
        parser.error(f"unknown schedules {sorted(unknown)}; valid: {', '.join(SCHEDULES)}")
    dataset = read_dataset(options.dataset, target=options.target, unit=options.unit)
    rows: list[tuple[Any, ...]] = []
    for seed in map(int, options.seeds.split(",")):
        for schedule in ("frozen", *options.schedules.split(",")):
            if schedule == "frozen" and any(row[:2] == (schedule, seed) for row in rows):
                continue
            summary = finished(dataset, schedule, seed, options)
            rows += table_rows(summary, schedule, seed)
            write(rows, options.out)


def finished(
    dataset: MaterialsDataset, schedule: str, seed: int, options: argparse.Namespace
) -> dict[str, Any]:
    """The summary of one campaign, run or gone on with where it is not there."""
    name = f"{schedule}-seed{seed}"
    folder = options.out / name
    if (folder / "summary.json").is_file():
        known: dict[str, Any] = json.loads((folder / "summary.json").read_text("utf-8"))
        return known
    again: dict[str, Any] = {"when": "never"}
    if schedule != "frozen":
        warm = schedule == "every-warm"
        again = {
            "when": "end" if schedule == "end" else "every",
            "every_labels": options.every,
            "start": "warm" if warm else "scratch",
            "epochs": options.warm_epochs if warm else options.epochs,
            "peak_learning_rate": options.warm_rate if warm else None,
        }
    config = load_config(
        preset="paper",
        overrides={
            "seed": seed,
            "name": name,
            "runs_dir": options.out,
            "data.target": options.target,
            "split.n_train": options.train,
            "split.n_test": options.test,
            "training.epochs": options.epochs,
            "selection.cycles": options.cycles,
            "selection.strategies": options.strategies.split(","),
            "retraining": again,
        },
    )
    # All schedules of a seed start from the network that the frozen one trained.
    trained = options.out / f"frozen-seed{seed}" / "network"
    network = None if schedule == "frozen" else load_network_state(trained)
    progress = make_progress(Console())
    result = Campaign(dataset, config, network=network, progress=progress).run(
        resume=folder.is_dir()
    )
    return dict(result.summary)


def table_rows(summary: dict[str, Any], schedule: str, seed: int) -> list[tuple[Any, ...]]:
    """One row before the loop and one an arm; errors in the target's unit."""
    first, network = summary["arms"][0], summary["network"]
    rows: list[tuple[Any, ...]] = []
    if schedule == "frozen":
        before = first["test"]["before"]
        start = ("before the loop", seed, "–", first["n_labelled_before"])
        spent = (network["epochs"], network["seconds"], network["test_mae"])
        rows.append((*start, *spent, before["mae"], before["coverage_2sigma"]))
    for arm in summary["arms"]:
        again, after = arm["retrainings"], arm["test"]["after"]
        mae = again[-1]["network_test_mae"] if again else network["test_mae"]
        epochs, seconds = (sum(r[key] for r in again) for key in ("epochs", "seconds"))
        where = (schedule, seed, arm["strategy"], arm["n_labelled_after"])
        rows.append((*where, epochs, seconds, mae, after["mae"], after["coverage_2sigma"]))
    return rows


def write(rows: list[tuple[Any, ...]], out: Path) -> None:
    """Print the table so far, and write it for programs."""
    print("\n| " + " | ".join(HEADINGS) + " |\n" + "|---" * len(HEADINGS) + "|")
    for *where, epochs, seconds, network, gp, coverage in rows:
        numbers = (f"{epochs}", f"{seconds:.0f}", f"{network:.4f}", f"{gp:.4f}", f"{coverage:.1%}")
        print("| " + " | ".join([*map(str, where), *numbers]) + " |", flush=True)
    content = [dict(zip(HEADINGS, row, strict=True)) for row in rows]
    (out / "retraining.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
