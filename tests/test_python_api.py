"""The Python API as the README shows it, in a process that has TensorFlow's own Keras 3 or none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.command_line import rows, write_parquet

SCRIPT = """
import sys
from gpnet_ray import Campaign, load_config, make_split, read_dataset, train_network

dataset = read_dataset("oxides.parquet", target="energy", unit="eV/atom")
config = load_config(overrides={
    "split.n_train": 20, "split.n_test": 8, "selection.cycles": 3, "training.epochs": 2,
    "resources.shards": 1, "gp.max_evaluations": 20, "retraining.when": "never",
    "network.n_blocks": 1, "network.n_gaussians": 20, "network.n1": 16, "network.n2": 8,
    "network.n3": 4, "network.set2set_passes": 1, "training.batch_size": 16,
})
split = make_split(dataset.ids, n_train=20, n_test=8, seed=1)
network = train_network(dataset.select(split.train), config)
result = Campaign(dataset, config, split=split, network=network).run()
assert len(result.picks) == 6
assert set(result.picks.material_id) <= set(split.pool)
assert len(result.metrics) == 2 * 4
assert result.report.is_file()
# The driver of a cluster has no GPU and needs no TensorFlow.
assert not [m for m in ("tensorflow", "tf_keras", "keras", "megnet") if m in sys.modules]
print("fine")
"""


@pytest.mark.slow
def test_a_driver_script_step_by_step_without_tensorflow_in_it(tmp_path: Path) -> None:
    write_parquet(tmp_path / "oxides.parquet", rows())
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().endswith("fine")
