"""The kinds of folders that a campaign can leave, known by the first line of their ``config.yaml``."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

__all__ = [
    "ASK_TELL_HEADER",
    "REPEATS_HEADER",
    "RUN_HEADER",
    "VALIDATION_HEADER",
    "has_header",
    "instead_of_run",
]

RUN_HEADER = "# The resolved configuration of a run of gpnet-ray.\n"
REPEATS_HEADER = "# The resolved configuration of repeats of a run of gpnet-ray.\n"
VALIDATION_HEADER = "# The resolved configuration of a validation of gpnet-ray.\n"
ASK_TELL_HEADER = "# The resolved configuration of an ask-and-tell campaign of gpnet-ray.\n"


def has_header(config: Path, header: str) -> bool:
    """Whether a ``config.yaml`` is there and begins with a line."""
    return config.is_file() and config.read_text("utf-8", errors="replace").startswith(header)


def instead_of_run(folder: Path) -> str | None:
    """Say what a folder is that is no run but another one of ours, and what to use instead of it.

    Returns:
        A sentence for an error; ``None`` of a run, and of what is not ours.
    """
    config = folder / "config.yaml"
    if has_header(config, ASK_TELL_HEADER):
        return (
            f"{folder} is an ask-and-tell campaign, not a run; `gpnet-ray status {quote(str(folder))}` says"
            " where it stands"
        )
    if has_header(config, REPEATS_HEADER):
        seed = min(folder.glob("seed-*"), default=folder / "seed-0")
        return (
            f"{folder} holds repeats of a run, not one run; name the folder of one seed, such as {seed}."
            f" Once all have finished, {folder / 'comparison.html'} shows them together"
        )
    if has_header(config, VALIDATION_HEADER):
        return (
            f"{folder} is a validation, not a run, and keeps no network; once it has finished, its metrics"
            f" are in {folder / 'summary.json'} and what it predicted in {folder / 'predictions.parquet'}"
        )
    return None
