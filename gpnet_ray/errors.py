"""The errors that this package raises on purpose: each says what was wrong and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ActorRestartedError",
    "ClusterError",
    "DataError",
    "DownloadError",
    "GpnetError",
    "InputError",
    "NumericalError",
    "OracleError",
    "RunFolderError",
    "StorageAwayError",
    "StorageError",
    "nearest_name_hint",
]


class GpnetError(Exception):
    """Anything that went wrong in a way that the program foresaw (exit code 1)."""

    exit_code = 1


class InputError(GpnetError):
    """What the user asked for cannot be done as asked: an option, a file, a value (exit code 2)."""

    exit_code = 2


class DataError(InputError):
    """A dataset or a structure cannot be used; the message names the file, the row or the id."""


class DownloadError(GpnetError):
    """Data could not be fetched now: the server does not answer, or limits how much may be asked of it."""


class RunFolderError(InputError):
    """A run folder exists already, is missing, or does not belong to this configuration."""


class StorageError(RunFolderError):
    """The copy of a run in its storage cannot be written or read, or belongs to another process (exit code 1)."""

    exit_code = 1


class StorageAwayError(StorageError):
    """The storage does not answer; it may do so later."""


class ClusterError(InputError):
    """The Ray cluster does not answer or cannot give the resources that were asked for."""


class ActorRestartedError(ClusterError):
    """An actor was lost and has started again, without what it had been told since it was made."""


class NumericalError(GpnetError):
    """A factorisation, an optimisation or a training step gave no usable number."""


class OracleError(GpnetError):
    """Labels could not be had: too many failures, or an oracle that broke its contract."""


def nearest_name_hint(name: str, valid: Iterable[str]) -> str:
    """Say which valid name is nearest to a wrong one, and list them all.

    >>> nearest_name_hint("max-sgima", ["max-sigma", "random"])
    "did you mean 'max-sigma'? Valid: max-sigma, random"
    """
    names = list(valid)
    listing = "Valid: " + ", ".join(names)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    return f"did you mean {close[0]!r}? {listing}" if close else listing
