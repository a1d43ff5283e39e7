#!/usr/bin/env python3
"""A driver script: read crystals, split, train, run two strategies, look at the result as tables.

    python scripts/run_campaign.py oxides.parquet --target formation_energy_per_atom --unit eV/atom

The same with --resume goes on with a run that was cut off. docs/cluster.md says how it runs on GPUs and as a job on a cluster.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from gpnet_ray import (
    Campaign,
    GpnetError,
    load_config,
    load_dataset,
    make_progress,
    make_split,
)

INTERRUPTED = 130


def main() -> None:
    """Run the campaign that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--target", required=True)
    parser.add_argument("--unit")
    parser.add_argument("--train", type=int, help="materials labelled at the start")
    parser.add_argument("--test", type=int, help="materials that measure the error")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--cycles", type=int)
    parser.add_argument("--config", type=Path, help="YAML with any settings")
    parser.add_argument("--address", help="of a Ray cluster to join, such as auto")
    parser.add_argument("--runs-dir", type=Path)
    parser.add_argument("--name", help="of the run's folder; left out: the dataset's")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier run")
    options = parser.parse_args()
    try:
        run(options)
    except GpnetError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("Interrupted; what has begun goes on with --resume.", file=sys.stderr)
        sys.exit(INTERRUPTED)


def run(options: argparse.Namespace) -> None:
    """Run the campaign, or go on with it, and print what came of it."""
    progress = make_progress(Console())
    given = {
        "data.dataset": options.dataset,
        "data.target": options.target,
        "data.unit": options.unit,
        "split.n_train": options.train,
        "split.n_test": options.test,
        "training.epochs": options.epochs,
        "selection.cycles": options.cycles,
        "resources.address": options.address,
        "name": options.name,
        "runs_dir": options.runs_dir,
    }
    named = {key: value for key, value in given.items() if value is not None}
    config = load_config(file=options.config, overrides=named)
    dataset, oracle = load_dataset(config, progress)
    sizes = config.split
    split = make_split(dataset.ids, n_train=sizes.n_train, n_test=sizes.n_test, seed=config.seed)
    # The campaign trains the network itself, once its folder is known to be free and an oracle's first labels are
    # bought; resumed, it has that of the folder. One of train_network() is handed over as network=...
    campaign = Campaign(dataset, config, oracle=oracle, split=split, progress=progress)
    result = campaign.run(resume=options.resume, overwrite=options.overwrite)

    columns = ["strategy", "cycle", "n_labelled", "test_mae", "unlabelled_mae"]
    print(result.metrics.groupby("strategy").tail(1)[columns].to_string(index=False))
    print(result.picks.head(10).to_string(index=False))
    print(f"Report: {result.report}")


if __name__ == "__main__":
    main()
