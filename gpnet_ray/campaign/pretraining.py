"""Starting from a pretrained network: it brings its own architecture, which the settings follow."""

from __future__ import annotations

from dataclasses import replace

from gpnet_ray.campaign.surrogate import load_network
from gpnet_ray.config import Config, NetworkConfig
from gpnet_ray.errors import InputError
from gpnet_ray.gnn.network_state import NetworkState

__all__ = ["with_pretrained"]


def with_pretrained(config: Config) -> tuple[Config, NetworkState | None]:
    """Load ``training.pretrained``, where it is set, and give the settings its architecture.

    The layer stays the user's: every network has them all.

    Returns:
        The settings with the architecture of the network, and the network; ``None`` without one.

    Raises:
        InputError: the network cannot be read, or an architecture setting was given that is not its own.
    """
    path = config.training.pretrained
    if path is None:
        return config, None
    state = load_network(path)
    network = state.config.model_copy(update={"layer": config.network.layer})
    _check_not_contradicted(config.network, network)
    return config.model_copy(update={"network": network}), replace(state, config=network)


def _check_not_contradicted(asked: NetworkConfig, theirs: NetworkConfig) -> None:
    given = [key for key in sorted(asked.model_fields_set) if key != "layer"]
    differ = [
        f"network.{key}: {getattr(asked, key)} asked, {getattr(theirs, key)} there"
        for key in given
        # What equals the default was not necessarily asked for: a saved configuration holds it all.
        if getattr(asked, key) not in (getattr(theirs, key), getattr(NetworkConfig(), key))
    ]
    if differ:
        raise InputError(
            f"the pretrained network has another architecture ({'; '.join(differ)}); leave these settings"
            " out, since it brings its own"
        )
