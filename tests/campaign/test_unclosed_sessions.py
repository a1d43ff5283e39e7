"""Sessions that nobody closes leave no Ray behind, and closed ones do nothing more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.pools import hand_made_surrogate, write_pool

from gpnet_ray.campaign.pool_session import PoolSession
from gpnet_ray.errors import InputError

SCRIPT = """
import gc, sys
import ray
from support.pools import hand_made_surrogate
from gpnet_ray import PoolSession, load_config

started, init = [], ray.init

def counted(*args, **options):
    started.append(options.get("_node_ip_address"))
    return init(*args, **options)

ray.init = counted
config = load_config(overrides={"resources.shards": 1, "resources.object_store_mebibytes": 200})

def pick_and_drop():
    session = PoolSession(hand_made_surrogate(), [sys.argv[1]], config)
    first = session.pick(1)
    ray.shutdown()
    print(len({*first, *session.pick(1)}))

pick_and_drop()
gc.collect()
print(started, ray.is_initialized())
print("script ends", flush=True)
"""
OURS = "127.0.0.1"


@pytest.mark.long
def test_a_session_that_nobody_closed_ends_with_its_ray_and_starts_no_open_one(
    tmp_path: Path,
) -> None:
    pool = write_pool(tmp_path / "pool", [f"a-{n:02d}" for n in range(30)], hand_made_surrogate())
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    # An open Ray that nobody asked for kept the process for ever.
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(pool)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    n_picks, after_drop, last = done.stdout.splitlines()
    # Where somebody else shut Ray down, the session had gone on with another one of its own.
    assert (n_picks, after_drop) == ("2", f"{[OURS] * 2} False")
    assert last == "script ends"
    assert "Started a local Ray instance" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_closed_session_says_what_it_knew_and_does_nothing_more(tmp_path: Path) -> None:
    surrogate = hand_made_surrogate()
    pool = write_pool(tmp_path / "pool", ["a", "b", "c"], surrogate)
    with PoolSession(surrogate, [pool], pending=["b"]) as session:
        assert session.tell(["a"], [0.5]) == 1
    for act in (
        lambda: session.pick(1),
        lambda: session.tell(["b"], [0.5]),
        lambda: session.withdraw(["b"]),
        lambda: session.add(pool),
        session.__enter__,
    ):
        with pytest.raises(InputError, match=r"session is closed.*open another PoolSession"):
            act()
    assert (session.pending, session.n_free) == (("b",), 1)
    session.close()
