"""What a network is trained on: checked, parted into train and validation, and hashed (no TensorFlow)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from typing import Any

import numpy as np

from gpnet_ray.config import NetworkConfig, TrainingConfig
from gpnet_ray.errors import InputError
from gpnet_ray.gnn.graphs import CrystalGraphs
from gpnet_ray.seeds import derive_seed
from gpnet_ray.types import FloatArray

__all__ = ["check_targets", "hold_out", "training_fingerprint"]


_FEWEST_NEW = 21
"""As many as a recalibration of σ takes (``gpnet_ray.gp.recalibration.FEWEST_HELD_OUT``)."""


def hold_out(
    ids: Sequence[str],
    *,
    fraction: float,
    seed: int,
    known: Collection[str] = (),
    crystals: Mapping[str, str] | None = None,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Part ids into train and validation, at least one each, both in the order they came.

    Every id is drawn by itself, with probability ``fraction``, from the seed and its own name. So it is on the
    same side when the network is trained again on more crystals: no network is ever judged on what an
    earlier one, from which it started or with which it is compared, was trained on.

    Where one crystal is several rows, under several conditions, the crystal is drawn, and all its rows are on one
    side: else nearly every held-out crystal would have been trained on under another condition.

    Of those that are drawn, the ones that are ``known`` are trained on again instead of being held out, as long as
    21 or half of the drawn ones are left: on the others the best epoch and σ would be judged too well.

    Args:
        ids: two or more, distinct.
        fraction: share of the validation part that is aimed at, between 0 and 1.
        seed: another seed, another part.
        known: ids on which the network that training starts from was trained already.
        crystals: what the crystal of each id is known by; ``None``: each id is one of its own.
    """
    stream = derive_seed(seed, "validation")
    crystal = {name: name if crystals is None else crystals[name] for name in ids}
    if len(set(crystal.values())) == 1:
        # One crystal alone has no other to be judged by.
        crystal = {name: name for name in ids}
    rows = Counter(crystal.values())
    drawn = {name: _uniform(f"{stream}/{name}") for name in rows}
    chosen = {name for name, u in drawn.items() if u < fraction}
    if not chosen:
        chosen = {min(drawn, key=lambda name: drawn[name])}
    elif len(chosen) == len(drawn):
        chosen.remove(max(drawn, key=lambda name: drawn[name]))
    new = chosen.difference(crystal[name] for name in known if name in crystal)
    n_chosen, n_new = (sum(rows[name] for name in part) for part in (chosen, new))
    if n_new >= min(_FEWEST_NEW, n_chosen / 2):
        chosen = new
    return (
        tuple(name for name in ids if crystal[name] not in chosen),
        tuple(name for name in ids if crystal[name] in chosen),
    )


def _uniform(text: str) -> float:
    """Hash a text into [0, 1)."""
    return int.from_bytes(sha256(text.encode()).digest()[:6], "big") / 2**48


def check_targets(graphs: CrystalGraphs, targets: FloatArray) -> None:
    """Refuse targets that no network can be trained on.

    Raises:
        InputError: too few crystals, another shape than (n,), NaN or infinity (names the first id).
    """
    if len(graphs) < 2:
        raise InputError(f"training needs at least 2 crystals, one held out; got {len(graphs)}")
    if targets.shape != (len(graphs),):
        raise InputError(
            f"targets must have shape ({len(graphs)},), one a crystal; got {targets.shape}"
        )
    bad = np.flatnonzero(~np.isfinite(targets))
    if len(bad):
        raise InputError(
            f"the target of {graphs.ids[bad[0]]!r} is {targets[bad[0]]}; {len(bad)} of "
            f"{len(targets)} targets are not finite, leave these materials out"
        )


def training_fingerprint(
    graphs: CrystalGraphs,
    targets: FloatArray,
    *,
    network: NetworkConfig,
    training: TrainingConfig,
    seed: int,
    initial: str | None,
) -> str:
    """Hash all that the weights after training depend on; ``initial`` is the first network's fingerprint."""
    settings: dict[str, Any] = {
        "network": network.content(exclude={"layer"}),
        "training": training.model_dump(mode="json", exclude={"checkpoint_every_epochs"}),
        "seed": seed,
        "initial": initial,
        "ids": graphs.ids,
    }
    if graphs.crystals:
        settings["crystals"] = graphs.crystals
    digest = sha256(json.dumps(settings, sort_keys=True).encode())
    for array in (
        graphs.atomic_numbers,
        graphs.atom_offsets,
        graphs.bond_sources,
        graphs.bond_targets,
        graphs.bond_lengths_angstrom,
        graphs.bond_offsets,
        np.asarray(targets, dtype=np.float64),
        *((graphs.state,) if graphs.global_features else ()),
    ):
        digest.update(np.ascontiguousarray(array).tobytes())
        digest.update(b"|")
    return digest.hexdigest()
