"""megnet is imported without touching the user's own Keras; each case is a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

USER_IMPORTS_KERAS_3 = """
import tensorflow as tf
assert tf.keras.__version__.startswith("3"), tf.keras.__version__
from tensorflow.keras.layers import Dense as users_dense
import sys
def keras_modules():
    return {n: id(m) for n, m in sys.modules.items() if n.startswith("tensorflow.keras")}
modules_before = keras_modules()
assert "tensorflow.keras.layers" in modules_before
"""

BUILD = """
import sys
from gpnet_ray.config import NetworkConfig
from gpnet_ray.gnn._megnet import build_keras_model
from gpnet_ray.gnn.architecture import weight_shapes
network = NetworkConfig(n_blocks=1, n1=4, n2=4, n3=2, n_gaussians=5)
model = build_keras_model(network)
assert type(model).__module__.startswith("tf_keras"), type(model)
assert [tuple(w.shape) for w in model.weights] == list(weight_shapes(network).values())
"""

KERAS_IS_AS_BEFORE = """
import tensorflow as tf
assert tf.keras.__version__.startswith("3"), tf.keras.__version__
import tensorflow.keras.layers
from tensorflow.keras.models import Model
assert Model.__module__.startswith("keras."), Model.__module__
assert tensorflow.keras.layers.Dense is tf.keras.layers.Dense
layer = tf.keras.layers.Dense(3)
assert layer(tf.zeros((2, 4))).shape == (2, 3)
"""

PYMATGEN_IS_AS_BEFORE = """
from pymatgen.analysis import local_env
before = set(vars(local_env))
"""


def run(script: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_it_works_in_a_script_that_has_imported_keras_3_and_leaves_that_alone():
    run(
        USER_IMPORTS_KERAS_3
        + PYMATGEN_IS_AS_BEFORE
        + BUILD
        + "assert set(vars(local_env)) == before\n"
        + "assert keras_modules() == modules_before\n"
        + KERAS_IS_AS_BEFORE
        + "assert tf.keras.layers.Dense is users_dense\n"
    )


@pytest.mark.slow
def test_it_works_in_a_script_that_has_imported_nothing_and_keras_3_comes_later():
    run(BUILD + KERAS_IS_AS_BEFORE)
