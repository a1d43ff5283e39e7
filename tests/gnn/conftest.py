"""Small crystals and a tiny network that all tests of the graph network share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from pymatgen.core import Lattice, Structure

from gpnet_ray.config import NetworkConfig
from gpnet_ray.gnn.architecture import gaussian_centers
from gpnet_ray.gnn.graphs import CrystalGraphs, build_graphs

CUTOFF_ANGSTROM = 4.0


def primitive_rock_salt(cation: str, a: float) -> Structure:
    lattice = Lattice(a / 2 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]))
    return Structure(lattice, [cation, "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def rutile(cation: str, a: float) -> Structure:
    u = 0.305
    oxygens = [[u, u, 0], [-u, -u, 0], [0.5 + u, 0.5 - u, 0.5], [0.5 - u, 0.5 + u, 0.5]]
    return Structure(
        Lattice.tetragonal(a, 0.644 * a),
        [cation] * 2 + ["O"] * 4,
        [[0, 0, 0], [0.5, 0.5, 0.5], *oxygens],
    )


def perovskite(large: str, small: str, a: float) -> Structure:
    return Structure(
        Lattice.cubic(a),
        [large, small, "O", "O", "O"],
        [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
    )


def make_structures(count: int, *, seed: int = 0) -> list[Structure]:
    """Slightly distorted oxides of 2 to 40 atoms, so that no two bonds are of equal length."""
    rng = np.random.default_rng(seed)
    structures = []
    for i in range(count):
        cation = rng.choice(["Mg", "Ca", "Mn", "Ni", "Cd", "Sr"])
        scale = rng.uniform(0.95, 1.08)
        prototype = [
            lambda s=scale, c=cation: primitive_rock_salt(c, 4.3 * s),
            lambda s=scale: rutile(rng.choice(["Ti", "Sn", "Mn"]), 4.6 * s),
            lambda s=scale: perovskite(
                rng.choice(["Sr", "Ba", "La"]), rng.choice(["Ti", "Zr"]), 3.95 * s
            ),
            lambda s=scale, c=cation: primitive_rock_salt(c, 4.3 * s) * (2, 2, 1),
            lambda s=scale: perovskite("Sr", "Ti", 3.95 * s) * (2, 2, 2),
        ][i % 5]()
        prototype.perturb(0.05, seed=int(rng.integers(2**31)))
        structures.append(prototype)
    return structures


@pytest.fixture
def sums_in_one_order() -> None:
    """For tests of equality to the last bit, which holds on a CPU."""
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("a GPU adds the bonds of an atom in another order each time")


@pytest.fixture(scope="session")
def structures() -> list[Structure]:
    return make_structures(40)


@pytest.fixture(scope="session")
def graphs(structures: list[Structure]) -> CrystalGraphs:
    built, rejected = build_graphs(
        [f"crystal-{i}" for i in range(len(structures))],
        structures,
        cutoff_angstrom=CUTOFF_ANGSTROM,
    )
    assert not rejected
    return built


GLOBAL_FEATURES = ("temperature_K", "pressure_GPa", "charge_e")


@pytest.fixture(scope="session")
def graphs_with_features(graphs: CrystalGraphs) -> CrystalGraphs:
    """The same crystals, each at conditions of its own, of very different magnitudes."""
    state = np.random.default_rng(8).normal([300.0, 5.0, 0.0], [40.0, 2.0, 1e-3], (len(graphs), 3))
    return dataclasses.replace(graphs, global_features=GLOBAL_FEATURES, state=state)


@pytest.fixture(scope="session")
def learnable_targets(graphs: CrystalGraphs) -> np.ndarray:
    """A target that a network can learn: mean bond length and mean atomic number of a crystal."""
    lengths = np.add.reduceat(graphs.bond_lengths_angstrom, graphs.bond_offsets[:-1])
    numbers = np.add.reduceat(graphs.atomic_numbers, graphs.atom_offsets[:-1])
    return (lengths / graphs.n_bonds() + 0.05 * numbers / graphs.n_atoms()).astype(np.float64)


@pytest.fixture(scope="session")
def tiny_network() -> NetworkConfig:
    """Two blocks, so that the feed-forward layers that only later blocks have are there too."""
    return NetworkConfig(
        n_blocks=2, n1=12, n2=8, n3=4, n_gaussians=10, set2set_passes=2, embedding_dim=5
    )


@pytest.fixture(scope="session")
def keras_inputs() -> Callable[[CrystalGraphs, NetworkConfig], list[np.ndarray]]:
    return flatten_as_megnet_does


def flatten_as_megnet_does(graphs, network: NetworkConfig) -> list[np.ndarray]:
    """Flatten crystals as megnet's batch generator does: a leading axis of one, and two zeros without features."""
    n_atoms, n_bonds = graphs.n_atoms(), graphs.n_bonds()
    first = np.repeat(graphs.atom_offsets[:-1], n_bonds)
    centers, width = gaussian_centers(network), network.gaussian_width_angstrom
    distances = graphs.bond_lengths_angstrom.astype(np.float64)
    expanded = np.exp(-(((distances[:, None] - centers) / width) ** 2))
    arrays = [
        graphs.atomic_numbers,
        expanded.astype(np.float32),
        graphs.state.astype(np.float32) if graphs.global_features else np.zeros((len(graphs), 2)),
        (graphs.bond_sources + first).astype(np.int32),
        (graphs.bond_targets + first).astype(np.int32),
        np.repeat(np.arange(len(graphs)), n_atoms).astype(np.int32),
        np.repeat(np.arange(len(graphs)), n_bonds).astype(np.int32),
    ]
    return [a[None] for a in arrays]


@pytest.fixture(scope="session")
def tiniest_network() -> NetworkConfig:
    """One block and one pass: what compiles fastest."""
    return NetworkConfig(
        n_blocks=1, n1=12, n2=8, n3=4, n_gaussians=10, set2set_passes=1, embedding_dim=5
    )
