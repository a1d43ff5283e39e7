"""Networks that megnet itself wrote: an ``.hdf5`` file of Keras with a ``.json`` of converters beside it.

So are the Materials Virtual Lab's pretrained networks (Chen, Ye, Zuo, Zheng & Ong, Chem. Mater. 31, 3564
(2019), doi:10.1021/acs.chemmater.9b01294; https://github.com/materialsvirtuallab/megnet), written by
old versions of Keras, and what ``save_model`` of megnet 1.3.2 writes today. Both are read as data, with h5py
and json: no layer, lambda or converter that a file names is ever built or run. The stored
configuration says what the arrays' shapes cannot, such as the number of set2set passes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gpnet_ray.config import NetworkConfig
from gpnet_ray.errors import InputError
from gpnet_ray.gnn.architecture import N_ELEMENTS, gaussian_centers, weight_shapes
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.types import LatentArray

__all__ = ["UNKNOWN_UNIT", "load_pretrained"]

UNKNOWN_UNIT = "unit not stated"
"""Unit of a network whose file does not state one."""

_LAYERS = (
    *("InputLayer", "Embedding", "Dense", "MEGNetLayer"),
    *("Add", "Set2Set", "Concatenate", "Dropout"),
)
_ACTIVATIONS = {
    "Dense": {"activation": "softplus2"},
    "MEGNetLayer": {"activation": "softplus2", "pool_method": "mean"},
    "Set2Set": {
        "activation": "linear",
        "activation_lstm": "tanh",
        "recurrent_activation": "hard_sigmoid",
    },
}
_CENTERS_TOLERANCE_ANGSTROM = 1e-6
"""A Gaussian this far from its place changes a feature by less than float32 resolves."""


class _UnreadableError(Exception):
    """What is wrong inside a file; the file's name is added where it is known."""


def load_pretrained(path: Path) -> NetworkState:
    """Read ``FILE.hdf5`` with ``FILE.hdf5.json``: architecture, weights, cut-off, Gaussians, scaling.

    The target's name and unit are those of the ``.json``'s metadata; without any, the file's stem and
    :data:`UNKNOWN_UNIT`.

    Raises:
        InputError: a file is missing or damaged, or the network is not one that MEGNet's default layout
            describes (another layer, activation, converter or scaling); says what.
    """
    path = Path(path)
    converters_path = path.with_name(path.name + ".json")
    description = _read_json(converters_path, of=path)
    try:
        converter = _graph_converter(description)
        mean, scale = _target_scaling(description.get("target_scaler"))
    except _UnreadableError as error:
        raise InputError(f"{converters_path}: {error}") from None
    try:
        with h5py.File(path, "r") as file:
            network = _architecture(_layers(file), converter)
            weights = _weights(file["model_weights"], network)
    except FileNotFoundError:
        raise InputError(f"there is no {path}; name a file written by megnet") from None
    except _UnreadableError as error:
        raise InputError(f"{path}: {error}") from None
    except (OSError, KeyError) as error:
        raise InputError(
            f"{path} is not a whole network of Keras in HDF5 ({error}); download it again, or write it"
            " with save_model of megnet"
        ) from None
    _check_gaussians(converter, network, converters_path)
    metadata = description.get("metadata") or {}
    try:
        return NetworkState(
            config=network,
            weights=weights,
            target_mean=mean,
            target_scale=scale,
            target=str(metadata.get("name", path.stem)),
            unit=str(metadata.get("unit", UNKNOWN_UNIT)),
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _read_json(path: Path, *, of: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(
            f"there is no {path}; megnet writes it beside {of.name}, with cut-off, Gaussians and scaling:"
            " copy both files"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}; copy it again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a JSON mapping; copy the one that megnet wrote")
    return content


def _graph_converter(description: Mapping[str, Any]) -> dict[str, Any]:
    """Cut-off, width (Å) and centres (Å) of a plain crystal graph with Gaussian bonds."""
    converter = _mapping(description, "graph_converter")
    bonds = _mapping(converter, "bond_converter")
    for what, given, known in (
        ("graph_converter", converter, "CrystalGraph"),
        ("bond_converter", bonds, "GaussianDistance"),
    ):
        if given.get("@class") != known:
            raise _UnreadableError(
                f"{what} is a {given.get('@class')!r}; only {known!r} is known here"
            )
    atoms = converter.get("atom_converter") or {"@class": "DummyConverter"}
    if atoms.get("@class") != "DummyConverter":
        raise _UnreadableError(
            f"atom_converter is a {atoms.get('@class')!r}; only atoms given by their atomic number"
            " ('DummyConverter') are known here"
        )
    centers = bonds.get("centers")
    if isinstance(centers, Mapping):
        centers = centers.get("data")
    try:
        return {
            "cutoff_angstrom": float(converter["cutoff"]),
            "gaussian_width_angstrom": float(bonds["width"]),
            "centers_angstrom": np.array(centers, dtype=np.float64),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise _UnreadableError(f"cut-off, width or centres are not numbers ({error!r})") from None


def _target_scaling(scaler: Any) -> tuple[float, float]:
    """Mean and scale of the target; the oldest files have none."""
    kind = scaler.get("@class") if isinstance(scaler, Mapping) else scaler
    if kind in (None, "DummyScaler"):
        return 0.0, 1.0
    if kind != "StandardScaler":
        raise _UnreadableError(f"target_scaler is a {kind!r}; only 'StandardScaler' is known here")
    if not scaler.get("is_intensive", True):
        raise _UnreadableError(
            "the target was scaled as an extensive quantity (of a whole cell); only intensive ones, such"
            " as energies per atom, are known here"
        )
    try:
        return float(scaler["mean"]), float(scaler["std"])
    except (KeyError, TypeError, ValueError) as error:
        raise _UnreadableError(f"mean or std of the target are not numbers ({error!r})") from None


def _layers(file: h5py.File) -> list[dict[str, Any]]:
    """The stored layers: plain descriptions, of which nothing is built."""
    if "model_config" not in file.attrs:
        raise _UnreadableError(
            "holds no model configuration, so that the number of set2set passes is unknown; write the"
            " network with save_model of megnet, not the weights alone"
        )
    try:
        layers = json.loads(file.attrs["model_config"])["config"]["layers"]
        settings = [{**layer["config"], "class": str(layer["class_name"])} for layer in layers]
    except (KeyError, TypeError, ValueError) as error:
        raise _UnreadableError(f"its model configuration cannot be read ({error!r})") from None
    for layer, given in zip(settings, layers, strict=True):
        if layer["class"] not in _LAYERS:
            raise _UnreadableError(
                f"has a {layer['class']} layer {layer.get('name')!r}; MEGNet consists of"
                f" {', '.join(_LAYERS)}, and nothing else is read"
            )
        if layer["class"] == "Dropout" and '"training": true' in json.dumps(given):
            raise _UnreadableError("drops out at random while it predicts, which is not known here")
    return settings


def _architecture(layers: Sequence[Mapping[str, Any]], converter: dict[str, Any]) -> NetworkConfig:
    """The settings with which megnet's ``make_megnet_model`` builds these layers."""
    embeddings, blocks, pools, dense = (
        [layer for layer in layers if layer["class"] == kind]
        for kind in ("Embedding", "MEGNetLayer", "Set2Set", "Dense")
    )
    n_dense = 6 * len(blocks) + 3
    if len(embeddings) != 1 or not blocks or len(pools) != 2 or len(dense) != n_dense:
        raise _UnreadableError(
            f"has {len(embeddings)} Embedding, {len(blocks)} MEGNetLayer, {len(pools)} Set2Set and"
            f" {len(dense)} Dense layers; expected 1, one a block, 2 and {n_dense}"
        )
    for layer in (*blocks, *pools, *dense[:-1]):
        _check_settings(layer, _ACTIVATIONS[layer["class"]])
    _check_settings(dense[-1], {"activation": "linear", "units": 1})
    _check_settings(embeddings[0], {"input_dim": N_ELEMENTS})
    try:
        n1, _, n2 = blocks[0]["units_v"]
        n3, passes = pools[0]["n_hidden"], pools[0]["T"]
        for block in blocks:
            _check_settings(block, {key: [n1, n1, n2] for key in ("units_v", "units_e", "units_u")})
        _check_settings(pools[1], {"n_hidden": n3, "T": passes})
        return NetworkConfig(
            cutoff_angstrom=converter["cutoff_angstrom"],
            gaussian_width_angstrom=converter["gaussian_width_angstrom"],
            n_gaussians=len(converter["centers_angstrom"]),
            n_blocks=len(blocks),
            n1=n1,
            n2=n2,
            n3=n3,
            set2set_passes=passes,
            embedding_dim=embeddings[0]["output_dim"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _UnreadableError(f"its layers are not those of MEGNet ({error})") from None


def _check_settings(layer: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    for key, wanted in expected.items():
        value = layer.get(key)
        if isinstance(value, Mapping):
            # A function, as Keras has described it since 2.13.
            value = value.get("config")
        if value != wanted:
            raise _UnreadableError(
                f"{layer['class']} layer {layer.get('name')!r} has {key} {value!r}; only {wanted!r} is"
                " known here"
            )


def _weights(group: h5py.Group, network: NetworkConfig) -> dict[str, LatentArray]:
    """The arrays by our names: old files name their layers otherwise, but keep megnet's order."""
    stored = [
        (name, group[layer][name])
        for layer in map(_text, group.attrs["layer_names"])
        for name in map(_text, group[layer].attrs["weight_names"])
    ]
    shapes = weight_shapes(network)
    if len(stored) != len(shapes):
        raise _UnreadableError(f"holds {len(stored)} weights; its layers have {len(shapes)}")
    weights = {}
    for (ours, shape), (name, dataset) in zip(shapes.items(), stored, strict=True):
        leaf = name.rsplit("/", 1)[-1].removesuffix(":0")
        # Compared before it is read: a damaged header may promise any size.
        if leaf != ours.rsplit("/", 1)[-1] or dataset.shape != shape:
            raise _UnreadableError(
                f"holds {name} {dataset.shape} where {ours} {shape} was expected"
            )
        weights[ours] = np.asarray(dataset[()], dtype=np.float32)
    return weights


def _check_gaussians(converter: Mapping[str, Any], network: NetworkConfig, path: Path) -> None:
    centers, known = converter["centers_angstrom"], gaussian_centers(network)
    if centers.shape != known.shape or np.abs(centers - known).max() > _CENTERS_TOLERANCE_ANGSTROM:
        raise InputError(
            f"{path}: its {len(centers)} Gaussians run from {centers.min():g} to {centers.max():g} Å; only"
            f" evenly spaced ones from 0 to {known[-1]:g} Å, 1 Å beyond the cut-off, are known here"
        )


def _mapping(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = content.get(key)
    if not isinstance(value, Mapping):
        raise _UnreadableError(f"has no {key}; copy the .json that megnet wrote")
    return value


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
