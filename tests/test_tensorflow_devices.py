"""GPU memory is asked for in small pieces by whatever is the first to use TensorFlow, and float32 is float32."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import tensorflow as tf

from gpnet_ray.tensorflow_devices import prepare_gpus

FIRST_USES = """
import numpy as np
import tensorflow as tf
from gpnet_ray.config import NetworkConfig, TrainingConfig
from gpnet_ray.gp.settings import GpConfig
from gpnet_ray.gnn.featurize import Featurizer
from gpnet_ray.gnn.graphs import CrystalGraphs
from gpnet_ray.gnn.training import Trainer
from gpnet_ray.gp.fit import fit_hyperparameters
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.messages import PosteriorSnapshot
from gpnet_ray.gp.posterior import Posterior
from gpnet_ray.gp.scored_points import ScoredPoints


class Asked(Exception):
    pass


def instead_of_looking_for_gpus(kind):
    # TensorFlow refuses this with a RuntimeError as soon as it has run an operation.
    cpu, = looking("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()])
    raise Asked


looking = tf.config.list_physical_devices
tf.config.list_physical_devices = instead_of_looking_for_gpus
hyperparameters = Hyperparameters("matern52", 1.0, 1.0, 0.1, 0.0)
ids, X, y = ["a", "b", "c", "d"], np.arange(8.0).reshape(4, 2), np.arange(4.0)
snapshot = PosteriorSnapshot(hyperparameters, X, np.eye(4), y, 0.0)
graphs = CrystalGraphs(
    ids=tuple(ids),
    atomic_numbers=np.full(4, 8, np.int32),
    bond_sources=np.zeros(4, np.int32),
    bond_targets=np.zeros(4, np.int32),
    bond_lengths_angstrom=np.ones(4, np.float32),
    atom_offsets=np.arange(5),
    bond_offsets=np.arange(5),
    cutoff_angstrom=4.0,
    global_features=(),
    state=np.empty((4, 0)),
)
for first in (
    lambda: Posterior(hyperparameters, ids, X, y),
    lambda: ScoredPoints(snapshot, ids, X),
    lambda: fit_hyperparameters(X, y, config=GpConfig()),
    lambda: Trainer(
        graphs, y, network=NetworkConfig(), training=TrainingConfig(), seed=0, target="E", unit="eV"
    ),
    lambda: Featurizer(None),
):
    try:
        first()
    except Asked:
        print("asked")
"""


def test_every_first_user_of_tensorflow_sees_to_the_gpu_memory_before_any_operation() -> None:
    done = subprocess.run([sys.executable, "-c", FIRST_USES], capture_output=True, text=True)
    assert done.stdout.split() == ["asked"] * 5, done.stderr[-2000:]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A machine with one GPU, as TensorFlow would describe it; how products are rounded is put back after it."""
    gpu = SimpleNamespace(name="/physical_device:GPU:0", growth=False, error=None, there=True)

    def set_memory_growth(device: SimpleNamespace, *, enable: bool) -> None:
        if device.error:
            raise device.error
        assert not device.growth  # it is not set again
        device.growth = enable

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: [gpu] if gpu.there else [])
    monkeypatch.setattr(tf.config.experimental, "get_memory_growth", lambda device: device.growth)
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", set_memory_growth)
    rounds = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(True)
    yield gpu
    tf.config.experimental.enable_tensor_float_32_execution(rounds)


@pytest.mark.parametrize("there", [True, False])
def test_factors_of_products_are_not_rounded_to_tf32_on_a_gpu(
    gpu: SimpleNamespace, there: bool
) -> None:
    gpu.there = there
    prepare_gpus()
    # Without a GPU nothing rounds, and what somebody chose in this process is not ours to change.
    assert tf.config.experimental.tensor_float_32_execution_enabled() is not there


def test_memory_growth_is_set_once(gpu: SimpleNamespace) -> None:
    assert prepare_gpus() == prepare_gpus() == 1
    assert gpu.growth


def test_a_gpu_that_somebody_set_up_before_is_left_alone_with_a_warning(
    gpu: SimpleNamespace,
) -> None:
    gpu.error = RuntimeError("Physical devices cannot be modified after being initialized")
    with pytest.warns(RuntimeWarning, match=r"GPU:0 .*cannot be modified.*before other TensorFlow"):
        assert prepare_gpus() == 1
    assert not gpu.growth
