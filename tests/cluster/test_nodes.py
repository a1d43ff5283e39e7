"""A campaign on one node, whose metrics are read; on several, which pick the same; and on machines apart."""

from __future__ import annotations

import multiprocessing
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from support import small_campaign
from support.metrics_run import Seen, run_and_read
from support.network_namespaces import machines, ray_on
from support.small_campaign import final_state, journal_of, oracle_of

from gpnet_ray.campaign.journal import read_journal
from gpnet_ray.campaign.telemetry_standing import Standing

pytestmark = pytest.mark.long

N_TRAIN, N_START, N_POOL = 12, 16, 34
"""Of the small campaign: train rows, train and test rows, and the rest of its 50 crystals."""

PATHS = os.pathsep.join(
    filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
)
"""Workers import the oracle's module."""

DRIVERS = multiprocessing.get_context("spawn")


def a_node() -> dict[str, Any]:
    """What each node is made of; its address is named because other tests make loopback the default."""
    from ray._private.services import node_ip_address_from_perspective

    return {
        "num_cpus": 2,
        "object_store_memory": 100 * 2**20,
        "node_ip_address": node_ip_address_from_perspective(),
    }


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", PATHS)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(
            initialize_head=True, head_node_args={**a_node(), "include_dashboard": False}
        )
        yield cluster
        cluster.shutdown()


@pytest.fixture(scope="module")
def on_one_node(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Seen]:
    """A campaign on a local Ray, with what could be read of it meanwhile."""
    folder = tmp_path_factory.mktemp("one")
    # Other tests may be connected to a Ray of theirs in this process.
    with ProcessPoolExecutor(1, mp_context=DRIVERS) as pool:
        return folder, pool.submit(run_and_read, folder).result()


def test_a_runs_metrics_can_be_scraped_and_status_says_the_same(
    on_one_node: tuple[Path, Seen],
) -> None:
    folder, seen = on_one_node
    events = read_journal(journal_of(folder))
    standing = Standing.of(events)
    figures = standing.figures()
    assert seen.scraped == {("small", standing.run_id, "eV/atom"): figures}
    # Counted by hand: the start's labels and what two strategies bought, some of it by both.
    picks = final_state(folder)["picks"]
    assert figures.labels_ok == N_START + picks.material_id.nunique()
    assert (figures.labels_failed, figures.labels_pending) == (0, 0)
    metrics = final_state(folder)["metrics"].set_index(["strategy", "cycle"])
    for strategy in ("max-sigma", "random"):
        arm = figures.arms[strategy]
        assert (arm.picks, arm.pool_left) == (8, N_POOL - 8)
        assert arm.test_mae == metrics.loc[(strategy, 8), "test_mae"]
        # Of the pick before; it falls with every label, and by less than half here.
        last = picks[(picks.strategy == strategy)].sigma.iloc[-1]
        assert last / 2 < arm.largest_sigma <= picks.sigma.max()
        rounds = [e for e in events if e["event"] == "round" and e["strategy"] == strategy]
        assert sum(e["cycles"] for e in rounds) == 8
        # To the process and two shards, for planning and for the labels.
        assert all(e["messages"] % 3 == 0 and e["messages"] >= 6 for e in rounds)
        # At least the latents and columns of what was labelled, in float64.
        assert all(e["bytes"] > 8 * N_TRAIN * e["cycles"] for e in rounds)
        assert all(0 < e[f"{step}_seconds"] < 60 for e in rounds for step in ("scoring", "update"))
    assert "Finished" not in seen.in_the_middle
    assert re.search(r"Labels: \d+ ok, 0 failed, \d+ pending", seen.in_the_middle)
    assert "eV/atom) of hypothetical" in seen.in_the_middle
    assert "Finished." in seen.at_the_end
    of_random = f"random: 8 picks, {N_POOL - 8} left in the pool, largest σ "
    assert of_random in seen.at_the_end
    assert of_random in seen.of_the_cluster
    assert f"small (run id {standing.run_id}):" in seen.of_the_cluster
    assert "Nodes: 1; " in seen.of_the_cluster


def check_same_end(folder: Path, other: Path) -> None:
    for name, table in final_state(other).items():
        pd.testing.assert_frame_equal(final_state(folder)[name], table, check_exact=True)


def workers(node: Any) -> set[int]:
    raylet = int(node.all_processes["raylet"][0].process.pid)
    return {worker.pid for worker in psutil.Process(raylet).children()}


def test_three_nodes_pick_what_one_picks_and_a_node_that_comes_later_is_used(
    cluster: Any, on_one_node: tuple[Path, Seen], tmp_path: Path
) -> None:
    nodes = [cluster.head_node, *(cluster.add_node(**a_node()) for _ in range(2))]
    # Half a CPU on each node for the scorers leaves a labeller a place on each; three have none yet.
    half, one = {"cpus": 0.5}, {"cpus": 1}
    resources = {"gp": half, "featurizer": half, "shard": half, "labeller": one}
    args = (tmp_path, cluster.address, 6, resources)
    driver = DRIVERS.Process(target=small_campaign.run, args=args)
    driver.start()
    try:
        wait_until(lambda: len(oracle_of(tmp_path).calls()) >= 6, driver)
        at_first = {call.pid for call in oracle_of(tmp_path).calls()}
        assert [len(at_first & workers(node)) for node in nodes] == [1, 1, 1]
        late = cluster.add_node(**a_node())
        wait_until(lambda: len(oracle_of(tmp_path).calls()) > N_START + 12, driver)
        of_late = workers(late)
        driver.join(timeout=200)
        assert driver.exitcode == 0
    finally:
        driver.kill()
        for node in (*nodes[1:], late):
            cluster.remove_node(node)
    calls = [call.pid for call in oracle_of(tmp_path).calls()]
    assert len(of_late.intersection(calls)) == 2, "the new node has room for two labellers"
    check_same_end(tmp_path, on_one_node[0])


def wait_until(condition: Callable[[], bool], driver: Any) -> None:
    while not condition():
        assert driver.is_alive(), f"the driver ended with {driver.exitcode}"
        time.sleep(0.01)


SCRIPT = "import sys; from pathlib import Path; from support.small_campaign import run;"
SCRIPT += "run(Path(sys.argv[1]), sys.argv[2], 3)"


def test_machines_with_addresses_and_disks_of_their_own(
    on_one_node: tuple[Path, Seen], tmp_path: Path
) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    environment |= {"PYTHONPATH": PATHS, "RAY_USAGE_STATS_ENABLED": "0"}
    # As a cluster is to be started that others can reach.
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    with (
        machines(3) as made,
        # Over the run's folder and the head's own, so that workers find nothing of them.
        ray_on(made, hidden=(tmp_path,), environment=environment) as address,
    ):
        command = [sys.executable, "-c", SCRIPT, tmp_path, address]
        done = subprocess.run(
            made.command(0, command),
            env=environment,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
    # Each machine's labellers have written down what they did on that machine, where it is gone.
    assert oracle_of(tmp_path).calls() == []
    check_same_end(tmp_path, on_one_node[0])
