"""The command line as a user has it: a process of its own, its exit code and its output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pymatgen.core import Lattice, Structure

Run = Callable[..., subprocess.CompletedProcess[str]]

TINY_NETWORK = [
    *("--set", "network.n_blocks=1", "--set", "network.n_gaussians=20", "--set", "network.n1=16"),
    *("--set", "network.n2=8", "--set", "network.n3=4", "--set", "network.set2set_passes=1"),
    *("--set", "training.batch_size=16", "--epochs", "2", "--set", "retraining.when=never"),
]


def gpnet_ray(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    return subprocess.run(
        [sys.executable, "-m", "gpnet_ray", *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def rock_salt(element: str, a_angstrom: float) -> Structure:
    half = a_angstrom / 2
    lattice = Lattice([[0, half, half], [half, 0, half], [half, half, 0]])
    return Structure(lattice, [element, "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def rows(n: int = 40) -> list[dict[str, Any]]:
    """Rock-salt crystals of growing lattice constant with a smooth made-up energy."""
    made = []
    for number in range(n):
        element, a = ["Mg", "Ca", "Ni", "Fe"][number % 4], 4.0 + 0.02 * number
        structure = rock_salt(element, a)
        made.append({"material_id": f"m-{number:03d}", "structure": structure, "energy": -a + 0.5})
    return made


def write_parquet(path: Path, made: Sequence[dict[str, Any]]) -> Path:
    columns: dict[str, list[Any]] = {name: [row[name] for row in made] for name in made[0]}
    columns["structure"] = [
        s if isinstance(s, str) else json.dumps(s.as_dict()) for s in columns["structure"]
    ]
    pq.write_table(pa.table(columns), path)
    return path
