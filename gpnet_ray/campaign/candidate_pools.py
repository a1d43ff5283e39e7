"""The pools that a session picks from, as the driver sees them: manifests, and single points by their ids."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from gpnet_ray.campaign.surrogate import Surrogate
from gpnet_ray.data.dataset import name_some
from gpnet_ray.data.pool_folder import UNKNOWN_LAYER, MappedLatents, PoolFile, PoolFolder
from gpnet_ray.data.unique_ids import repeated_ids
from gpnet_ray.errors import DataError, InputError
from gpnet_ray.types import FloatArray

__all__ = ["CandidatePools"]


class CandidatePools:
    """Folders of latents that a surrogate can score; none of it is held in memory.

    Args:
        surrogate: Whose network made the latents.
    """

    def __init__(self, surrogate: Surrogate) -> None:
        self._surrogate = surrogate
        self._pools: list[PoolFolder] = []

    @property
    def files(self) -> tuple[PoolFile, ...]:
        """All files, in the order in which they came."""
        return tuple(self._files())

    @property
    def n_points(self) -> int:
        """How many points there are, labelled ones too."""
        return sum(pool.n_points for pool in self._pools)

    def opened(self, paths: Sequence[Path | str]) -> tuple[PoolFolder, ...]:
        """Look at more folders, which fit the surrogate and the pools that are here; none is taken in yet.

        Raises:
            DataError: there is no pool, one of its files is missing or damaged, or it has ids that another
                one has.
            InputError: latents of another network, layer or width.
        """
        # Shards look for the files from a folder of their own.
        new = tuple(PoolFolder.open(Path(path).resolve()) for path in paths)
        for pool in new:
            _check_fits(pool, self._surrogate)
        self._check_ids((*self._pools, *new))
        return new

    def take(self, pools: Iterable[PoolFolder]) -> None:
        """Take in what :meth:`opened` has looked at."""
        self._pools += pools

    def scaled(self, ids: Collection[str]) -> dict[str, FloatArray]:
        """Scaled latents (d,) of those ids that are in one of the pools, in the order of ``ids``."""
        wanted, found = list(ids), dict[str, FloatArray]()
        for file in self._files() if wanted else ():
            mapped = MappedLatents(file)
            rows = mapped.rows_of(wanted)
            if rows:
                X = self._surrogate.scaler.transform(mapped.latents[list(rows.values())])
                found.update(zip(rows, X, strict=True))
        return {i: found[i] for i in wanted if i in found}

    def among(self, ids: Collection[str], pool: PoolFolder) -> set[str]:
        """Those ids that are in a pool."""
        wanted = list(ids)
        return {i for file in pool.files for i in MappedLatents(file).rows_of(wanted)}

    def _files(self) -> Iterator[PoolFile]:
        return (file for pool in self._pools for file in pool.files)

    def _check_ids(self, pools: Sequence[PoolFolder]) -> None:
        # The ids of one pool are unique; whoever wrote it has seen to that.
        if len(pools) < 2:
            return
        repeated = repeated_ids(
            lambda: (MappedLatents(file).id_column for pool in pools for file in pool.files)
        )
        if repeated:
            holders = (str(pool.path) for pool in pools if self.among(repeated[:1], pool))
            raise DataError(
                f"{' and '.join(holders)} have the same ids: {name_some(repeated)}; name each pool once, or"
                " build it with ids of its own"
            )


def _check_fits(pool: PoolFolder, surrogate: Surrogate) -> None:
    """Refuse a pool whose latents are not those that the Gaussian process was fitted on."""
    network, width = surrogate.network, len(surrogate.scaler.offset)
    advice = "build the pool with the surrogate's network: gpnet-ray pool build --network SURROGATE"
    if pool.latent_width != width:
        raise InputError(
            f"{pool.path} has latents of width {pool.latent_width} and the surrogate's have {width}; {advice}"
        )
    # Drawn latents are no network's, and perhaps of no layer that anybody has named.
    if pool.layer not in (network.config.layer, UNKNOWN_LAYER):
        raise InputError(
            f"{pool.path} has latents of layer {pool.layer} and the surrogate's are of"
            f" {network.config.layer}; {advice}"
        )
    if pool.network is not None and pool.network != network.fingerprint():
        raise InputError(
            f"{pool.path} has latents of network {pool.network[:12]} and the surrogate's is"
            f" {network.fingerprint()[:12]}; {advice}"
        )
