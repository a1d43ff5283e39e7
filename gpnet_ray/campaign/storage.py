"""A run that is kept in a storage besides its own folder: beginning it, bringing it back, fetching it.

The folder under ``runs_dir`` is what the program works in; the storage has a copy under the same name, which is
always as far as anything that the program has acted upon. What is guaranteed is in ``docs/storage.md``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gpnet_ray.campaign.journal import Journal, read_journal
from gpnet_ray.campaign.run_folder import RunFolder
from gpnet_ray.config import Config
from gpnet_ray.errors import RunFolderError, StorageAwayError, StorageError
from gpnet_ray.storage.folder_copy import JOURNAL_FILE, fetch_files, stored_files
from gpnet_ray.storage.journal_copy import JOURNAL, JournalCopy, read_stored_journal
from gpnet_ray.storage.mirror import Mirror, MirrorSettings
from gpnet_ray.storage.objects import Objects
from gpnet_ray.storage.ownership import OWNER, Ownership, read_claim
from gpnet_ray.storage.settings import StorageConfig
from gpnet_ray.storage.uri import StorageUri

__all__ = ["check_free", "fetch_run", "run_uri", "stored_run"]


def run_uri(storage: str, name: str) -> str:
    """The address of one run in a storage.

    >>> run_uri("s3://bucket/runs?region=eu-west-1", "oxides")
    's3://bucket/runs/oxides?region=eu-west-1'

    Raises:
        InputError: the storage is none that can be used; see :class:`gpnet_ray.storage.uri.StorageUri`.
    """
    return str(StorageUri.parse(storage).child(name))


def fetch_run(uri: str, to: str | Path) -> Path:
    """Copy a stored run, running or ended, into a folder of this machine; the storage is not changed.

    Args:
        uri: The run's address: the storage's, and the run's name behind it (:func:`run_uri`).
        to: A folder that is new or empty.

    Returns:
        The folder: an ordinary run folder, with its journal and, once the run has ended, its report.

    Raises:
        InputError: the address is none that can be used.
        RunFolderError: the folder holds something.
        StorageError: there is no run at the address, pieces of its journal are missing, or the storage does
            not answer.
    """
    folder = Path(to)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise RunFolderError(f"{folder} holds something; name a folder that is new or empty")
    with _advice_where_away():
        objects = Objects(StorageUri.parse(uri))
        _check_holds_run(objects)
        draft = folder.with_name(f".{folder.name}.fetched-{os.getpid()}")
        try:
            # The journal before the files, so that no file is older than what is said of it.
            journal, _ = read_stored_journal(objects, read_claim(objects))
            fetch_files(objects, stored_files(objects), draft)
            _write_journal(draft, journal)
            draft.replace(folder)
        finally:
            if draft.exists():
                shutil.rmtree(draft)
    return folder


def check_free(folder: RunFolder, config: Config, *, resume: bool, overwrite: bool) -> None:
    """Refuse to touch a folder or a stored run that holds something, unless the user said what to do with it.

    Raises:
        RunFolderError: see :meth:`RunFolder.check_free`; the storage's copy counts as the folder does.
        StorageError: the storage does not answer, or holds something else under the run's name.
    """
    stored = None
    if config.storage.uri is not None:
        with _advice_where_away():
            objects = Objects(StorageUri.parse(config.storage.uri).child(folder.path.name))
            stored = _address_of_run(objects)
    folder.check_free(resume=resume, overwrite=overwrite, stored=stored)


@contextmanager
def stored_run(
    folder: Path,
    storage: StorageConfig,
    *,
    resume: bool,
    overwrite: bool,
    settings: MirrorSettings | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> Iterator[Mirror | None]:
    """Be the one writer of a run's copy in the storage, within the block; ``None`` where there is no storage.

    Args:
        folder: The run's own folder.
        storage: Where the copy is.
        resume: Go on with what is there: the folder, or the copy where that has more, is brought up
            to the other. Otherwise the copy begins anew.
        overwrite: Where the copy begins anew, replace what is there.
        settings: Of the mirror; by ``storage`` where left out.
        notify: Told in one line what is done.

    Raises:
        StorageError: another process writes the run; it does not answer; pieces of its journal are missing;
            or folder and copy have gone different ways.
        RunFolderError: the folder is being written by another process; or there is a run already, in it or in
            the storage, and neither ``resume`` nor ``overwrite`` says what to do with it.
    """
    if storage.uri is None:
        yield None
        return
    settings = settings or MirrorSettings(patience_seconds=storage.give_up_after_seconds)
    with _advice_where_away():
        objects = Objects(StorageUri.parse(storage.uri).child(folder.name))
        ownership = Ownership.take(objects, signs=settings.signs, notify=notify)
        journal = JournalCopy(objects, ownership.claim)
        with ownership.released_after_error():
            if resume:
                _bring_together(objects, ownership, journal, folder, notify)
            else:
                _begin_anew(objects, folder, overwrite=overwrite)
    with Mirror(objects, ownership, journal, folder, settings=settings, notify=notify) as mirror:
        yield mirror


def _bring_together(
    objects: Objects,
    ownership: Ownership,
    journal: JournalCopy,
    folder: Path,
    notify: Callable[[str], None],
) -> None:
    """Let folder and copy have the same journal, the longer of both, before anything is added to it."""
    stored, listed = read_stored_journal(objects, ownership.before)
    local = _own_journal(folder)
    if not (local.startswith(stored) or stored.startswith(local)):
        raise _gone_different_ways(objects, folder, local, stored)
    if len(stored) > len(local):
        fetch_files(objects, stored_files(objects), folder)
        _write_journal(folder, stored)
        notify(f"{folder} is brought up to what {objects.uri} holds")
    if local or stored:
        read_journal(folder / JOURNAL_FILE)
    whole = max(local, stored, key=len)
    journal.begin(whole)
    ownership.check()
    journal.delete_repeated(listed, whole)


def _own_journal(folder: Path) -> bytes:
    """Whole lines of the folder's journal, which no other process may be writing."""
    path = folder / JOURNAL_FILE
    if not path.is_file():
        return b""
    Journal(path).close()
    return path.read_bytes()


def _write_journal(folder: Path, content: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{JOURNAL_FILE}.tmp"
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / JOURNAL_FILE)


def _gone_different_ways(
    objects: Objects, folder: Path, local: bytes, stored: bytes
) -> StorageError:
    here, there = local.splitlines(), stored.splitlines()
    same = next(n for n, (a, b) in enumerate(zip(here, there, strict=False)) if a != b)
    return StorageError(
        f"{folder} and {objects.uri} have gone different ways after {same} events ({len(here) - same} more"
        f" here, {len(there) - same} there): another process went on with the stored run. To go on with"
        f" what the storage has, move {folder} away and give --resume again; to go on with the folder,"
        " leave out --storage"
    )


def _begin_anew(objects: Objects, folder: Path, *, overwrite: bool) -> None:
    """Remove what is there, if it may be removed.

    Since :func:`check_free` a dataset was read, for minutes maybe, and another machine may have begun this run; from
    now on none can.
    """
    stored = _address_of_run(objects)
    RunFolder(folder).check_free(resume=False, overwrite=overwrite, stored=stored)
    keys = [key for key in objects.list() if not key.startswith(f"{OWNER}/")]
    for key in (key for key in keys if "/" not in key):
        objects.delete(key)
    for top in sorted({key.partition("/")[0] for key in keys if "/" in key}):
        objects.delete_below(top)


def _address_of_run(objects: Objects) -> str | None:
    """The address, if a run is there; one that was cleared and not begun again is none.

    Raises:
        StorageError: something else is there.
    """
    keys = objects.list()
    ours = [key for key in keys if key.startswith(f"{OWNER}/")]
    if keys and not ours:
        raise StorageError(
            f"{objects.uri} holds something that is no run of gpnet-ray ({min(keys)} …); give another"
            " --storage or --name"
        )
    return str(objects.uri) if any(key.startswith(f"{JOURNAL}/") for key in keys) else None


def _check_holds_run(objects: Objects) -> None:
    """Make sure that there is a run to fetch.

    Raises:
        StorageError: there is none; names those that lie below.
    """
    keys = objects.list()
    if any(key.startswith(f"{JOURNAL}/") for key in keys):
        return
    names = sorted({key.partition("/")[0] for key in keys if f"/{OWNER}/" in key})
    below = f"; runs there: {', '.join(names)}" if names else ""
    raise StorageError(f"there is no run at {objects.uri}{below}")


@contextmanager
def _advice_where_away() -> Iterator[None]:
    try:
        yield
    except StorageAwayError as error:
        raise StorageError(
            f"{error}. Check the storage's address, the network and the credentials; nothing was begun"
        ) from error
