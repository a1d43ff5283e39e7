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
    load_dataset,
    make_progress,
    make_split,
    train_network,
)


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
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier run")
    options = parser.parse_args()

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
        "runs_dir": options.runs_dir,
    }
    named = {key: value for key, value in given.items() if value is not None}
    config = load_config(file=options.config, overrides=named)
    dataset, oracle = load_dataset(config, progress)
    sizes = config.split
    split = make_split(dataset.ids, n_train=sizes.n_train, n_test=sizes.n_test, seed=config.seed)
    # An oracle has no label yet: there the campaign itself trains the network, once it has bought some.
    network = None
    if oracle is None:
        network = train_network(dataset.select(split.train), config, progress=progress)
    campaign = Campaign(
        dataset, config, oracle=oracle, split=split, network=network, progress=progress
    )
    result = campaign.run(overwrite=options.overwrite)

    columns = ["strategy", "cycle", "n_labelled", "test_mae", "unlabelled_mae"]
    print(result.metrics.groupby("strategy").tail(1)[columns].to_string(index=False))
    print(result.picks.head(10).to_string(index=False))
    print(f"Report: {result.report}")


if __name__ == "__main__":
    main()
