"""Which of a run's networks a folder stands for, said where a user might expect another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpnet_ray.progress import Progress

__all__ = ["say_which_network"]


def say_which_network(network: Path, progress: Progress) -> None:
    """Name the networks that a run trained later, where the folder of a run is given."""
    from gpnet_ray.campaign.surrogate import networks_trained_again

    later = networks_trained_again(network)
    if later:
        progress.line(
            f"{network} stands for the network that the run began with. Trained again on more labels:"
            f" {', '.join(map(str, later))}; name one of these to use it"
        )
