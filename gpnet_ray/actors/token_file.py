"""The token that a local Ray asks everybody for, where no other user of the machine can read it."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

__all__ = ["keep_token_private"]


def keep_token_private() -> None:
    """See to it that ``~/.ray/auth_token`` is there, and is its owner's alone.

    Ray itself would make it for everybody to read, and whoever has it may run anything as this user. Where the
    environment names a token or another file, nothing is done.
    """
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return
    file = Path.home() / ".ray" / "auth_token"
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        # Whole from the first moment, and never in the place of one that another process has just made.
        handle, draft = tempfile.mkstemp(dir=file.parent)
        try:
            with os.fdopen(handle, "w") as stream:
                stream.write(secrets.token_hex(32))
            os.link(draft, file)
        except FileExistsError:
            pass
        finally:
            Path(draft).unlink()
    if file.stat().st_uid == os.getuid():
        file.chmod(0o600)
