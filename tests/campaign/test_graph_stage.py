"""Graphs that tasks make and actors are handed: what comes out is what actors give that make their graphs."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from support.ask_tell import small_config, small_network
from support.command_line import rock_salt, rows

from gpnet_ray.actors import pool_crew
from gpnet_ray.actors.pool_featurizer import PoolFeaturizer
from gpnet_ray.actors.pool_graphs import graph_columns
from gpnet_ray.actors.settings import ResourcesConfig
from gpnet_ray.campaign import featurising
from gpnet_ray.campaign.pool_sources import PoolSource
from gpnet_ray.data.structure_parsing import structure_text
from gpnet_ray.gnn.architecture import weight_shapes
from gpnet_ray.gnn.global_state import StateScaling
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.latent_columns import latent_matrix
from gpnet_ray.progress import NullProgress


def reading(*features: str) -> NetworkState:
    """A network that reads global features."""
    config = small_config().network.model_copy(update={"global_features": features})
    rng = np.random.default_rng(1)
    weights = {
        name: rng.normal(scale=0.4, size=shape).astype(np.float32)
        for name, shape in weight_shapes(config).items()
    }
    scaling = StateScaling((0.5,) * len(features), (2.0,) * len(features))
    return dataclasses.replace(
        small_network(small_config()), config=config, weights=weights, state_scaling=scaling
    )


def crystals(n: int) -> pa.Table:
    """Of different sizes, some of them unusable in each of the ways."""
    made = [structure_text(row["structure"]) for row in rows(n)]
    made[1] = structure_text(rock_salt("Mg", 4.2) * (2, 1, 1))
    made[3] = "not a crystal"
    made[5] = structure_text(rock_salt("Mg", 40.0))
    # The formula that a CIF states is not that of its atoms.
    made[6] = rock_salt("Mg", 4.2).to(fmt="cif").replace("'Mg1 O1'", "'Mg1 O2'")
    pressures = [repr(n / 3) for n in range(n)]
    pressures[7] = "5 GPa"
    return pa.table(
        {
            "material_id": [f"m-{n}" for n in range(n)],
            "structure": made,
            "pressure_GPa": pressures,
            "charge_e": ["0.5"] * n,
        }
    )


@pytest.mark.parametrize("features", [(), ("pressure_GPa", "charge_e")])
def test_graphs_that_came_as_columns_give_the_same_bits(features):
    network, block = reading(*features), crystals(12)
    columns = graph_columns(block, network.config)
    # As Ray Data hands them on: cut, and put together of several pieces.
    pieces = pa.concat_tables([columns.slice(0, 5), columns.slice(5, 1), columns.slice(6)])
    expected = PoolFeaturizer(network)(block)
    found = PoolFeaturizer(network, None, True)(pieces)
    assert found.equals(expected)
    bad = {3, 5, 7} if features else {3, 5}
    assert found.column("category").is_valid().to_pylist() == [n in bad for n in range(12)]
    assert found.column("warnings").is_valid().to_pylist() == [n == 6 for n in range(12)]


def test_a_block_without_a_usable_crystal_passes():
    network, block = reading("pressure_GPa"), crystals(12).slice(3, 1)
    columns = graph_columns(block, network.config)
    found = PoolFeaturizer(network, None, True)(columns)
    assert found.equals(PoolFeaturizer(network)(block))
    assert found.column("category").to_pylist() == ["does not parse"]


@pytest.mark.long
def test_two_stages_on_ray_give_the_rows_of_one_and_do_not_run_where_crystals_are_read(
    small_ray, monkeypatch, tmp_path
):
    import ray.data

    network, n = reading(), 2000
    some = crystals(40).select(["material_id", "structure"])
    some = pa.concat_tables([some] * (n // 40))
    some = some.set_column(0, "material_id", pa.array([f"m-{n}" for n in range(n)]))

    def open_source(cpus, n_done):
        def read(_):
            Path(tmp_path, f"read-{os.getpid()}").touch()
            for start in range(0, n, 512):
                yield some.slice(start, 512)

        one = ray.data.from_arrow(pa.table({"part": [0]}))
        return one.map_batches(read, num_cpus=cpus, batch_format="pyarrow")

    def noted(block, network):
        Path(tmp_path, f"graphs-{os.getpid()}").touch()
        return graph_columns(block, network)

    def through() -> pa.Table:
        source = PoolSource("made up", "1", n, (), open_source)
        resources = ResourcesConfig()
        parts = featurising.featurise(source, network, resources=resources, progress=NullProgress())
        return pa.concat_tables(list(parts))

    def apart(*asked):
        # As with one GPU: one actor, one task that reads, and room for two that make graphs.
        share = pool_crew.Ask(0.5, 0)
        return pool_crew.PoolCrew(1, share, 1, graphs_apart=True, task=share)

    one = through()
    monkeypatch.setattr(featurising, "graph_columns", noted)
    monkeypatch.setattr(featurising, "pool_crew", apart)
    # More blocks than one, of so few crystals.
    monkeypatch.setattr(featurising, "BLOCK_OF_GRAPHS_MEBIBYTES", 1)
    two = through()
    texts = ["material_id", "category", "where", "reason"]
    assert two.select(texts).equals(one.select(texts))
    # pymatgen lists elements in the order of a set, which is another one in each process.
    sorted_warnings = [
        [sorted("".join(said)) if said else None for said in table.column("warnings").to_pylist()]
        for table in (one, two)
    ]
    assert sorted_warnings[1] == sorted_warnings[0]
    assert two.column("material_id").to_pylist() == some.column("material_id").to_pylist()
    latents = [latent_matrix(table.column("latent").drop_null()) for table in (one, two)]
    # The same crystals in other batches: float32 sums in another order.
    assert latents[1] == pytest.approx(latents[0], abs=1e-5)
    # Were they joined to one stage, one process would make all graphs of a file.
    by = {
        kind: {p.name.partition("-")[2] for p in tmp_path.glob(f"{kind}-*")}
        for kind in ("read", "graphs")
    }
    assert by["read"]
    assert by["graphs"]
    assert not by["read"] & by["graphs"]
