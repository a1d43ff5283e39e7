"""A pool in blocks through Ray Data: every id comes out once, with its own latent or its own reason."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.command_line import rock_salt, rows, write_parquet
from support.kept_lines import KeptLines

from gpnet_ray.actors.settings import ResourcesConfig
from gpnet_ray.campaign.featurising import featurise
from gpnet_ray.campaign.pool_build import build_pool
from gpnet_ray.campaign.pool_sources import (
    embedded_oxides,
    holds_one_crystal,
    pool_source,
    structure_files,
)
from gpnet_ray.campaign.surrogate_use import featurise_into, predict_pool
from gpnet_ray.config import NetworkConfig
from gpnet_ray.data.dataset import MaterialsDataset
from gpnet_ray.data.hypothetical_oxides import hypothetical_oxides
from gpnet_ray.data.readers import read_dataset
from gpnet_ray.data.structure_parsing import BadStructureError, parse_structure
from gpnet_ray.errors import DataError, InputError
from gpnet_ray.gnn.architecture import weight_shapes
from gpnet_ray.gnn.featurize import Featurizer
from gpnet_ray.gnn.global_state import StateScaling
from gpnet_ray.gnn.graphs import build_graphs
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.latent_columns import latent_matrix
from gpnet_ray.progress import NullProgress

TINY = NetworkConfig(
    n_blocks=1, n1=12, n2=8, n3=4, n_gaussians=10, set2set_passes=1, embedding_dim=5
)


@pytest.fixture(scope="module")
def network() -> NetworkState:
    rng = np.random.default_rng(0)
    return NetworkState(
        config=TINY,
        weights={
            name: rng.normal(scale=0.3, size=shape).astype(np.float32)
            for name, shape in weight_shapes(TINY).items()
        },
        target_mean=-1.0,
        target_scale=2.0,
        target="energy",
        unit="eV/atom",
    )


def open_source(dataset: Path | str, *features: str):
    return pool_source(
        str(dataset),
        global_features=features,
        id_column="material_id",
        structure_column="structure",
        seed=3,
        progress=NullProgress(),
    )


def through(source, network, **more) -> pa.Table:
    resources = ResourcesConfig()
    parts = featurise(source, network, resources=resources, progress=NullProgress(), **more)
    return pa.concat_tables(list(parts))


def test_every_id_has_its_own_latent_or_its_reason(small_ray, network, tmp_path):
    made = rows(40)
    crystals = {row["material_id"]: row["structure"] for row in made}
    made[3]["structure"] = "not a crystal"
    made[17]["structure"] = rock_salt("Mg", 40.0)
    plutonium = rock_salt("Mg", 4.5)
    plutonium.replace(0, "Cm")
    made[18]["structure"] = plutonium
    table = through(open_source(write_parquet(tmp_path / "pool.parquet", made)), network)

    assert table.column("material_id").to_pylist() == list(crystals)
    reason = dict(zip(crystals, table.column("category").to_pylist(), strict=True))
    assert {i: r for i, r in reason.items() if r} == {
        "m-003": "does not parse",
        "m-017": "no bond inside the cut-off",
        "m-018": "unknown element",
    }
    good = table.filter(pa.array([reason[i] is None for i in crystals]))
    ids = good.column("material_id").to_pylist()
    graphs, _ = build_graphs(ids, [crystals[i] for i in ids], cutoff_angstrom=TINY.cutoff_angstrom)
    _, latents, predictions = Featurizer(network).featurize(graphs)
    # The same crystals in other batches: float32 sums in another order.
    assert latent_matrix(good.column("latent")) == pytest.approx(latents, abs=1e-5)
    assert good.column("network_prediction").to_numpy() == pytest.approx(predictions, abs=1e-5)


def test_several_row_groups_and_other_column_names_on_all_cpus(small_ray, network, tmp_path):
    # More blocks than CPUs, so that every CPU has its actor and nothing else may ask for a whole one.
    made = [{"name": i, "crystal": row["structure"]} for i, row in enumerate(rows(40) * 30)]
    texts = [json.dumps(row["crystal"].as_dict()) for row in made]
    table = pa.table({"name": [row["name"] for row in made], "crystal": texts})
    pq.write_table(table, tmp_path / "pool.parquet", row_group_size=500)
    source = pool_source(
        str(tmp_path / "pool.parquet"),
        id_column="name",
        structure_column="crystal",
        seed=0,
        progress=NullProgress(),
    )
    featurised = through(source, network)
    assert featurised.column("material_id").to_pylist() == [str(i) for i in range(1200)]
    latents = latent_matrix(featurised.column("latent"))
    # The 40 crystals come again and again; float32 sums in another order.
    assert latents[:40] == pytest.approx(latents[1160:], abs=1e-5)


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([1.0, 1e-7, 0.1, 1e16]),
        pa.array([1.0, 2.0, 0.1, 4.0], pa.float32()),
        pa.array([7, -1, 2**40, 0]),
        pa.array([" a", "b ", "\tc", "d"], pa.large_string()),
        pa.array(["a", "b", "c", "d"]).dictionary_encode(),
        pa.array([dt.datetime(2026, 1, day) for day in range(1, 5)]),
        pa.array([b"a", b"b", b"c", b"d"]),
    ],
    ids=lambda ids: str(ids.type).partition("<")[0],
)
def test_ids_are_those_that_a_dataset_of_the_same_file_has(small_ray, tmp_path, ids):
    crystals = [json.dumps(row["structure"].as_dict()) for row in rows(4)]
    path = tmp_path / "pool.parquet"
    pq.write_table(pa.table({"material_id": ids, "structure": crystals}), path)
    dataset = read_dataset(path, target="", unit="", with_targets=False)
    blocks = open_source(path).open(1.0, 0).iter_batches(batch_size=None, batch_format="pyarrow")
    pool = pa.concat_tables(blocks).column("material_id").to_pylist()
    assert tuple(pool) == dataset.ids


@pytest.mark.parametrize("kind", ["struct", "json bytes", "cif bytes", "number"])
def test_crystals_of_a_parquet_file_are_those_that_a_dataset_of_the_same_file_has(
    small_ray, tmp_path, kind
):
    crystals = [row["structure"] for row in rows(3)]
    values = {
        "struct": [{k: v for k, v in s.as_dict().items() if k != "properties"} for s in crystals],
        "json bytes": [json.dumps(s.as_dict()).encode() for s in crystals],
        "cif bytes": [s.to(fmt="cif").encode() for s in crystals],
        "number": [1.5, None, 2.5],
    }[kind]
    if kind == "struct":
        for value in values:
            # Arrow has no struct without fields.
            value["sites"] = [
                {**s, "properties": {"seen": dt.date(2026, 1, 1)}} for s in value["sites"]
            ]
    path = tmp_path / "pool.parquet"
    pq.write_table(pa.table({"material_id": ["a", "b", "c"], "structure": pa.array(values)}), path)
    blocks = open_source(path).open(1.0, 0).iter_batches(batch_size=None, batch_format="pyarrow")
    texts = pa.concat_tables(blocks).column("structure").to_pylist()

    def read() -> MaterialsDataset:
        return read_dataset(path, target="", unit="", with_targets=False)

    if kind == "number":
        with pytest.raises(DataError, match="none of the 3 structures"):
            read()
        for text in texts:
            with pytest.raises(BadStructureError, match="does not parse"):
                parse_structure(text)
    else:
        for text, structure, given in zip(texts, read().structures, crystals, strict=True):
            for found in (parse_structure(text).structure, structure):
                assert found.composition == given.composition
                # CIF is written with eight digits.
                assert found.volume == pytest.approx(given.volume, rel=1e-6)


def test_bytes_that_are_ids_are_read_as_text_and_others_refused(tmp_path):
    crystals = [json.dumps(row["structure"].as_dict()) for row in rows(2)]
    path = tmp_path / "pool.parquet"
    for ids in ([b"mp-1", "mp-β".encode()], [b"mp-1", b"\xff\xfe"]):
        pq.write_table(pa.table({"material_id": ids, "structure": crystals}), path)
        if ids[1] != b"\xff\xfe":
            read = read_dataset(path, target="", unit="", with_targets=False)
            assert read.ids == ("mp-1", "mp-β")
            open_source(path)
            continue
        for reads in (
            open_source,
            lambda p: read_dataset(p, target="energy", unit="", with_targets=False),
        ):
            with pytest.raises(DataError, match=r"pool\.parquet: the id b'.xff.xfe' is no UTF-8"):
                reads(path)


def test_ids_that_are_the_same_as_text_are_duplicates_in_a_pool_and_a_dataset(tmp_path):
    # As text with the spaces taken off, which is what ids are compared by.
    twice = [{**row, "material_id": i} for row, i in zip(rows(2), ("m", " m"), strict=True)]
    numbers = [{**row, "material_id": 0.5} for row in rows(2)]
    for made, name in ((twice, "m"), (numbers, "0.5")):
        path = write_parquet(tmp_path / "twice.parquet", made)
        for read in (open_source, lambda p: read_dataset(p, target="energy", unit="eV/atom")):
            with pytest.raises(DataError, match=f"duplicate ids: {name}"):
                read(path)


def test_embedded_oxides_come_in_order_block_after_block(small_ray, network):
    table = through(embedded_oxides(1100, seed=3), network)
    expected = [name for name, _ in hypothetical_oxides(1100, seed=3)]
    assert table.column("material_id").to_pylist() == expected
    assert table.column("reason").null_count == 1100
    assert len(np.unique(latent_matrix(table.column("latent")), axis=0)) > 1000


def test_the_first_rows_can_be_left_out(small_ray, tmp_path):
    crystal = json.dumps(rock_salt("Mg", 4.2).as_dict())
    names = [f"m-{i}" for i in range(1300)]
    table = pa.table({"material_id": names, "structure": [crystal] * 1300})
    pq.write_table(table, tmp_path / "pool.parquet", row_group_size=600)
    cifs = [tmp_path / f"{i}.cif" for i in range(3)]
    for path in cifs:
        rock_salt("Mg", 4.2).to(filename=str(path))
    oxides = [name for name, _ in hypothetical_oxides(9, seed=3)]
    cases = [
        *((open_source(tmp_path / "pool.parquet"), names, n) for n in (600, 1115)),
        (embedded_oxides(9, seed=3), oxides, 4),
        (structure_files(cifs), [str(path) for path in cifs], 2),
    ]
    for source, ids, n_done in cases:
        left = pa.concat_tables(
            source.open(1.0, n_done).iter_batches(batch_size=None, batch_format="pyarrow")
        )
        assert left.column("material_id").to_pylist() == ids[n_done:]


def test_files_of_crystals(small_ray, network, tmp_path):
    crystal = rock_salt("Mg", 4.2)
    crystal.to(filename=str(tmp_path / "mgo.cif"))
    crystal.to(filename=str(tmp_path / "POSCAR"), fmt="poscar")
    (tmp_path / "broken.cif").write_text("data_nothing\n")
    source = structure_files([tmp_path / name for name in ("mgo.cif", "broken.cif", "POSCAR")])
    assert [r.material_id for r in source.rejected] == [str(tmp_path / "broken.cif")]
    table = through(source, network)
    assert table.column("material_id").to_pylist() == [
        str(tmp_path / "mgo.cif"),
        str(tmp_path / "POSCAR"),
    ]
    values = table.column("network_prediction").to_pylist()
    # CIF is written with eight digits.
    assert values[0] == pytest.approx(values[1], abs=1e-4)


def test_what_is_one_crystal_and_what_a_dataset_of_many(tmp_path):
    (tmp_path / "poscars").mkdir()
    (tmp_path / "contcar.vasp").mkdir()
    tables = (
        "poscar_oxides.parquet",
        "contcars.CSV",
        "POSCARs.json",
        "poscars.csv.gz",
        "POSCAR.pq",
    )
    for dataset in ("poscars", "contcar.vasp", "oxides.parquet", *tables):
        assert not holds_one_crystal(tmp_path / dataset), dataset
    for crystal in ("POSCAR", "POSCAR_mp-1.2", "contcar-relaxed", "a.CIF", "a.poscar", "b.vasp"):
        assert holds_one_crystal(tmp_path / crystal), crystal


def test_what_pymatgen_warned_of_is_said_with_ids_wherever_crystals_are_read(
    small_ray, network, tmp_path
):
    made = rows(4)
    # The formula that a CIF states is not that of its atoms: one of them is missing.
    made[2]["structure"] = rock_salt("Mg", 4.2).to(fmt="cif").replace("'Mg1 O1'", "'Mg1 O2'")
    parquet = write_parquet(tmp_path / "pool.parquet", made)
    cifs = [tmp_path / name for name in ("good.cif", "bad.cif")]
    cifs[0].write_text(rock_salt("Mg", 4.2).to(fmt="cif"))
    cifs[1].write_text(made[2]["structure"])
    how = {"resources": ResourcesConfig(), "progress": KeptLines()}
    lines = how["progress"].lines
    for read in (
        lambda: predict_pool(open_source(parquet), network, None, **how),
        lambda: featurise_into(tmp_path / "latents", open_source(parquet), network, **how),
        lambda: build_pool(tmp_path / "pool", open_source(parquet), network, **how),
        lambda: structure_files(cifs, progress=how["progress"]),
    ):
        lines.clear()
        read()
        said = [line for line in lines if "warned" in line]
        assert len(said) == 1
        assert "warned of 1 crystal" in said[0]
        assert "m-002" in said[0] or str(cifs[1]) in said[0]
        assert "Incorrect stoichiometry: CIF={" in said[0]


def test_the_fingerprint_is_that_of_the_content(tmp_path):
    made = rows(12)
    first = open_source(write_parquet(tmp_path / "a.parquet", made)).fingerprint
    again = open_source(write_parquet(tmp_path / "b.parquet", made)).fingerprint
    made[5]["structure"] = rock_salt("Mg", 4.77)
    changed = open_source(write_parquet(tmp_path / "c.parquet", made)).fingerprint
    assert first == again
    assert first != changed
    oxides = {embedded_oxides(n, seed=s).fingerprint for n, s in ((5, 0), (6, 0), (5, 1))}
    assert len(oxides) == 3


def test_what_cannot_be_a_pool_is_refused(tmp_path):
    twice = [{**row, "material_id": "same"} for row in rows(2)]
    with pytest.raises(DataError, match="duplicate ids: same"):
        open_source(write_parquet(tmp_path / "twice.parquet", twice))
    with pytest.raises(DataError, match=r"did you mean 'structure'"):
        pool_source(
            str(write_parquet(tmp_path / "p.parquet", rows(2))),
            id_column="material_id",
            structure_column="structur",
            seed=0,
            progress=NullProgress(),
        )
    with pytest.raises(InputError, match="hypothetical-oxides:5000"):
        open_source("hypothetical-oxides:many")
    pq.write_table(pa.table({"material_id": [], "structure": []}), tmp_path / "none.parquet")
    with pytest.raises(DataError, match="no rows"):
        open_source(tmp_path / "none.parquet")
    (tmp_path / "settings.json").write_text(json.dumps({}))
    with pytest.raises(DataError, match="no file"):
        structure_files([tmp_path / "nowhere.cif"])


@pytest.mark.parametrize("kind", ["parquet", "text", "json"])
def test_global_features_reach_the_network_from_every_kind_of_file(
    small_ray, network, tmp_path, kind
):
    config = TINY.model_copy(update={"global_features": ("pressure_GPa",)})
    shapes = weight_shapes(config)
    kernel = np.full(shapes["preblock_state_0/kernel"], 0.3, np.float32)
    pressed = dataclasses.replace(
        network,
        config=config,
        weights={**network.weights, "preblock_state_0/kernel": kernel},
        state_scaling=StateScaling((5.0,), (2.0,)),
    )
    # One crystal under five pressures, so that nothing else tells the rows apart.
    crystal = rock_salt("Mg", 4.2)
    made = [
        {"material_id": f"at-{p}", "structure": crystal, "pressure_GPa": float(p)} for p in range(5)
    ]
    path = tmp_path / ("pool.json" if kind == "json" else "pool.parquet")
    if kind == "parquet":
        write_parquet(path, [*made, {**made[0], "material_id": "at-none", "pressure_GPa": None}])
    elif kind == "text":
        texts = [{**row, "pressure_GPa": f" {row['pressure_GPa']}"} for row in made]
        write_parquet(
            path, [*texts, {**made[0], "material_id": "at-none", "pressure_GPa": "5 GPa"}]
        )
    else:
        texts = [{**row, "structure": row["structure"].as_dict()} for row in made]
        path.write_text(json.dumps(texts))
    table = through(open_source(path, "pressure_GPa"), pressed)
    for last in table.slice(5).to_pylist():
        assert (last["material_id"], last["category"]) == ("at-none", "no global feature")
        assert f"pressure_GPa: {None if kind == 'parquet' else '5 GPa'!r}" in last["reason"]
    assert table.num_rows == (5 if kind == "json" else 6)
    expected = []
    for pressure in range(5):
        alone = crystal.copy(properties={"pressure_GPa": pressure})
        graphs, _ = build_graphs(
            ["one"],
            [alone],
            cutoff_angstrom=TINY.cutoff_angstrom,
            global_features=config.global_features,
        )
        expected.append(Featurizer(pressed).featurize(graphs)[2][0])
    assert len(set(np.round(expected, 4))) == 5
    found = table.slice(0, 5).column("network_prediction").to_numpy()
    # The same crystal in other batches: float32 sums in another order.
    assert found == pytest.approx(expected, abs=1e-5)


def test_the_hash_of_a_pool_depends_on_the_features_that_are_read(tmp_path):
    made = [{**row, "pressure_GPa": 1.0, "charge_e": 0.0} for row in rows(4)]
    path = write_parquet(tmp_path / "a.parquet", made)
    features = [(), ("pressure_GPa",), ("pressure_GPa", "charge_e"), ("charge_e", "pressure_GPa")]
    assert len({open_source(path, *names).fingerprint for names in features}) == 4


def test_embedded_oxides_have_no_global_features():
    with pytest.raises(InputError, match=r"pressure_GPa, which hypothetical-oxides do not have"):
        open_source("hypothetical-oxides:5", "pressure_GPa")
