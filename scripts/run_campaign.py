#!/usr/bin/env python3
"""A driver script: read crystals, split, train, run two strategies, look at the result as tables.

    python scripts/run_campaign.py oxides.parquet --target formation_energy_per_atom --unit eV/atom

Without a file it runs on the embedded hypothetical oxides, whose labels are an ionic model's energies.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from gpnet_ray import (
    Campaign,
    IonicOracle,
    hypothetical_dataset,
    load_config,
    make_progress,
    read_dataset,
)


def main() -> None:
    """Run the campaign that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("dataset", type=Path, nargs="?")
    parser.add_argument("--target", default="formation_energy_per_atom")
    parser.add_argument("--unit", default="eV/atom")
    parser.add_argument("--cycles", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    options = parser.parse_args()

    config = load_config(
        overrides={
            "name": "script",
            "runs_dir": options.runs_dir,
            "training.epochs": options.epochs,
            "selection.cycles": options.cycles,
        }
    )
    progress = make_progress(Console())
    if options.dataset is None:
        dataset = hypothetical_dataset(
            config.data.hypothetical_count, seed=config.seed, progress=progress
        )
        campaign = Campaign(dataset, config, oracle=IonicOracle(), progress=progress)
    else:
        dataset = read_dataset(
            options.dataset, target=options.target, unit=options.unit, progress=progress
        )
        campaign = Campaign(dataset, config, progress=progress)

    result = campaign.run(overwrite=True)

    columns = ["strategy", "cycle", "n_labelled", "test_mae", "unlabelled_mae"]
    print(result.metrics.groupby("strategy").tail(1)[columns].to_string(index=False))
    print(result.picks.head(10).to_string(index=False))
    print(f"Report: {result.report}")


if __name__ == "__main__":
    main()
