"""The actor that turns blocks of a pool into latent vectors, and into predictions with a σ."""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from gpnet_ray.actors.pool_graphs import graphs_of_columns, graphs_of_crystals
from gpnet_ray.latent_columns import NOT_FINITE, latent_column

if TYPE_CHECKING:
    from gpnet_ray.campaign.surrogate import Surrogate
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
        graphs_given: whether blocks are what :func:`~gpnet_ray.actors.pool_graphs.graph_columns` gives, not crystals.
    """

    def __init__(
        self, network: NetworkState, surrogate: Surrogate | None = None, graphs_given: bool = False
    ) -> None:
        from gpnet_ray.gnn.featurize import Featurizer

        self._featurizer = Featurizer(network)
        self._network = network.config
        self._graphs_given = graphs_given
        self._surrogate = surrogate
        if surrogate is not None:
            self._posterior = surrogate.posterior()

    def __call__(self, block: pa.Table) -> pa.Table:
        """Featurise a block: ids, crystals and a column for each global feature of the network.

        All columns are text: ``material_id``, ``structure`` (pymatgen JSON or CIF), and the numbers. Every id of
        the block is in exactly one row of the answer; rejected ones, also those of which the network makes no
        finite numbers, have a reason and nulls. Or graphs, if they are given.
        """
        from gpnet_ray.data.dataset import RejectedMaterial

        graphs_of = graphs_of_columns if self._graphs_given else graphs_of_crystals
        ids, graphs, rejected, warned = graphs_of(block, self._network)
        _, latents, predictions = self._featurizer.featurize(graphs)
        # A global feature beyond float32 is enough. The Gaussian process refuses whole blocks with such a row.
        usable = np.isfinite(latents).all(axis=1) & np.isfinite(predictions)
        rejected += tuple(RejectedMaterial(i, *NOT_FINITE) for i in compress(graphs.ids, ~usable))
        names = list(compress(graphs.ids, usable))
        latents, predictions = latents[usable], predictions[usable]
        values: dict[str, pa.Array] = {
            "material_id": pa.array(names, pa.string()),
            "latent": latent_column(latents),
            "network_prediction": pa.array(predictions),
            "warnings": pa.array([warned.get(name) for name in names], pa.list_(pa.string())),
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


def _filled(schema: pa.Schema, columns: dict[str, pa.Array]) -> pa.Table:
    """Make a table of the whole schema; columns that are not given are null."""
    n = len(columns["material_id"])
    arrays = [
        columns[field.name] if field.name in columns else pa.nulls(n, field.type)
        for field in schema
    ]
    return pa.table(arrays, schema=schema)
