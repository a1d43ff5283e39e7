"""A run whose driver is killed and whose disk is gone: it goes on from the storage to the same end."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.logged_oracle import LoggedOracle
from support.object_store import ObjectStore, object_store
from support.stored_campaign import N_START, run

from gpnet_ray.campaign.ask_tell_setup import settled
from gpnet_ray.campaign.journal import read_journal
from gpnet_ray.campaign.storage import fetch_run, run_uri
from gpnet_ray.config_layers import load_config
from gpnet_ray.errors import InputError, RunFolderError, StorageError

pytestmark = pytest.mark.long

DRIVER = """
import sys
from pathlib import Path
from support.stored_campaign import run
run(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
"""


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with object_store() as running:
        yield running


@pytest.fixture(scope="module")
def undisturbed(small_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing happens to, kept in another folder."""
    place = tmp_path_factory.mktemp("undisturbed")
    return run(place / "runs", place / "calls", str(place / "storage")).run_dir


def labels(journal: Path) -> list[str]:
    """Ids that have a label, in the order of the journal; a line that is being written is left out."""
    events = read_journal(journal)
    return [e["outcome"]["material_id"] for e in events if e["event"] == "label"]


def files(folder: Path) -> dict[str, bytes]:
    kept = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    return {str(p.relative_to(folder)): p.read_bytes() for p in kept}


def kill_in_the_loop(runs_dir: Path, calls: Path, storage: str) -> None:
    """Start a driver with a Ray of its own, and kill it when some labels of the loop are there."""
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    others = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    driver = psutil.Popen(
        [sys.executable, "-c", DRIVER, runs_dir, calls, storage],
        env={**others, "PYTHONPATH": os.pathsep.join(paths)},
    )
    journal = runs_dir / "small" / "journal.jsonl"
    while not (journal.is_file() and len(labels(journal)) >= N_START + 5):
        assert driver.poll() is None, "the driver ended by itself"
        time.sleep(0.002)
    its_ray = driver.children(recursive=True)
    driver.kill()
    driver.wait()
    # The rest of the machine goes with it; two of Ray's agents would stay.
    for process in psutil.wait_procs(its_ray, timeout=2)[1]:
        process.kill()


def test_a_killed_driver_whose_disk_is_gone_is_followed_from_the_object_store(
    undisturbed: Path, store: ObjectStore, tmp_path: Path
) -> None:
    storage, log = store.uri("killed"), tmp_path / "calls"
    kill_in_the_loop(tmp_path / "head", log, storage)
    before = fetch_run(run_uri(storage, "small"), tmp_path / "before")
    known, written = set(labels(before / "journal.jsonl")), tmp_path / "head" / "small"
    # What the program has gone on from: what stands before the last message to a labeller.
    events = read_journal(written / "journal.jsonl")
    last_asked = max(n for n, e in enumerate(events) if e["event"] == "asked")
    acted_on = {e["outcome"]["material_id"] for e in events[:last_asked] if e["event"] == "label"}
    assert acted_on <= known
    shutil.rmtree(written)

    oracle = LoggedOracle(log)
    n_calls = len(oracle.calls())
    in_flight = {call.material_id for call in oracle.calls()} - known
    with pytest.raises(RunFolderError, match=r"holds a run already.*--resume"):
        run(tmp_path / "other head", log, storage)
    result = run(tmp_path / "other head", log, storage, resume=True)

    again = Counter(call.material_id for call in oracle.calls()[n_calls:])
    assert not known.intersection(again), "a label that was kept was bought again"
    assert {
        i for i, n in Counter(c.material_id for c in oracle.calls()).items() if n > 1
    } <= in_flight
    columns = ["strategy", "cycle", "material_id", "sigma", "label"]
    reference = _picks(undisturbed)
    assert result.picks[columns].equals(reference[columns])

    fetched = fetch_run(run_uri(storage, "small"), tmp_path / "fetched")
    assert files(fetched) == files(result.run_dir)
    assert "report/index.html" in files(fetched)
    settings = (fetched / "config.yaml").read_text()
    assert "wh1sper" not in settings
    assert not any(b"wh1sper" in content for content in files(fetched).values())


def _picks(folder: Path) -> object:
    import pyarrow.parquet as pq

    return pq.read_table(folder / "picks.parquet").to_pandas()


def test_an_undisturbed_run_is_whole_in_a_folder(undisturbed: Path, tmp_path: Path) -> None:
    storage = undisturbed.parents[1] / "storage"
    fetched = fetch_run(str(storage / "small"), tmp_path / "fetched")
    assert files(fetched) == files(undisturbed)
    assert json.loads((fetched / "summary.json").read_text())
    with pytest.raises(StorageError, match="no run at"):
        fetch_run(str(storage / "big"), tmp_path / "none")


def test_labels_cost_few_requests(undisturbed: Path, store: ObjectStore) -> None:
    """Of the run that was killed and followed: every label at most one object, whatever else is journaled."""
    n_labels = N_START + 12
    assert 0 < store.n_written("killed/small/journal/") <= n_labels + 12


def test_told_labels_are_refused_a_storage_instead_of_only_seeming_to_be_kept() -> None:
    config = load_config(overrides={"storage.uri": "s3://bucket/runs"})
    with pytest.raises(InputError, match=r"storage\.uri.*not kept in a storage"):
        settled(config)
