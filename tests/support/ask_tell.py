"""A small ask-and-tell campaign: 40 rock-salt crystals, 16 of them labelled, a network drawn by a seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from support.command_line import rows

from gpnet_ray.config import Config
from gpnet_ray.config_layers import load_config
from gpnet_ray.data.dataset import MaterialsDataset
from gpnet_ray.gnn.architecture import weight_shapes
from gpnet_ray.gnn.network_state import NetworkState

UNIT = "eV/atom"
SETTINGS = {
    "data.target": "energy",
    "network.n_blocks": 1,
    "network.n_gaussians": 20,
    "network.n1": 16,
    "network.n2": 8,
    "network.n3": 4,
    "network.set2set_passes": 1,
    "gp.max_evaluations": 20,
    "resources.shards": 1,
}


def small_config(strategy: str = "max-sigma", **more: object) -> Config:
    return load_config(overrides={**SETTINGS, "selection.strategies": [strategy], **more})


def small_network(config: Config) -> NetworkState:
    """Weights drawn by a seed: latents that differ from crystal to crystal, without a training."""
    rng = np.random.default_rng(3)
    weights = {
        name: rng.normal(scale=0.4, size=shape).astype(np.float32)
        for name, shape in weight_shapes(config.network).items()
    }
    return NetworkState(config.network, weights, -4.0, 0.2, "energy", UNIT)


def crystals(
    start: int, stop: int, *, labelled: bool, prefix: str = "m", skip: Sequence[int] = ()
) -> MaterialsDataset:
    chosen = [row for n, row in enumerate(rows(stop)) if n >= start and n not in skip]
    return MaterialsDataset(
        ids=tuple(row["material_id"].replace("m", prefix) for row in chosen),
        structures=tuple(row["structure"] for row in chosen),
        targets=np.array([row["energy"] for row in chosen]) if labelled else None,
        target="energy",
        unit=UNIT,
        source="rock salts",
        label_note="made up",
    )


def energy(material_id: str) -> float:
    """What the user's own oracle answers."""
    return next(
        r["energy"]
        for r in rows(int(material_id[2:]) + 1)
        if r["material_id"][2:] == material_id[2:]
    )


def replace_text(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))
