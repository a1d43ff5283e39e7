"""One S3 server for the room's tests, and an address in it, or in a folder, for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.object_store import ObjectStore, object_store


@pytest.fixture(scope="session")
def store() -> Iterator[ObjectStore]:
    with object_store() as running:
        yield running


@pytest.fixture(params=["folder", "s3"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a run may be kept: the same properties hold for a folder (NFS) and for an object store."""
    if request.param == "folder":
        return str(tmp_path / "storage" / "run")
    store: ObjectStore = request.getfixturevalue("store")
    return store.uri(f"{tmp_path.name}/run")
