"""What a stretch writes into the journal: its cycles, and how the arm stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpnet_ray.campaign.journal import Event
    from gpnet_ray.gp.messages import PlannedCycle

__all__ = ["StandingOfArm", "cycle_event", "measured_again_event", "round_event"]


@dataclass(frozen=True)
class StandingOfArm:
    """Largest σ that is left, ``None`` where nothing is, and the error on the test rows (target's unit)."""

    largest_sigma: float | None
    test_mae: float

    def content(self) -> dict[str, Any]:
        """As it stands in an event."""
        return {"largest_sigma": self.largest_sigma, "test_mae": self.test_mae}


def cycle_event(strategy: str, number: int, cycle: PlannedCycle, *, fingerprint: str) -> Event:
    """A finished cycle, with the fingerprint of the network by whose latents it was picked."""
    return {
        "event": "cycle",
        "strategy": strategy,
        "cycle": number,
        "network": fingerprint,
        "ids": list(cycle.ids),
        "sigmas": list(cycle.sigmas),
        "radius": cycle.radius,
        "asked_radius": cycle.asked_radius,
    }


def round_event(
    strategy: str,
    number: int,
    n_cycles: int,
    standing: StandingOfArm,
    *,
    pool_size: int,
    cost: Mapping[str, Any],
) -> Event:
    """How an arm stands after the cycle with a number, which ended a round, and what the round cost."""
    return {
        "event": "round",
        "strategy": strategy,
        "cycle": number,
        "cycles": n_cycles,
        "pool_size": pool_size,
        **standing.content(),
        **cost,
    }


def measured_again_event(strategy: str, network: int, standing: StandingOfArm) -> Event:
    """How an arm stands with a network that was trained again, before it picks by it."""
    return {
        "event": "measured again",
        "strategy": strategy,
        "network": network,
        **standing.content(),
    }
