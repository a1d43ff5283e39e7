"""The engine with its shards on two devices of TensorFlow: what it does on one."""

from __future__ import annotations

import json
import subprocess
import sys

SCRIPT = """
import json
import numpy as np
import tensorflow as tf

cpu, = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.posterior import Posterior
from gpnet_ray.gp.scored_points import ScoredPoints
from gpnet_ray.gp.selection import plan_cycles

rng = np.random.default_rng(0)
X, ids = rng.uniform(size=(130, 4)), [f"m-{n:03d}" for n in range(130)]
y = np.sin(3 * X).sum(1)
train, pool = slice(0, 30), range(30, 130)
hyperparameters = Hyperparameters("matern52", 1.3, 0.7, 0.05, 0.0)
row = {name: n for n, name in enumerate(ids)}


def loop(devices):
    # The process lies with the first shard, as on a cluster whose GPUs each have one.
    with tf.device(devices[0]):
        posterior = Posterior(hyperparameters, ids[train], X[train], y[train])
    snapshot, shards = posterior.snapshot(), []
    for number, device in enumerate(devices):
        mine = list(pool)[number::2]
        with tf.device(device):
            part = ScoredPoints(snapshot, [ids[n] for n in mine], X[mine], reference=y[mine])
        shards.append((device, part))
    picks, errors = [], []
    while len(picks) < 40:
        proposals = []
        for device, shard in shards:
            with tf.device(device):
                proposals.append(shard.propose(12))
        with tf.device(devices[0]):
            planned = plan_cycles(posterior, proposals, cycles=40 - len(picks), strategy="max-sigma")
            names = [i for cycle in planned for i in cycle.ids]
            rows = [row[i] for i in names]
            block = posterior.commit(names, X[rows], y[rows])
        for device, shard in shards:
            with tf.device(device):
                errors.append(shard.absorb(block).metrics()["mae"][-1])
        picks += [[i, s] for c in planned for i, s in zip(c.ids, c.sigmas)]
    devices = [{piece.device for piece in shard._V._pieces} for _, shard in shards]
    return {"picks": picks, "errors": errors, "devices": [sorted(names) for names in devices]}


one, two = (loop([f"/CPU:{a}", f"/CPU:{b}"]) for a, b in ((0, 0), (0, 1)))
print(json.dumps({"one": one, "two": two}))
"""


def test_two_devices_pick_what_one_picks() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout)
    one, two = said["one"], said["two"]
    numbers = [[name.rpartition(":")[2] for name in names] for names in two.pop("devices")]
    assert numbers == [["0"], ["1"]]
    assert len({name for names in one.pop("devices") for name in names}) == 1
    # The same kernels on the same numbers: not even the rounding differs.
    assert two == one
    assert len(one["picks"]) == 40
