"""What Ctrl-C leaves, said in one line."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["INTERRUPTED", "say_interrupted"]

INTERRUPTED = 130
"""Exit code of a program that was stopped by Ctrl-C, as shells have it."""


def say_interrupted(folder: Path, *, has_begun: bool) -> None:
    """Say on stderr what there is of a run or of repeats, and how to go on."""
    text = (
        f"Interrupted. Labels and cycles so far are in {folder}; the same command with --resume (and without"
        " --overwrite) goes on."
        if has_begun
        else "Interrupted before anything was begun; the same command begins it."
    )
    print(text, file=sys.stderr)
