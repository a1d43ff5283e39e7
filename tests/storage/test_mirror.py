"""The copy of a run while it goes on: what must not lag is there first, and an absent storage costs nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from support.object_store import ObjectStore

from gpnet_ray.campaign.journal import Journal
from gpnet_ray.campaign.run_folder import RunFolder
from gpnet_ray.campaign.storage import check_free, fetch_run, stored_run
from gpnet_ray.config_layers import load_config
from gpnet_ray.errors import RunFolderError, StorageError
from gpnet_ray.storage.journal_copy import JOURNAL
from gpnet_ray.storage.mirror import Mirror, MirrorSettings
from gpnet_ray.storage.objects import Objects
from gpnet_ray.storage.ownership import Ownership, Signs
from gpnet_ray.storage.settings import StorageConfig
from gpnet_ray.storage.uri import StorageUri

SETTINGS = MirrorSettings(patience_seconds=60.0, first_pause_seconds=0.2, signs=Signs(1e9))


def label(number: int) -> dict[str, object]:
    return {"event": "label", "id": f"mp-{number}"}


@contextmanager
def writing(
    folder: Path,
    uri: str,
    *,
    resume: bool = False,
    overwrite: bool = False,
    settings: MirrorSettings = SETTINGS,
) -> Iterator[tuple[Journal, Mirror]]:
    said: list[str] = []
    storage = StorageConfig(uri=uri)
    with stored_run(
        folder,
        storage,
        resume=resume,
        overwrite=overwrite,
        settings=settings,
        notify=said.append,
    ) as mirror:
        assert mirror is not None
        folder.mkdir(parents=True, exist_ok=True)
        with Journal(folder / "journal.jsonl", mirror=mirror) as journal:
            yield journal, mirror


def same_but_private(folder: Path, fetched: Path) -> None:
    def content(of: Path) -> dict[str, bytes]:
        files = {str(p.relative_to(of)): p for p in of.rglob("*") if p.is_file()}
        return {name: p.read_bytes() for name, p in files.items() if not p.name.startswith(".")}

    assert content(fetched) == content(folder)


@pytest.fixture
def storage(address: str) -> str:
    """Of the run ``run``."""
    return address.replace("/run", "", 1) if "://" in address else address.removesuffix("/run")


def test_labels_are_there_before_the_program_goes_on_with_the_files_they_rest_on(
    address: str, storage: str, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with writing(folder, storage) as (journal, _):
        (folder / "network").mkdir()
        (folder / "network" / "weights.npz").write_bytes(bytes(1000))
        (folder / "half.parquet.tmp").write_bytes(b"half")
        journal.append({"event": "asked", "for": "label", "ids": ["mp-1"]})
        journal.append({"event": "network", "fingerprint": "0f"})
        journal.append(label(1))
        at_once = fetch_run(address, tmp_path / "at_once")
        assert (at_once / "journal.jsonl").read_bytes() == (folder / "journal.jsonl").read_bytes()
        assert (at_once / "network" / "weights.npz").is_file()
        (folder / "network" / "weights.npz").unlink()
        (folder / "picks.parquet").write_bytes(b"PAR1")
        (folder / "label_files" / "mp-1").mkdir(parents=True)
        (folder / "label_files" / "mp-1" / "log.gz").write_bytes(b"\x1f\x8b")
        (folder / "half.parquet.tmp").unlink()
        journal.append({"event": "cycle", "cycle": 1})
    same_but_private(folder, fetch_run(address, tmp_path / "end"))


def test_what_may_lag_costs_no_request_of_its_own(store: ObjectStore, tmp_path: Path) -> None:
    uri = store.uri(tmp_path.name)
    with writing(tmp_path / "run", uri) as (journal, _):
        journal.append({"event": "run"})
        before = len(store.requests)
        for number in range(1000):
            journal.append({"event": "cycle", "cycle": number})
        assert len(store.requests) == before
        journal.append(*(label(n) for n in range(200)))
        # The lines in one object, then a look at the claim (HEAD and GET).
        assert len(store.requests) == before + 3
    # The two of them are merged at the end.
    assert store.n_written(f"{tmp_path.name}/run/journal/") == 2 + 1


def test_a_storage_that_is_away_for_a_while_is_waited_for(
    store: ObjectStore, tmp_path: Path
) -> None:
    uri = store.uri(tmp_path.name)
    with writing(tmp_path / "run", uri) as (journal, _):
        journal.append({"event": "run"})
        store.stop()
        back = threading.Timer(1.0, store.start)
        back.start()
        journal.append(label(1))
        back.join()
    fetched = fetch_run(store.uri(f"{tmp_path.name}/run"), tmp_path / "fetched")
    same_but_private(tmp_path / "run", fetched)


def test_a_storage_that_stays_away_stops_the_run_and_nothing_is_lost(tmp_path: Path) -> None:
    storage, folder, away = tmp_path / "storage", tmp_path / "run", tmp_path / "away"
    impatient = replace(SETTINGS, patience_seconds=0.5)

    def run() -> None:
        with writing(folder, str(storage), settings=impatient) as (journal, _):
            journal.append(label(0))
            storage.rename(away)
            storage.write_text("no folder any more")
            began = time.monotonic()
            with pytest.raises(StorageError, match="tried for"):
                journal.append(label(1))
            assert time.monotonic() - began > 0.2
            began = time.monotonic()
            try:
                # What was in the making is journaled without waiting again.
                journal.append(label(2))
            finally:
                assert time.monotonic() - began < 0.1

    with pytest.raises(StorageError) as stopped:
        run()
    text = str(stopped.value)
    assert str(storage / "run") in text
    assert f"Nothing is lost: labels and picks are in {folder}" in text
    assert "--resume" in text
    storage.unlink()
    away.rename(storage)
    dead = replace(SETTINGS, signs=Signs(1e9, dead_after_seconds=0.0))
    with writing(folder, str(storage), resume=True, settings=dead) as (journal, _):
        assert [e["id"] for e in journal.events] == ["mp-0", "mp-1", "mp-2"]
    same_but_private(folder, fetch_run(str(storage / "run"), tmp_path / "fetched"))


def test_a_fresh_machine_goes_on_and_the_first_one_after_it(
    address: str, storage: str, tmp_path: Path
) -> None:
    first, second = tmp_path / "one" / "run", tmp_path / "two" / "run"
    with writing(first, storage) as (journal, _):
        journal.append(label(1))
        (first / "split.json").write_text("{}")
    with writing(second, storage, resume=True) as (journal, _):
        assert [event["id"] for event in journal.events] == ["mp-1"]
        journal.append(label(2))
        (second / "picks.parquet").write_bytes(b"PAR1")
    with writing(first, storage, resume=True) as (journal, _):
        assert [event["id"] for event in journal.events] == ["mp-1", "mp-2"]
    same_but_private(second, first)
    same_but_private(second, fetch_run(address, tmp_path / "fetched"))


def test_a_folder_that_went_on_without_the_storage_is_not_mixed_with_it(
    address: str, storage: str, tmp_path: Path
) -> None:
    first, second = tmp_path / "one" / "run", tmp_path / "two" / "run"
    with writing(first, storage) as (journal, _):
        journal.append(label(1))
    with Journal(first / "journal.jsonl") as journal:
        journal.append(label(2), label(3))
    with writing(second, storage, resume=True) as (journal, _):
        journal.append(label(4))
    with (
        pytest.raises(StorageError, match=r"after 1 events \(2 more here, 1 more there|1 there\)"),
        writing(first, storage, resume=True),
    ):
        pass
    same_but_private(second, fetch_run(address, tmp_path / "fetched"))
    said: list[str] = []
    quick = Signs(dead_after_seconds=2.0, look_every_seconds=0.3)
    Ownership.take(Objects(StorageUri.parse(address)), signs=quick, notify=said.append)
    assert said == [], "a process that was refused keeps no other one waiting"


def test_a_stored_journal_with_a_hole_is_left_as_it_is(
    address: str, storage: str, tmp_path: Path
) -> None:
    objects = Objects(StorageUri.parse(address))
    with writing(tmp_path / "one" / "run", storage) as (journal, _):
        for number in range(4):
            journal.append(label(number))
        pieces = {key: objects.read(key) or b"" for key in objects.list(JOURNAL)}
    # As if it had been killed before it merged them.
    objects.delete_below(JOURNAL)
    keys = sorted(pieces)
    for key in keys[:1] + keys[2:]:
        objects.put(key, pieces[key])
    with (
        pytest.raises(StorageError, match="events 1 to 1"),
        writing(tmp_path / "two" / "run", storage, resume=True),
    ):
        pass
    with pytest.raises(StorageError, match="events 1 to 1"):
        fetch_run(address, tmp_path / "fetched")
    assert not (tmp_path / "two" / "run").exists()
    assert sorted(objects.list(JOURNAL)) == keys[:1] + keys[2:]
    objects.put(keys[1], pieces[keys[1]])
    with writing(tmp_path / "two" / "run", storage, resume=True) as (journal, _):
        assert [event["id"] for event in journal.events] == [f"mp-{n}" for n in range(4)]


def test_a_writer_that_was_taken_over_stops_before_it_acts(
    address: str, storage: str, tmp_path: Path
) -> None:
    first, second = tmp_path / "one" / "run", tmp_path / "two" / "run"

    def run() -> None:
        with writing(first, storage) as (old, mirror):
            old.append(label(1))
            (first / "split.json").write_text("old")
            # As if it had seemed dead.
            mirror._ownership.release()
            with writing(second, storage, resume=True) as (new, _):
                new.append(label(2))
                (first / "split.json").write_text("older")
                old.append(label(3))

    with pytest.raises(StorageError, match="taken over"):
        run()
    with Journal(first / "journal.jsonl") as journal:
        assert len(journal.events) == 2, "what it had bought is in its own folder"
    same_but_private(second, fetch_run(address, tmp_path / "fetched"))


def test_beginning_anew_leaves_nothing_of_the_run_before(
    address: str, storage: str, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with writing(folder, storage) as (journal, _):
        journal.append(label(1))
        (folder / "old").mkdir()
        (folder / "old" / "picks.parquet").write_bytes(b"PAR1")
        (folder / "old.json").write_text("{}")
    other = tmp_path / "other" / "run"
    with writing(other, storage, overwrite=True) as (journal, _):
        journal.append(label(9))
    same_but_private(other, fetch_run(address, tmp_path / "fetched"))


def test_a_run_that_another_machine_began_since_one_looked_is_not_replaced(
    address: str, storage: str, tmp_path: Path
) -> None:
    config = load_config(overrides={"storage.uri": storage})
    slow, quick = tmp_path / "slow" / "run", tmp_path / "quick" / "run"
    check_free(RunFolder(slow), config, resume=False, overwrite=False)
    # While the slow one reads its dataset.
    with writing(quick, storage) as (journal, _):
        journal.append(label(1))
        journal.append(label(2))
    with (
        pytest.raises(RunFolderError, match=r"holds a run already.*--resume.*--overwrite"),
        writing(slow, storage),
    ):
        pass
    same_but_private(quick, fetch_run(address, tmp_path / "fetched"))
    with writing(slow, storage, resume=True) as (journal, _):
        assert [event["id"] for event in journal.events] == ["mp-1", "mp-2"]


def test_a_folder_that_was_begun_since_one_looked_is_not_begun_twice(
    storage: str, tmp_path: Path
) -> None:
    config, folder = load_config(overrides={"storage.uri": storage}), tmp_path / "run"
    check_free(RunFolder(folder), config, resume=False, overwrite=False)
    folder.mkdir()
    with Journal(folder / "journal.jsonl") as journal:
        journal.append(label(1))
    with pytest.raises(RunFolderError, match="exists already"), writing(folder, storage):
        pass


def test_signs_of_life_carry_what_may_lag(address: str, storage: str, tmp_path: Path) -> None:
    quick = MirrorSettings(signs=Signs(every_seconds=0.05))
    with writing(tmp_path / "run", storage, settings=quick) as (journal, _):
        journal.append(label(1), {"event": "cycle", "cycle": 1})
        journal.append({"event": "cycle", "cycle": 2})
        (tmp_path / "run" / "training_checkpoint.npz").write_bytes(b"PK")
        deadline = time.monotonic() + 10.0
        for attempt in count():
            fetched = fetch_run(address, tmp_path / f"fetched-{attempt}")
            lines = (fetched / "journal.jsonl").read_bytes()
            if (fetched / "training_checkpoint.npz").is_file() and b'"cycle": 2' in lines:
                break
            assert time.monotonic() < deadline


def test_an_object_that_leads_out_of_the_folder_is_refused(
    store: ObjectStore, tmp_path: Path
) -> None:
    uri = store.uri(tmp_path.name)
    with writing(tmp_path / "run", uri) as (journal, _):
        journal.append(label(1))
    import boto3

    endpoint = f"http://127.0.0.1:{store.port}"
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").put_object(
        Bucket="bucket", Key=f"{tmp_path.name}/run/../../evil", Body=b"x"
    )
    with pytest.raises(StorageError, match="leads out of the run folder"):
        fetch_run(store.uri(f"{tmp_path.name}/run"), tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


def test_fetching_says_what_there_is(address: str, storage: str, tmp_path: Path) -> None:
    with writing(tmp_path / "run", storage) as (journal, _):
        journal.append(label(1))
    with pytest.raises(StorageError, match=r"no run at .*; runs there: run"):
        fetch_run(storage, tmp_path / "fetched")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    with pytest.raises(RunFolderError, match="holds something"):
        fetch_run(address, tmp_path / "full")
