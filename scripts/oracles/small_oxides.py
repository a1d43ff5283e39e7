#!/usr/bin/env python3
"""Write small hypothetical oxides of chosen elements as a dataset without targets, for a costly oracle.

python scripts/oracles/small_oxides.py small_oxides.parquet --elements Li Mg Al Ti --max-atoms 5
"""

from __future__ import annotations

import argparse
import json
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gpnet_ray.data.hypothetical_oxides import hypothetical_oxides


def main() -> None:
    """Write the file that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("file", type=Path, help="Parquet file to write")
    parser.add_argument("--elements", nargs="+", required=True, help="cations that may occur")
    parser.add_argument("--max-atoms", type=int, default=5, help="atoms in the cell")
    parser.add_argument(
        "--count", type=int, default=300, help="crystals to write, if there are so many"
    )
    parser.add_argument("--look-at", type=int, default=50_000, help="crystals to choose from")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    allowed = {"O", *args.elements}
    chosen = islice(
        (
            (material_id, crystal)
            for material_id, crystal in hypothetical_oxides(args.look_at, seed=args.seed)
            if len(crystal) <= args.max_atoms
            and {site.specie.symbol for site in crystal} <= allowed
        ),
        args.count,
    )
    ids, crystals = zip(*chosen, strict=True)
    table = {"material_id": ids, "structure": [json.dumps(c.as_dict()) for c in crystals]}
    pq.write_table(pa.table({name: list(column) for name, column in table.items()}), args.file)
    print(f"{len(ids)} crystals in {args.file}")


if __name__ == "__main__":
    main()
