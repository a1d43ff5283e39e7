"""What people do with a finished network or surrogate: latents into a folder, predictions into a table."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from gpnet_ray.actors.cluster import connected
from gpnet_ray.actors.settings import ResourcesConfig
from gpnet_ray.campaign.arguments import check_is_dataset, check_is_surrogate
from gpnet_ray.campaign.featurised_warnings import say_warnings
from gpnet_ray.campaign.featurising import featurise
from gpnet_ray.campaign.latent_folder import (
    cache_key,
    copy_latents,
    featurised_from,
    keep_latents,
    write_latents,
)
from gpnet_ray.campaign.pool_sources import dataset_source
from gpnet_ray.campaign.rejected import none_usable, split_rejected
from gpnet_ray.config import Config
from gpnet_ray.errors import DataError, InputError
from gpnet_ray.output_place import check_new_folder
from gpnet_ray.progress import NullProgress, Progress

if TYPE_CHECKING:
    import pandas as pd

    from gpnet_ray.campaign.pool_sources import PoolSource
    from gpnet_ray.campaign.surrogate import Surrogate
    from gpnet_ray.data.dataset import MaterialsDataset, RejectedMaterial
    from gpnet_ray.gnn.network_state import NetworkState

__all__ = ["featurise_into", "predict", "predict_pool"]


def featurise_into(
    folder: Path,
    source: PoolSource,
    network: NetworkState,
    *,
    cache: Path | None = None,
    resources: ResourcesConfig,
    progress: Progress,
) -> dict[str, Any]:
    """Write the latents of a pool into a folder, from the cache where they are there already.

    Args:
        folder: Empty, or not there yet.
        source: The crystals.
        network: The network.
        cache: Folder of folders named by the hash of network and crystals; what is not there yet, or no longer as
            it was written, is added.
        resources: How many actors, with how many threads or GPUs.
        progress: Where progress is shown.

    Returns:
        The folder's manifest; see :mod:`gpnet_ray.data.pool_folder`.

    Raises:
        DataError: none of the crystals could be used.
        RunFolderError: the folder is occupied.
    """
    check_new_folder(folder)
    kept = None if cache is None else cache / cache_key(network, source.fingerprint)
    if kept is not None and kept.is_dir():
        try:
            content = copy_latents(kept, folder, progress=progress)
        except DataError as error:
            progress.line(
                f"Warning: what the cache holds is not what was written, and is computed again: {error}"
            )
        else:
            progress.line(
                f"Latents of the same network and crystals were in {kept}: not computed again"
            )
            return content
    about = featurised_from(source, network)
    start = time.monotonic()
    with connected(resources):
        tables = featurise(source, network, resources=resources, progress=progress)
        said = say_warnings(tables, progress)
        if kept is None:
            content = write_latents(folder, said, rejected=source.rejected, about=about)
        else:
            keep_latents(kept, said, rejected=source.rejected, about=about)
    seconds = time.monotonic() - start
    progress.line(
        f"{source.total} crystals in {seconds:.1f} s, {source.total / seconds:.0f} a second"
    )
    return content if kept is None else copy_latents(kept, folder, progress=progress)


def predict_pool(
    source: PoolSource,
    network: NetworkState,
    surrogate: Surrogate | None,
    *,
    level: float | None = None,
    resources: ResourcesConfig,
    progress: Progress,
) -> tuple[pa.Table, list[RejectedMaterial]]:
    """Predict the target of every crystal of a pool.

    Args:
        source: The crystals.
        network: The network.
        surrogate: With its Gaussian process, where there is one.
        level: Share of observations that an interval is to hold, between 0 and 1; ``None``: no intervals.
        resources: How many actors, with how many threads or GPUs.
        progress: Where progress is shown.

    Returns:
        ``material_id``, ``mean`` and ``sigma`` of an observation (target's unit) in the order of the source,
        with ``network_prediction``, the network's own output; without a surrogate that alone. With a
        ``level`` also ``lower`` and ``upper``, the ends of its interval. And the materials that have
        no prediction.

    Raises:
        DataError: none of the crystals could be used.
    """
    columns = ["material_id", *(["mean", "sigma"] if surrogate else []), "network_prediction"]
    rejected, parts = list(source.rejected), []
    with connected(resources):
        tables = featurise(
            source, network, surrogate=surrogate, resources=resources, progress=progress
        )
        for table in say_warnings(tables, progress):
            good, bad = split_rejected(table)
            parts.append(good.select(columns))
            rejected += bad
    predictions = pa.concat_tables(parts) if parts else None
    if predictions is None or not predictions.num_rows:
        raise none_usable(rejected)
    if surrogate is not None and level is not None:
        predictions = _with_interval(predictions, surrogate, level)
    return predictions.replace_schema_metadata({b"unit": network.unit.encode()}), rejected


def predict(
    surrogate: Surrogate,
    dataset: MaterialsDataset,
    *,
    level: float | None = None,
    config: Config | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Predict the target of crystals with its σ.

    Args:
        surrogate: Network and Gaussian process, from ``load_surrogate`` or ``train_surrogate``.
        dataset: The crystals; labels are not looked at.
        level: Share of observations that an interval is to hold, between 0 and 1; ``None``: no intervals.
        config: Its ``resources`` are used.
        progress: Where progress is shown; nowhere where left out.

    Returns:
        A row an id of the dataset, in its order, then what it had rejected: ``material_id``, ``mean`` and ``sigma`` of an
        observation, ``network_prediction``, with a level ``lower`` and ``upper`` (target's unit), and ``rejected``:
        empty, or why there are no numbers (NaN).

    Raises:
        DataError: none of the crystals could be used.
        InputError: no such level, or something else than a surrogate or a dataset.
    """
    check_is_surrogate(surrogate)
    check_is_dataset(dataset)
    if level is not None and not 0 < level < 1:
        raise InputError(f"level {level}: the share has to lie between 0 and 1")
    network = surrogate.network
    source = dataset_source(dataset, global_features=network.config.global_features)
    predictions, rejected = predict_pool(
        source,
        network,
        surrogate,
        level=level,
        resources=(config or Config()).resources,
        progress=progress or NullProgress(),
    )
    table = predictions.to_pandas().set_index("material_id")
    reasons = {r.material_id: f"{r.category}: {r.reason}" for r in rejected}
    ids = [*dataset.ids, *(r.material_id for r in dataset.rejected)]
    found = table.reindex(ids).rename_axis("material_id").reset_index()
    return found.assign(rejected=[reasons.get(i, "") for i in ids])


def _with_interval(predictions: pa.Table, surrogate: Surrogate, level: float) -> pa.Table:
    """Add the ends of the interval that holds a share ``level`` of observations, after σ."""
    half_width = float(surrogate.recalibration.half_widths(np.array([level]))[0])
    mean, sigma = (np.asarray(predictions.column(name)) for name in ("mean", "sigma"))
    place = predictions.column_names.index("sigma") + 1
    for name, end in (("upper", mean + half_width * sigma), ("lower", mean - half_width * sigma)):
        predictions = predictions.add_column(place, name, pa.array(end))
    return predictions
