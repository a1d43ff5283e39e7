"""Addresses of storage: what can be used comes back as it was; a secret is refused and never repeated."""

from __future__ import annotations

import pytest

from gpnet_ray.config_layers import load_config
from gpnet_ray.errors import InputError
from gpnet_ray.storage.uri import StorageUri

SECRET = "wJalrXUtnFEMI"  # noqa: S105 - made up


@pytest.mark.parametrize(
    "text",
    [
        "runs",
        "/mnt/nfs/runs",
        "s3://bucket",
        "s3://bucket/a/b",
        "gs://bucket/a",
        "s3://bucket/a?endpoint_override=127.0.0.1%3A9000&region=eu-west-1&scheme=http",
    ],
)
def test_an_address_comes_back_as_it_was_given(text: str) -> None:
    assert str(StorageUri.parse(text)) == text
    assert str(StorageUri.parse(text).child("oxides")).partition("?")[0].endswith("/oxides")


def test_a_file_uri_is_a_path() -> None:
    assert StorageUri.parse("file:///mnt/runs") == StorageUri.parse("/mnt/runs")


@pytest.mark.parametrize(
    "text",
    [
        f"s3://AKIA:{SECRET}@bucket/runs",
        f"s3://bucket/runs?secret_key={SECRET}&access_key=AKIA",
        f"s3://bucket/runs?session_token={SECRET}",
        f"s3://bucket/runs?endpoint_override=http://AKIA:{SECRET}@host",
        f"gs://{SECRET}@bucket/runs",
        f"gs://bucket/runs?access_token={SECRET}",
    ],
)
def test_a_secret_is_refused_naming_where_it_belongs_and_not_the_secret(text: str) -> None:
    with pytest.raises(InputError, match="Credentials come from") as refused:
        load_config(overrides={"storage.uri": text})
    assert SECRET not in str(refused.value)
    with pytest.raises(InputError) as refused:
        StorageUri.parse(text)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ftp://host/runs", "not supported"),
        ("s3:///runs", "names no bucket"),
        ("file://host/runs", "no path on this one"),
        ("", "is empty"),
        ("s3://bucket/runs?allow_bucket_deletion=true", "may not stand there"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        StorageUri.parse(text)


def test_where_a_run_is_kept_is_not_what_it_is_of() -> None:
    config = load_config(overrides={"storage.uri": "s3://bucket/runs"})
    assert config.science() == load_config().science()
