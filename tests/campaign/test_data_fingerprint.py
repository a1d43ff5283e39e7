"""The same data on any machine, other data nowhere."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from gpnet_ray.campaign.data_fingerprint import DataFingerprint, data_fingerprint
from gpnet_ray.campaign.identity import check_same
from gpnet_ray.campaign.preparation import Problem
from gpnet_ray.errors import RunFolderError
from gpnet_ray.gnn.graphs import build_graphs


def fingerprint(
    *crystals: Structure,
    ids: tuple[str, ...] = ("a", "b", "c"),
    features: tuple[str, ...] = (),
    targets: np.ndarray | None = None,
) -> DataFingerprint:
    ids = ids[: len(crystals)]
    graphs, _ = build_graphs(ids, crystals, cutoff_angstrom=4.0, global_features=features)
    dataset = SimpleNamespace(ids=ids, structures=crystals, targets=targets)
    return data_fingerprint(Problem(dataset, graphs, ()))  # type: ignore[arg-type]


def oxide(c: float = 4.2, z: float = 0.5, species: tuple[str, ...] = ("Mg", "O")) -> Structure:
    return Structure(Lattice.orthorhombic(4.2, 4.2, c), list(species), [[0] * 3, [0.5, 0.5, z]])


def slab(vacuum: float) -> Structure:
    """A layer with so much above it (Å) that no bond says how much."""
    return Structure(
        Lattice.orthorhombic(4.2, 4.2, vacuum),
        ["Mg", "O"],
        [[0, 0, 2.1], [2.1, 2.1, 2.1]],
        coords_are_cartesian=True,
    )


CHANGES: dict[str, Callable[[], DataFingerprint]] = {
    "a coordinate": lambda: fingerprint(oxide(z=0.50001), oxide()),
    "a lattice vector (Å)": lambda: fingerprint(oxide(c=4.20001), oxide()),
    "an element": lambda: fingerprint(oxide(species=("Ca", "O")), oxide()),
    "a charge": lambda: fingerprint(oxide(species=("Mg2+", "O2-")), oxide()),
    "the order": lambda: fingerprint(oxide(), oxide(), ids=("b", "a")),
    "an id": lambda: fingerprint(oxide(), oxide(), ids=("a", "c")),
    "one more": lambda: fingerprint(oxide(), oxide(), oxide()),
    "targets": lambda: fingerprint(oxide(), oxide(), targets=np.array([0.0, 1.0])),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_the_data_changes_the_fingerprint(change: str) -> None:
    known = fingerprint(oxide(), oxide())
    assert known == fingerprint(oxide(), oxide())
    assert CHANGES[change]() != known


def test_what_no_bond_reaches_counts_too() -> None:
    near, far = fingerprint(slab(16.0)), fingerprint(slab(26.0))
    assert near.of_bonds == far.of_bonds
    assert near != far


def test_the_last_digits_that_a_processor_computes_change_nothing() -> None:
    rng = np.random.default_rng(0)
    short = np.round(rng.random((500, 3)), 7)
    crystal = Structure(Lattice.cubic(50.0), ["O"] * 500, short)
    known = fingerprint(crystal)
    for ulps in (1, -3):
        moved = crystal.frac_coords * (1 + ulps * 2.0**-52)
        lattice = crystal.lattice.matrix * (1 - ulps * 2.0**-52)
        assert fingerprint(Structure(Lattice(lattice), crystal.species, moved)) == known
    # And the other side of the cell is the same place.
    ends = [[0.0, 0.5, 0.0], [1.0 - 2.0**-52, 0.5, -(2.0**-60)]]
    one, other = (
        fingerprint(Structure(Lattice.cubic(3.0), ["O", "O"], [end, [0.5, 0.5, z]]))
        for end, z in zip(ends, (0.0, 1.0), strict=True)
    )
    assert one == other


PROGRAM = """
from gpnet_ray.campaign.data_fingerprint import data_fingerprint
from gpnet_ray.campaign.preparation import screen
from gpnet_ray.config import Config
from gpnet_ray import hypothetical_dataset
from gpnet_ray.progress import NullProgress
dataset = hypothetical_dataset(300, seed=0, progress=NullProgress())
made = data_fingerprint(screen(dataset, Config(), NullProgress()))
print(made, made.of_bonds)
"""


def test_another_processor_gives_the_same_fingerprint() -> None:
    # OpenBLAS, which NumPy brings, computes as on these; another library passes over the variable.
    made = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "OPENBLAS_CORETYPE": core},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for core in ("Prescott", "Haswell")
    ]
    assert made[0][0] == made[1][0]


def test_it_can_be_copied_and_goes_through_json_as_what_it_is() -> None:
    now = fingerprint(oxide())
    copied = copy.deepcopy(now)
    assert (copied, copied.of_bonds) == (now, now.of_bonds)
    assert json.loads(json.dumps(now)) == str(now)


def test_a_run_of_an_earlier_version_is_gone_on_with(tmp_path: object) -> None:
    now = fingerprint(oxide(), oxide())
    other = fingerprint(oxide(c=3.9), oxide())
    for journaled in (str(now), now.of_bonds):
        check_same(tmp_path, {"data": journaled}, {"data": now})  # type: ignore[arg-type]
        with pytest.raises(RunFolderError, match=r"data: .* then"):
            check_same(tmp_path, {"data": journaled}, {"data": other})  # type: ignore[arg-type]


def test_the_fingerprint_of_the_data_depends_on_every_global_feature() -> None:
    def of(names: tuple[str, ...], state: list[list[float]]) -> DataFingerprint:
        crystals = [oxide(), oxide()]
        for crystal, values in zip(crystals, state, strict=True):
            crystal.properties.update(zip(names, values, strict=True))
        return fingerprint(*crystals, features=names)

    names = ("pressure_GPa", "temperature_K")
    known = of(names, [[1.0, 300.0], [2.0, 400.0]])
    assert of(names, [[1.0, 300.0], [2.0, 400.0]]) == known
    assert of(names, [[1.0, 300.0], [2.0, 400.0 + 1e-12 * 400.0]]) != known
    assert of(names[:1], [[1.0], [2.0]]) != known
    assert of((), [[], []]) != known
