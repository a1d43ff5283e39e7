"""Objects on a disk and in an object store: whole, safe, listed by key."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpnet_ray.errors import StorageAwayError
from gpnet_ray.storage.objects import Objects
from gpnet_ray.storage.uri import StorageUri


def test_what_is_put_is_read_listed_and_removed(address: str) -> None:
    objects = Objects(StorageUri.parse(address))
    assert objects.list() == {}
    assert objects.read("a.json") is None
    content = {"a.json": b"{}", "b/c.gz": b"not compressed on the way", "b/d/e": bytes(3_000_000)}
    for key, value in content.items():
        objects.put(key, b"an older one")
        objects.put(key, value)
    assert {key: found.size for key, found in objects.list().items()} == {
        key: len(value) for key, value in content.items()
    }
    assert {key: objects.read(key) for key in content} == content
    assert list(objects.list("b/d")) == ["b/d/e"]
    objects.delete("a.json")
    objects.delete("a.json")
    assert sorted(objects.list()) == ["b/c.gz", "b/d/e"]
    objects.delete_below("b/d")
    objects.delete_below("b/d")
    assert list(objects.list()) == ["b/c.gz"]
    objects.delete_below()
    assert objects.list() == {}


def test_a_bucket_that_is_not_there_and_a_place_that_cannot_be_written_are_told(
    store: object, tmp_path: Path
) -> None:
    address = store.uri("x").replace("bucket/x", "nobucket/x")  # type: ignore[attr-defined]
    with pytest.raises(StorageAwayError, match=r"nobucket/x.*cannot be written \(a\).*exist"):
        Objects(StorageUri.parse(address)).put("a", b"")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageAwayError, match="file/run cannot be written"):
        Objects(StorageUri.parse(str(tmp_path / "file" / "run"))).put("a", b"")


def test_a_file_that_is_being_written_is_not_listed_and_leaves_nothing(tmp_path: Path) -> None:
    objects = Objects(StorageUri.parse(str(tmp_path)))
    objects.put("a", b"1")
    (tmp_path / ".b.123.draft").write_bytes(b"half")
    assert list(objects.list()) == ["a"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [".b.123.draft", "a"]
