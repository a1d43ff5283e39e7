"""The token of a local Ray is its user's alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpnet_ray.actors.token_file import keep_token_private


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Ray looks for it, in a home of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    return tmp_path / ".ray" / "auth_token"


def mode(file: Path) -> int:
    return file.stat().st_mode & 0o777


def test_one_is_made_that_nobody_else_can_read_or_guess(token: Path) -> None:
    keep_token_private()
    first = token.read_text()
    assert mode(token) == 0o600
    # 256 bits.
    assert len(bytes.fromhex(first)) == 32
    assert [file.name for file in token.parent.iterdir()] == ["auth_token"]
    token.unlink()
    keep_token_private()
    assert token.read_text() != first


def test_one_that_ray_made_is_kept_and_no_longer_readable_to_others(token: Path) -> None:
    token.parent.mkdir()
    token.write_text("abc")
    token.chmod(0o644)
    keep_token_private()
    assert token.read_text() == "abc"
    assert mode(token) == 0o600


def test_a_token_of_the_environment_needs_no_file(
    token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "abc")
    keep_token_private()
    assert not token.exists()
