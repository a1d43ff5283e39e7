#!/usr/bin/env python3
"""A driver script: read crystals, split, train, run two strategies, look at the result as tables.

    python scripts/run_campaign.py oxides.parquet --target formation_energy_per_atom --unit eV/atom

docs/cluster.md says how it runs on GPUs and as a job on a cluster.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from gpnet_ray import (
    Campaign,
    load_config,
    make_progress,
    make_split,
    read_dataset,
    train_network,
)


def main() -> None:
    """Run the campaign that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--target", required=True)
    parser.add_argument("--unit", default="eV/atom")
    parser.add_argument("--train", type=int, default=500, help="materials labelled at the start")
    parser.add_argument("--test", type=int, default=400, help="materials that measure the error")
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--config", type=Path, help="YAML with any other settings")
    parser.add_argument("--address", help="of a Ray cluster to join, such as auto")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier run")
    options = parser.parse_args()

    progress = make_progress(Console())
    config = load_config(
        file=options.config,
        overrides={
            "runs_dir": options.runs_dir,
            "training.epochs": options.epochs,
            "selection.cycles": options.cycles,
            **({"resources.address": options.address} if options.address else {}),
        },
    )
    dataset = read_dataset(
        options.dataset, target=options.target, unit=options.unit, progress=progress
    )
    split = make_split(dataset.ids, n_train=options.train, n_test=options.test, seed=config.seed)
    network = train_network(dataset.select(split.train), config, progress=progress)
    campaign = Campaign(dataset, config, split=split, network=network, progress=progress)
    result = campaign.run(overwrite=options.overwrite)

    columns = ["strategy", "cycle", "n_labelled", "test_mae", "unlabelled_mae"]
    print(result.metrics.groupby("strategy").tail(1)[columns].to_string(index=False))
    print(result.picks.head(10).to_string(index=False))
    print(f"Report: {result.report}")


if __name__ == "__main__":
    main()
