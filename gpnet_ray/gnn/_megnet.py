"""megnet 1.3.2 on a current stack, without touching the Keras or the pymatgen of anyone else.

megnet imports ``tensorflow.keras`` and needs Keras 2, which lives on as ``tf_keras``; and it imports
three names that pymatgen has since spelled differently. Both are put in place only while megnet is
being imported, so that no environment variable is needed, and ``tf.keras`` in the user's own script
stays what it was.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import tensorflow as tf
import tf_keras

from gpnet_ray.config import NetworkConfig
from gpnet_ray.gnn.architecture import n_state

__all__ = ["build_keras_model", "import_megnet"]

_SHADOWED = "tensorflow.keras"
_OLD_NAMES = ("BrunnerNN_real", "BrunnerNN_reciprocal", "BrunnerNN_relative")


def import_megnet(module: str) -> ModuleType:
    """Import one of megnet's modules (``"megnet.models.megnet"``) on top of tf_keras."""
    if module in sys.modules:
        return sys.modules[module]
    with _keras_2_as_tensorflow_keras(), _old_pymatgen_names():
        return importlib.import_module(module)


def build_keras_model(network: NetworkConfig) -> tf_keras.Model:
    """Build megnet's own Keras model, which takes Gaussian-expanded bonds and the state of a crystal.

    Its weights are as megnet draws them, kernels of equal shape in a block alike;
    :func:`~gpnet_ray.gnn.initial_weights.draw_weights` draws better ones.
    """
    models = import_megnet("megnet.models.megnet")
    with warnings.catch_warnings():
        # tf_keras warns of exactly those equal kernels.
        warnings.filterwarnings("ignore", message="The initializer .* is unseeded")
        return models.make_megnet_model(
            nfeat_edge=network.n_gaussians,
            nfeat_global=n_state(network),
            nblocks=network.n_blocks,
            n1=network.n1,
            n2=network.n2,
            n3=network.n3,
            embedding_dim=network.embedding_dim,
            npass=network.set2set_passes,
        )


@contextmanager
def _keras_2_as_tensorflow_keras() -> Iterator[None]:
    """Let ``import tensorflow.keras…`` find tf_keras, then put everything back."""
    before = {
        name: module
        for name, module in sys.modules.items()
        if name == _SHADOWED or name.startswith(_SHADOWED + ".")
    }
    had_attribute = "keras" in vars(tf)
    attribute = vars(tf).get("keras")
    try:
        for name in before:
            del sys.modules[name]
        sys.modules[_SHADOWED] = tf_keras
        for info in pkgutil.iter_modules(tf_keras.__path__):
            if info.ispkg and info.name not in ("src", "protobuf"):
                submodule = importlib.import_module(f"tf_keras.{info.name}")
                sys.modules[f"{_SHADOWED}.{info.name}"] = submodule
        tf.keras = tf_keras
        yield
    finally:
        for name in [n for n in sys.modules if n == _SHADOWED or n.startswith(_SHADOWED + ".")]:
            del sys.modules[name]
        sys.modules.update(before)
        if had_attribute:
            tf.keras = attribute
        elif "keras" in vars(tf):
            del tf.keras


@contextmanager
def _old_pymatgen_names() -> Iterator[None]:
    """Give pymatgen's ``BrunnerNNReal`` (and siblings) their old names too, where it has only the new."""
    from pymatgen.analysis import local_env

    added = [name for name in _OLD_NAMES if not hasattr(local_env, name)]
    for name in added:
        stem, kind = name.split("_")
        setattr(local_env, name, getattr(local_env, stem + kind.capitalize()))
    try:
        yield
    finally:
        for name in added:
            delattr(local_env, name)
