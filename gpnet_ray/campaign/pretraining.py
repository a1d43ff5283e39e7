"""Starting from a trained network, or using one: it brings its own architecture, which the settings follow."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from gpnet_ray.campaign.surrogate import load_network
from gpnet_ray.config import Config, Layer, NetworkConfig
from gpnet_ray.errors import InputError
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.progress import Progress

__all__ = ["asked_layer", "with_asked_layer", "with_pretrained"]


def with_pretrained(
    config: Config, progress: Progress | None = None
) -> tuple[Config, NetworkState | None]:
    """Load ``training.pretrained``, where it is set, and give the settings its architecture.

    The layer stays the user's: every network has them all. Global features are named by the user, too: the
    dataset was read with them.

    Args:
        config: The settings.
        progress: Where it is said which settings the network brings along; nowhere where left out.

    Returns:
        The settings with the architecture of the network, and the network; ``None`` without one.

    Raises:
        InputError: the network cannot be read, an architecture setting was given that is not its own, or
            other global features are named than it reads.
    """
    path = config.training.pretrained
    if path is None:
        return config, None
    state = load_network(path)
    network = state.config.model_copy(update={"layer": config.network.layer})
    _check_not_contradicted(
        config.network, network, but=("global_features",), whose="the pretrained network"
    )
    if network.global_features != config.network.global_features:
        raise InputError(
            f"the pretrained network reads the global features {list(network.global_features)} and"
            f" {list(config.network.global_features)} are named, which are read with the dataset; name"
            " its own with --global-feature, in its order"
        )
    brought = _differing(config.network, network)
    if brought and progress is not None:
        progress.line(f"{path} brings its own architecture: {', '.join(brought)}")
    return config.model_copy(update={"network": network}), replace(state, config=network)


def asked_layer(config: Config, option: Layer | str | None) -> Layer | str | None:
    """The latent layer that the user chose, by the option or another setting; ``None``: none."""
    return option or _asked(config.network).get("layer")


def with_asked_layer(network: NetworkState, config: Config, option: str | None) -> NetworkState:
    """A network that gives latents of the layer that the user chose, or else of its own.

    Args:
        network: The network.
        config: The settings.
        option: The layer of the command line, which goes before them.

    Raises:
        InputError: another architecture setting was given that is not the network's own.
    """
    _check_not_contradicted(config.network, network.config, but=("layer",), whose="the network")
    layer = asked_layer(config, option)
    if layer is None:
        return network
    return replace(network, config=network.config.model_copy(update={"layer": layer}))


def _asked(network: NetworkConfig) -> dict[str, Any]:
    """The settings that the user chose, whatever their values.

    A saved configuration holds all settings: there, what equals the default was not necessarily asked for.
    """
    given = {key: getattr(network, key) for key in sorted(network.model_fields_set)}
    if NetworkConfig.model_fields.keys() - {"global_features"} <= given.keys():
        default = NetworkConfig()
        return {key: value for key, value in given.items() if value != getattr(default, key)}
    return given


def _differing(ours: NetworkConfig, theirs: NetworkConfig) -> list[str]:
    pairs = {key: (getattr(ours, key), getattr(theirs, key)) for key in NetworkConfig.model_fields}
    return [
        f"{key} {there} instead of {here}" for key, (here, there) in pairs.items() if here != there
    ]


def _check_not_contradicted(
    asked: NetworkConfig, theirs: NetworkConfig, *, but: Collection[str], whose: str
) -> None:
    """Refuse architecture settings that were given and are not the network's own, but for some."""
    differ = [
        f"network.{key}: {value} asked, {getattr(theirs, key)} there"
        for key, value in _asked(asked).items()
        if key not in but and value != getattr(theirs, key)
    ]
    if differ:
        raise InputError(
            f"{whose} has another architecture ({'; '.join(differ)}); leave these settings"
            " out, since it brings its own"
        )
