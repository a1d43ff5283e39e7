"""The actor that turns blocks of a pool into latent vectors, and into predictions with a σ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from gpnet_ray.latent_columns import latent_column

if TYPE_CHECKING:
    from gpnet_ray.campaign.surrogate import Surrogate
    from gpnet_ray.data.dataset import RejectedMaterial
    from gpnet_ray.data.structure_parsing import ParsedStructure
    from gpnet_ray.gnn.graphs import CrystalGraphs
    from gpnet_ray.gnn.network_state import NetworkState

__all__ = ["PoolFeaturizer", "featurised_schema"]


def featurised_schema(width: int, *, with_sigma: bool) -> pa.Schema:
    """Columns of what comes out: one row an id, with values or with the reason why there are none.

    ``latent`` is float32 of the given width; ``network_prediction``, ``mean`` and ``sigma`` are in the
    target's unit; ``warnings`` are pymatgen's, null where there were none.
    """
    values = [
        ("material_id", pa.string()),
        ("latent", pa.list_(pa.float32(), width)),
        ("network_prediction", pa.float64()),
    ]
    if with_sigma:
        values += [("mean", pa.float64()), ("sigma", pa.float64())]
    reasons = [(name, pa.string()) for name in ("category", "where", "reason")]
    return pa.schema([*values, ("warnings", pa.list_(pa.string())), *reasons])


class PoolFeaturizer:
    """Holds the network, and the Gaussian process where there is one, for block after block.

    TensorFlow is imported inside the methods: the driver imports this module.

    Args:
        network: the network.
        surrogate: the whole surrogate of which the network is a part; without it there is no σ.
    """

    def __init__(self, network: NetworkState, surrogate: Surrogate | None = None) -> None:
        from gpnet_ray.gnn.featurize import Featurizer

        self._featurizer = Featurizer(network)
        self._network = network.config
        self._surrogate = surrogate
        if surrogate is not None:
            self._posterior = surrogate.posterior()

    def __call__(self, block: pa.Table) -> pa.Table:
        """Featurise a block: ids, crystals and a column for each global feature of the network.

        All columns are text: ``material_id``, ``structure`` (pymatgen JSON or CIF), and the numbers. Every id of
        the block is in exactly one row of the answer; rejected ones have a reason and nulls.
        """
        ids, graphs, rejected, warned = self._graphs(block)
        _, latents, predictions = self._featurizer.featurize(graphs)
        values: dict[str, pa.Array] = {
            "material_id": pa.array(graphs.ids, pa.string()),
            "latent": latent_column(latents),
            "network_prediction": pa.array(predictions),
            "warnings": pa.array([warned.get(i) for i in graphs.ids], pa.list_(pa.string())),
        }
        if self._surrogate is not None:
            mean, sigma = self._posterior.predict(self._surrogate.scaler.transform(latents))
            values |= {"mean": pa.array(mean), "sigma": pa.array(sigma)}
        reasons = {
            name: pa.array([getattr(r, name) for r in rejected], pa.string())
            for name in ("material_id", "category", "where", "reason")
        }
        schema = featurised_schema(latents.shape[1], with_sigma=self._surrogate is not None)
        table = pa.concat_tables([_filled(schema, values), _filled(schema, reasons)])
        # In the order of the block.
        row_of = {name: row for row, name in enumerate(table.column("material_id").to_pylist())}
        return table.take([row_of[name] for name in ids])

    def _graphs(
        self, block: pa.Table
    ) -> tuple[list[str], CrystalGraphs, tuple[RejectedMaterial, ...], dict[str, list[str]]]:
        from gpnet_ray.data.dataset import RejectedMaterial
        from gpnet_ray.gnn.graphs import build_graphs

        ids = [str(name).strip() for name in block.column("material_id").to_pylist()]
        texts = block.column("structure").to_pylist()
        features = block.select(self._network.global_features).to_pylist() or [{}] * len(ids)
        parsed = [_parse(*row) for row in zip(ids, texts, features, strict=True)]
        rejected = [p for p in parsed if isinstance(p, RejectedMaterial)]
        usable = {
            i: p for i, p in zip(ids, parsed, strict=True) if not isinstance(p, RejectedMaterial)
        }
        graphs, without_graph = build_graphs(
            list(usable),
            [p.structure for p in usable.values()],
            cutoff_angstrom=self._network.cutoff_angstrom,
            global_features=self._network.global_features,
            may_be_none=True,
        )
        warned = {i: list(p.warnings) for i, p in usable.items() if p.warnings}
        return ids, graphs, (*rejected, *without_graph), warned


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


def _filled(schema: pa.Schema, columns: dict[str, pa.Array]) -> pa.Table:
    """Make a table of the whole schema; columns that are not given are null."""
    n = len(columns["material_id"])
    arrays = [
        columns[field.name] if field.name in columns else pa.nulls(n, field.type)
        for field in schema
    ]
    return pa.table(arrays, schema=schema)
