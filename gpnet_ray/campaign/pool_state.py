"""What a session on pools knows beside its surrogate: labels that are told, what is pending, what is withdrawn."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpnet_ray.campaign.ask_tell_answers import check_plausible
from gpnet_ray.campaign.candidate_pools import CandidatePools
from gpnet_ray.campaign.surrogate import Surrogate
from gpnet_ray.data.dataset import name_some, several_ids
from gpnet_ray.data.pool_folder import PoolFile, PoolFolder
from gpnet_ray.errors import InputError
from gpnet_ray.oracles.protocol import real_number
from gpnet_ray.types import FloatArray

__all__ = ["Known", "PoolState"]


@dataclass(frozen=True)
class Known:
    """What the actors that score are to know beside the surrogate.

    Attributes:
        files: All files of the pools.
        points: Scaled latents (d,) of what counts as labelled, by id, in the order in which it came.
        labels: Those of them whose labels are told; the others are pending.
        withdrawn: What is never to be offered.
    """

    files: tuple[PoolFile, ...]
    points: Mapping[str, FloatArray]
    labels: Mapping[str, float]
    withdrawn: frozenset[str]


class PoolState:
    """The book that a session keeps; of the pools themselves it only looks up single ids."""

    def __init__(self, surrogate: Surrogate) -> None:
        """Begin with what the surrogate knows, and without a candidate."""
        self._unit = surrogate.network.unit
        self._pools = CandidatePools(surrogate)
        self._known_before = dict(zip(surrogate.ids, surrogate.labels.tolist(), strict=True))
        self._labels: dict[str, float] = {}
        self._points: dict[str, FloatArray] = {}
        self._withdrawn: set[str] = set()
        self._not_free: set[str] = set()

    @property
    def n_labels(self) -> int:
        """How many points count as labelled, those of the surrogate too."""
        return len(self._known_before) + len(self._points)

    @property
    def n_points(self) -> int:
        """How many points all pools have."""
        return self._pools.n_points

    @property
    def n_free(self) -> int:
        """How many of them can still be picked."""
        return self._pools.n_points - len(self._not_free)

    @property
    def pending(self) -> tuple[str, ...]:
        """What counts as known and has no label yet, in the order in which it came."""
        return tuple(i for i in self._points if i not in self._labels)

    def known(self) -> Known:
        """All of it, as it is now."""
        return Known(
            self._pools.files, dict(self._points), dict(self._labels), frozenset(self._withdrawn)
        )

    def add(self, paths: Sequence[Path | str]) -> tuple[PoolFolder, ...]:
        """Take in pools, all or none. See :meth:`PoolSession.add`."""
        pools = self._pools.opened(paths)
        labelled = [self._pools.among(self._known_before, pool) for pool in pools]
        # What reads files is done: none can be damaged from here on.
        self._pools.take(pools)
        self._not_free.update(*labelled)
        return pools

    def tell(
        self, ids: Sequence[str], y: Sequence[float], *, accept_implausible: bool = False
    ) -> int:
        """Take in labels; how many were new. See :meth:`PoolSession.tell`."""
        given, labels = several_ids(ids), _several_labels(y)
        if len(given) != len(labels):
            raise InputError(f"{len(given)} ids with {len(labels)} labels; give one an id")
        new = self._new_labels(zip(given, labels, strict=True))
        if not accept_implausible:
            check_plausible(self._known_before.values(), new, unit=self._unit)
        self._count_as_known(new)
        self._labels |= new
        return len(new)

    def wait_for(self, ids: Iterable[str]) -> None:
        """Count points as known whose labels are to come; what has one already is passed over."""
        self._count_as_known(
            [
                i
                for i in several_ids(ids)
                if i not in self._known_before and i not in self._withdrawn
            ]
        )

    def take(self, points: Mapping[str, FloatArray]) -> None:
        """Count picks as known, whose labels are to come."""
        self._points |= points
        self._not_free |= points.keys()

    def give_back(self, ids: Iterable[str]) -> None:
        """Offer picks again that nobody has heard of."""
        for material_id in ids:
            # The last of them may not have been taken yet.
            self._points.pop(material_id, None)
            self._not_free.discard(material_id)

    def withdraw(self, ids: Iterable[str]) -> None:
        """Set candidates aside. See :meth:`PoolSession.withdraw`."""
        labelled = self._known_before.keys() | self._labels.keys()
        new = [i for i in several_ids(ids) if i not in labelled and i not in self._withdrawn]
        self._check_found(new, self._pools.scaled(new))
        for material_id in new:
            self._points.pop(material_id, None)
        self._withdrawn |= set(new)
        self._not_free |= set(new)

    def _new_labels(self, told: Iterable[tuple[str, float]]) -> dict[str, float]:
        """Those that are not known yet."""
        known, new = self._known_before | self._labels, dict[str, float]()
        for material_id, label in told:
            before = known.get(material_id, new.get(material_id))
            if not math.isfinite(label):
                raise InputError(
                    f"{material_id!r}: the label {label} is not finite; withdraw a material whose label"
                    " could not be computed"
                )
            if before is not None and before != label:
                raise InputError(
                    f"{material_id!r} has the label {before} {self._unit} already and now {label}; a material"
                    " keeps its first label"
                )
            if before is None:
                new[material_id] = label
        return new

    def _count_as_known(self, ids: Iterable[str]) -> None:
        new = [i for i in ids if i not in self._points]
        found = self._pools.scaled(new)
        self._check_found(new, found)
        self.take(found)

    def _check_found(self, ids: Collection[str], found: Collection[str]) -> None:
        missing = [i for i in ids if i not in found]
        if missing:
            raise InputError(
                f"{len(missing)} ids are in none of the pools: {name_some(missing)}; correct them, or name"
                " the pool that they are in, too"
            )


def _several_labels(y: Iterable[float]) -> list[float]:
    if isinstance(y, str | bytes) or not isinstance(y, Iterable):
        raise InputError(
            f"several labels are wanted, one an id, not {y!r}; give a list of ids and a list of labels:"
            ' tell(["mp-353"], [-3.06])'
        )
    labels = []
    for label in y:
        try:
            labels.append(real_number(label))
        except (TypeError, ValueError, OverflowError):  # noqa: PERF203 - hundreds of them
            raise InputError(
                f"a label is a number (target's unit), not {label!r}; withdraw a material whose label"
                " could not be computed"
            ) from None
    return labels
