"""Crystals of a pool as graphs, and graphs as Arrow columns, in which they go from the CPUs that make them to a GPU.

Reading a crystal and finding its bonds takes a CPU about ten times as long as its forward pass takes a GPU, so a
process that did both would leave its GPU idle most of the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gpnet_ray.gnn.flat_arrays import offsets_of

if TYPE_CHECKING:
    from gpnet_ray.config import NetworkConfig
    from gpnet_ray.data.dataset import RejectedMaterial
    from gpnet_ray.data.structure_parsing import ParsedStructure
    from gpnet_ray.gnn.graphs import CrystalGraphs

__all__ = ["BlockGraphs", "graph_columns", "graphs_of_columns", "graphs_of_crystals"]

REASON = ("category", "where", "reason")
OF_BONDS = ("bond_sources", "bond_targets", "bond_lengths_angstrom")


class BlockGraphs(NamedTuple):
    """The graphs of one block of a pool.

    Attributes:
        ids: all ids of the block, in its order.
        graphs: of those that have one, in that order.
        rejected: all others.
        warned: what pymatgen warned of, by id.
    """

    ids: list[str]
    graphs: CrystalGraphs
    rejected: tuple[RejectedMaterial, ...]
    warned: dict[str, list[str]]


def graphs_of_crystals(block: pa.Table, network: NetworkConfig) -> BlockGraphs:
    """Make the graphs of a block.

    Args:
        block: text in all columns: ``material_id``, ``structure`` (pymatgen JSON or CIF), and the numbers.
        network: says the cut-off and the global features.
    """
    from gpnet_ray.data.dataset import RejectedMaterial
    from gpnet_ray.gnn.graphs import build_graphs

    ids = [str(name).strip() for name in block.column("material_id").to_pylist()]
    texts = block.column("structure").to_pylist()
    features = block.select(network.global_features).to_pylist() or [{}] * len(ids)
    parsed = [_parse(*row) for row in zip(ids, texts, features, strict=True)]
    rejected = [p for p in parsed if isinstance(p, RejectedMaterial)]
    usable = {i: p for i, p in zip(ids, parsed, strict=True) if not isinstance(p, RejectedMaterial)}
    graphs, without_graph = build_graphs(
        list(usable),
        [p.structure for p in usable.values()],
        cutoff_angstrom=network.cutoff_angstrom,
        global_features=network.global_features,
        may_be_none=True,
    )
    warned = {i: list(p.warnings) for i, p in usable.items() if p.warnings}
    return BlockGraphs(ids, graphs, (*rejected, *without_graph), warned)


def graph_columns(block: pa.Table, network: NetworkConfig) -> pa.Table:
    """Make the graphs of a block, and give them as columns that Ray can hand on.

    Args:
        block: as :func:`graphs_of_crystals` takes it.
        network: says the cut-off and the global features.

    Returns:
        One row an id, in the order of the block: lists of what :class:`~gpnet_ray.gnn.graphs.CrystalGraphs` has of
        each crystal, or empty ones and the reason why there is no graph.
    """
    ids, graphs, rejected, warned = graphs_of_crystals(block, network)
    # The graphs are in the order of the block: what has none is a row without values between them.
    row_of = {name: row for row, name in enumerate(ids)}
    rows = [row_of[name] for name in graphs.ids]
    counts = np.zeros((3, len(ids)), dtype=np.int64)
    counts[:, rows] = (
        graphs.n_atoms(),
        graphs.n_bonds(),
        np.full(len(graphs), graphs.state.shape[1]),
    )
    columns: dict[str, pa.Array] = {"material_id": pa.array(ids, pa.string())}
    columns["atomic_numbers"] = _lists(graphs.atomic_numbers, counts[0])
    columns |= {name: _lists(getattr(graphs, name), counts[1]) for name in OF_BONDS}
    columns["state"] = _lists(graphs.state.ravel(), counts[2])
    columns["warnings"] = pa.array([warned.get(i) for i in ids], pa.list_(pa.string()))
    reasons = {r.material_id: r for r in rejected}
    for name in REASON:
        texts = [getattr(reasons[i], name) if i in reasons else None for i in ids]
        columns[name] = pa.array(texts, pa.string())
    return pa.table(columns)


def graphs_of_columns(block: pa.Table, network: NetworkConfig) -> BlockGraphs:
    """The reverse of :func:`graph_columns`; names of crystals, which trainings need, are left out."""
    from gpnet_ray.data.dataset import RejectedMaterial
    from gpnet_ray.gnn.graphs import CrystalGraphs

    has_graph = pc.is_null(block.column("category"))
    good = block.filter(has_graph)
    bad = block.filter(pc.invert(has_graph)).select(["material_id", *REASON])
    said = block.filter(pc.is_valid(block.column("warnings"))).select(["material_id", "warnings"])
    graphs = CrystalGraphs(
        ids=tuple(good.column("material_id").to_pylist()),
        atomic_numbers=_flat(good.column("atomic_numbers")),
        bond_sources=_flat(good.column("bond_sources")),
        bond_targets=_flat(good.column("bond_targets")),
        bond_lengths_angstrom=_flat(good.column("bond_lengths_angstrom")),
        atom_offsets=_offsets(good.column("atomic_numbers")),
        bond_offsets=_offsets(good.column("bond_sources")),
        cutoff_angstrom=network.cutoff_angstrom,
        global_features=network.global_features,
        state=_flat(good.column("state")).reshape(good.num_rows, len(network.global_features)),
    )
    return BlockGraphs(
        ids=block.column("material_id").to_pylist(),
        graphs=graphs,
        rejected=tuple(RejectedMaterial(**row) for row in bad.to_pylist()),
        warned={row["material_id"]: row["warnings"] for row in said.to_pylist()},
    )


def _parse(
    material_id: str, text: str | None, features: dict[str, str | None]
) -> ParsedStructure | RejectedMaterial:
    from gpnet_ray.data.dataset import RejectedMaterial
    from gpnet_ray.data.raw_materials import number_or_none
    from gpnet_ray.data.structure_parsing import BadStructureError, parse_structure

    try:
        parsed = parse_structure(text)
    except BadStructureError as error:
        return RejectedMaterial(material_id, error.category, error.detail, "reading the crystal")
    for name, given in features.items():
        number = number_or_none(given)
        parsed.structure.properties[name] = given if number is None else number
    return parsed


def _lists(flat: npt.NDArray[Any], counts: npt.NDArray[np.int64]) -> pa.LargeListArray:
    """Values of all crystals behind each other as one list a crystal."""
    return pa.LargeListArray.from_arrays(pa.array(offsets_of(counts)), pa.array(flat))


def _flat(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """The reverse of :func:`_lists`: the values."""
    values: npt.NDArray[Any] = column.combine_chunks().flatten().to_numpy()
    return values


def _offsets(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """The reverse of :func:`_lists`: where each crystal begins, and where the last one ends."""
    return offsets_of(pc.list_value_length(column).to_numpy())
