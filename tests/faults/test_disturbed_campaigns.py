"""Processes of a running campaign killed, and its disk full: the end is that of an undisturbed one."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from support import small_campaign
from support.logged_oracle import LoggedOracle
from support.small_campaign import final_state, journal_of, oracle_of

from gpnet_ray.campaign.journal import read_journal
from gpnet_ray.oracles.protocol import LabelOutcome

pytestmark = pytest.mark.long

Survived = Callable[[str, int], None]

DRIVER_KILLS = 10
LABELLERS = 2
N_START = 16
"""Train and test rows: labels that are bought before the loop."""

# A parent that has imported all, of which each driver is a fork: half of a start is imports.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["support.small_campaign", "ray"])


def a_node() -> dict[str, Any]:
    """What each node is made of.

    Its address is named, because a Ray that other tests have started in this process makes loopback
    the default, on which the nodes of a cluster do not find each other.
    """
    from ray._private.services import node_ip_address_from_perspective

    return {
        "num_cpus": 2,
        "object_store_memory": 100 * 2**20,
        "node_ip_address": node_ip_address_from_perspective(),
    }


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that outlives every driver, in processes of its own."""
    from ray.cluster_utils import Cluster

    # Workers import the oracle's module.
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(
            initialize_head=True,
            head_node_args={
                **a_node(),
                "include_dashboard": False,
                "_system_config": {
                    # A dead node is noticed within two seconds.
                    "health_check_initial_delay_ms": 1000,
                    "health_check_period_ms": 500,
                    "health_check_failure_threshold": 3,
                },
            },
        )
        yield cluster
        cluster.shutdown()


def start(folder: Path, cluster: Any, *, labellers: int = LABELLERS) -> BaseProcess:
    driver = FORKS.Process(target=small_campaign.run, args=(folder, cluster.address, labellers))
    driver.start()
    return driver


@pytest.fixture(autouse=True)
def no_driver_left() -> Iterator[None]:
    """After a test that failed, its driver must not keep the cluster's CPUs from the next one."""
    yield
    for driver in multiprocessing.active_children():
        driver.kill()
        driver.join()


def finish(driver: BaseProcess) -> None:
    driver.join(timeout=200)
    assert driver.exitcode == 0


def n_events(folder: Path) -> int:
    path = journal_of(folder)
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def wait_until(condition: Callable[[], bool], driver: BaseProcess) -> None:
    while not condition():
        assert driver.is_alive(), f"the driver ended with {driver.exitcode}"
        time.sleep(0.002)


@pytest.fixture(scope="module")
def undisturbed(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign with one labeller, that is to say in strict sequence, which nothing happens to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(start(folder, cluster, labellers=1))
    return folder


def check_same_end(folder: Path, undisturbed: Path) -> None:
    for name, table in final_state(undisturbed).items():
        pd.testing.assert_frame_equal(final_state(folder)[name], table, check_exact=True)
    assert labels(folder) == labels(undisturbed)


def labels(folder: Path) -> dict[str, float | None]:
    events = [e for e in read_journal(journal_of(folder)) if e["event"] == "label"]
    outcomes = [LabelOutcome(**e["outcome"]) for e in events]
    assert len({o.material_id for o in outcomes}) == len(outcomes), "a label is there twice"
    return {o.material_id: o.value for o in outcomes}


def check_only_the_interrupted_was_bought_again(folder: Path, interrupted: int) -> None:
    """``interrupted``: how many labels can have been in the making when something was killed."""
    calls = Counter(call.material_id for call in oracle_of(folder).calls())
    assert set(calls) == set(labels(folder))
    assert calls.total() - len(calls) <= interrupted


def test_the_driver_killed_ten_times(
    cluster: Any, undisturbed: Path, tmp_path: Path, survived: Survived
) -> None:
    whole = n_events(undisturbed)
    moments = 1 + np.random.default_rng(5).choice(whole - 2, DRIVER_KILLS, replace=False)
    known: set[str] = set()
    for moment in sorted(moments):
        before = n_events(tmp_path)
        driver = start(tmp_path, cluster)
        # It has come on a little since it was killed last, however near the moments are.
        due = max(int(moment), before + 1)
        wait_until(lambda due=due: n_events(tmp_path) >= due, driver)
        n_calls = len(oracle_of(tmp_path).calls())
        assert driver.pid is not None
        os.kill(driver.pid, signal.SIGKILL)
        driver.join()
        assert driver.exitcode == -signal.SIGKILL
        bought_since = {call.material_id for call in oracle_of(tmp_path).calls()[n_calls:]}
        assert not bought_since & known, "what is in the journal was bought again"
        known = set(labels(tmp_path))
    driver = start(tmp_path, cluster)
    finish(driver)
    check_same_end(tmp_path, undisturbed)
    check_only_the_interrupted_was_bought_again(tmp_path, DRIVER_KILLS * LABELLERS)
    survived("driver killed", DRIVER_KILLS)


def test_eight_labellers_of_different_speed_pick_what_a_single_one_picks(
    cluster: Any, undisturbed: Path, tmp_path: Path
) -> None:
    finish(start(tmp_path, cluster, labellers=8))
    check_same_end(tmp_path, undisturbed)
    events = read_journal(journal_of(tmp_path))
    asked = [i for e in events if e["event"] == "asked" for i in e["ids"]]
    answered = [e["outcome"]["material_id"] for e in events if e["event"] == "label"]
    assert sorted(asked) == sorted(answered)
    assert asked != answered, "no label overtook another, so nothing was tested"


def test_each_kind_of_actor_killed_at_work(
    cluster: Any, undisturbed: Path, tmp_path: Path, survived: Survived
) -> None:
    oracle, random = oracle_of(tmp_path), np.random.default_rng(7)
    driver = start(tmp_path, cluster)
    # Two labellers while the labels of the start are bought, one in the loop, and the scorers there.
    for moment in sorted(2 + random.choice(N_START - 4, 2, replace=False)):
        wait_until(lambda moment=moment: len(oracle.calls()) >= moment, driver)
        time.sleep(0.26 * random.random())
        kill(at_work(oracle), cluster)
    wait_until(lambda: bool(pids("NetworkWorker.", cluster)), driver)
    kill(pids("NetworkWorker", cluster)[0], cluster)
    wait_until(lambda: len(labels(tmp_path)) > N_START + 1, driver)
    # The scorers last, while the labels of a round are bought.
    kill(at_work(oracle), cluster)
    kill(pids("GpWorker", cluster)[0], cluster)
    wait_until(lambda: '"random"' in journal_of(tmp_path).read_text(), driver)
    kill(pids("PoolShard", cluster)[int(random.integers(2))], cluster)
    finish(driver)
    check_same_end(tmp_path, undisturbed)
    check_only_the_interrupted_was_bought_again(tmp_path, 3)
    for kind, times in (("labeller", 3), ("network worker", 1), ("GP worker", 1), ("shard", 1)):
        survived(f"{kind} killed", times)


def title(pid: int) -> str:
    """What Ray names a process after, the actor and its method; empty if it lives no more."""
    try:
        return "".join(psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return ""


def at_work(oracle: LoggedOracle) -> int:
    """The process of the labeller that was asked last, of those that live."""
    return next(call.pid for call in reversed(oracle.calls()) if title(call.pid))


def raylets(cluster: Any) -> set[int]:
    return {raylet(node) for node in cluster.list_all_nodes()}


def pids(actor: str, cluster: Any) -> list[int]:
    """Processes of this cluster in which an actor of a class (and method) runs."""
    workers = [child.pid for pid in raylets(cluster) for child in psutil.Process(pid).children()]
    return [pid for pid in workers if title(pid).startswith(f"ray::{actor}")]


def kill(pid: int, cluster: Any) -> None:
    """Kill a worker process, after a look that it is one of this cluster's."""
    assert psutil.Process(pid).ppid() in raylets(cluster)
    os.kill(pid, signal.SIGKILL)


def test_a_worker_node_lost_and_another_one_come(
    cluster: Any, undisturbed: Path, tmp_path: Path, survived: Survived
) -> None:
    oracle = oracle_of(tmp_path)
    node = cluster.add_node(**a_node())
    driver = start(tmp_path, cluster, labellers=4)
    wait_until(lambda: len(oracle.calls()) > N_START + 4, driver)
    workers = {worker.pid for worker in psutil.Process(raylet(node)).children()}
    assert workers & {call.pid for call in oracle.calls()}, "nobody worked on the node that is lost"
    cluster.remove_node(node, allow_graceful=False)
    another = cluster.add_node(**a_node())
    try:
        finish(driver)
    finally:
        cluster.remove_node(another)
    check_same_end(tmp_path, undisturbed)
    check_only_the_interrupted_was_bought_again(tmp_path, 4)
    survived("worker node lost", 1)


def raylet(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


FULL_DISK = """
import shutil, sys, threading, time
from pathlib import Path
from support.small_campaign import journal_of, run
from gpnet_ray.errors import RunFolderError

folder, address, full_at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
filler = folder / "small" / "filler"

def fill():
    journal = journal_of(folder)
    while not (journal.is_file() and journal.read_bytes().count(b"\\n") >= full_at):
        time.sleep(0.002)
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(512))
        except OSError:
            print("full")

thread = threading.Thread(target=fill)
thread.start()
try:
    run(folder, address, 2)
except (OSError, RunFolderError) as error:
    print("stopped")
    print(error, file=sys.stderr)
thread.join()
filler.unlink()
run(folder, address, 2)
shutil.copytree(folder / "small", folder / "copy" / "small")
"""


def test_a_full_disk(cluster: Any, undisturbed: Path, tmp_path: Path, survived: Survived) -> None:
    run_dir = journal_of(tmp_path).parent
    run_dir.mkdir()
    # Room for the run with the figures of its report, and no more.
    mount = f"mount -t tmpfs -o size=32m tmpfs {run_dir}"
    own_mounts = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if not shutil.which("unshare") or subprocess.run([*own_mounts, mount], check=False).returncode:
        pytest.skip("no small file system of one's own can be mounted here (unshare -rm)")
    script = tmp_path / "script.py"
    script.write_text(FULL_DISK)
    # Somewhere in the labels of the start or of the loop.
    full_at = str(np.random.default_rng(3).integers(5, n_events(undisturbed) - 5))
    arguments = [script, tmp_path, cluster.address, full_at]
    done = subprocess.run(
        [*own_mounts, f'{mount} && exec "$@"', "sh", sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["full", "stopped"], done.stderr
    assert "No space left on device" in done.stderr
    (tmp_path / "copy" / "calls").write_bytes((tmp_path / "calls").read_bytes())
    check_same_end(tmp_path / "copy", undisturbed)
    # What was being labelled when the disk filled up was written into the room kept for it.
    check_only_the_interrupted_was_bought_again(tmp_path / "copy", 0)
    survived("full disk", 1)
