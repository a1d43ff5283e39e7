"""What a shard of a large pool really takes, in a process of its own (Linux)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gpnet_ray.gp.memory_need import FEWEST_ACTIVE, memory_need

MEBIBYTE = 1 << 20

SHARD = """
import json, sys, threading, time
from hashlib import sha256
from pathlib import Path
import numpy as np
import pyarrow as pa
from gpnet_ray.data.pool_folder import PoolFile
from gpnet_ray.gp.bounded_points import BoundedPoints
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.posterior import Posterior
from gpnet_ray.gp.scaling import LatentScaler
from gpnet_ray.gp.selection import plan_cycles
from gpnet_ray.latent_columns import latent_column

folder, budget, n_labels, sizes = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
rng = np.random.default_rng(0)

def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024

def file(name, rows):
    latents = rng.normal(size=(rows, 8)).astype(np.float32)
    ids = pa.array([f"{name}-{row}" for row in range(rows)])
    batch = pa.record_batch({"material_id": ids, "latent": latent_column(latents)})
    path = folder / name
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return PoolFile(path, rows, sha256(path.read_bytes()).hexdigest())

def pick(files, n, picks):
    X, known = rng.normal(size=(n, 8)), [f"known-{row}" for row in range(n)]
    posterior = Posterior(Hyperparameters("laplacian", 1.0, 3.0, 0.1, 0.0), known, X, np.zeros(n))
    scaler = LatentScaler("none", "none", (0.0,) * 8, (1.0,) * 8, None)
    snapshot = posterior.snapshot()
    before = anonymous()
    shard = BoundedPoints(snapshot, known, files, scaler=scaler, reserve=n + picks, memory_budget=budget)
    sum(shard.first_bounds())
    done = 0
    while done < picks:
        proposal = shard.propose(512)
        plan = plan_cycles(posterior, [proposal], strategy="max-sigma", cycles=picks - done)
        new = [i for cycle in plan for i in cycle.ids]
        points = dict(zip(proposal.ids, proposal.X))
        shard.absorb(posterior.commit(new, np.stack([points[i] for i in new]), np.zeros(len(new))))
        done += len(new)
    return before, shard.need.total

pick([file("small", 500)], 20, 3)  # TensorFlow has its threads and functions now, and little memory.
files = [file(f"file{number}", rows) for number, rows in enumerate(sizes)]
peak, ended = [0], threading.Event()

def watch():
    while not ended.wait(0.005):
        peak[0] = max(peak[0], anonymous())

watcher = threading.Thread(target=watch)
watcher.start()
before, need = pick(files, n_labels - 300, 300)
ended.set()
watcher.join()
print(json.dumps({"peak": peak[0] - before, "need": need}))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_shard_stays_within_its_budget(tmp_path):
    sizes, n_labels = [150_000] * 2, 1300
    enough = memory_need(sum(sizes), n_labels, budget=1 << 40)
    each = enough.active // enough.most_active
    budget = enough.total - enough.active + FEWEST_ACTIVE * each
    command = [sys.executable, "-c", SHARD, str(tmp_path), str(budget), str(n_labels)]
    done = subprocess.run([*command, json.dumps(sizes)], capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout.splitlines()[-1])
    assert measured["need"] <= budget
    # The posterior and the planning beside it are another actor's; here they come on top: a factor with its
    # copies (3 × 8 × 1300²) and the columns of 512 candidates, a few times.
    others = 3 * 8 * n_labels**2 + 6 * 8 * n_labels * 512
    assert measured["peak"] <= budget + others, f"{measured['peak'] / MEBIBYTE:.0f} MiB"
    # Not by being far too careful: the need is within a factor of three of what was taken.
    assert measured["peak"] >= measured["need"] / 3
