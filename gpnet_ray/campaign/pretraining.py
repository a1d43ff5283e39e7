"""Starting from a pretrained network: it brings its own architecture, which the settings follow."""

from __future__ import annotations

from dataclasses import replace

from gpnet_ray.campaign.arguments import check_is_config
from gpnet_ray.campaign.surrogate import load_network
from gpnet_ray.config import Config, NetworkConfig
from gpnet_ray.errors import InputError
from gpnet_ray.gnn.network_state import NetworkState

__all__ = ["with_pretrained"]


def with_pretrained(config: Config) -> tuple[Config, NetworkState | None]:
    """Load ``training.pretrained``, where it is set, and give the settings its architecture.

    The layer stays the user's: every network has them all. Global features are named by the user, too: the
    dataset was read with them.

    Returns:
        The settings with the architecture of the network, and the network; ``None`` without one.

    Raises:
        InputError: ``config`` is no settings; the network cannot be read, an architecture setting was given that is not its own, or
            other global features are named than it reads.
    """
    check_is_config(config)
    path = config.training.pretrained
    if path is None:
        return config, None
    state = load_network(path)
    network = state.config.model_copy(update={"layer": config.network.layer})
    _check_not_contradicted(config.network, network)
    if network.global_features != config.network.global_features:
        raise InputError(
            f"the pretrained network reads the global features {list(network.global_features)} and"
            f" {list(config.network.global_features)} are named, which are read with the dataset; name"
            " its own with --global-feature, in its order"
        )
    return config.model_copy(update={"network": network}), replace(state, config=network)


def _check_not_contradicted(asked: NetworkConfig, theirs: NetworkConfig) -> None:
    ours = ("layer", "global_features")
    given = [key for key in sorted(asked.model_fields_set) if key not in ours]
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
