"""The actor that stands in for the laboratory: it asks the oracle."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

import ray.exceptions

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from gpnet_ray.oracles.protocol import LabelOutcome, Oracle

__all__ = ["Labeller", "OracleRaisedError"]


class OracleRaisedError(Exception):
    """What an oracle raised, as text: the exception itself may be one that no other process can read.

    Its ``__cause__`` is the traceback, as text too.
    """


class Labeller:
    """One oracle in a process of its own."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle

    def ping(self) -> bool:
        """Answer once the process runs."""
        return True

    def label(self, ids: Sequence[str], structures: Sequence[Structure]) -> list[LabelOutcome]:
        """Label materials; one outcome an id, in order.

        Raises:
            OracleRaisedError: the oracle raised.
        """
        try:
            # An oracle that answers with something else than a list raises here, where it is known to.
            return list(self._oracle.label(ids, structures))
        except Exception as error:  # noqa: BLE001  oracles are anybody's and raise what they like
            reason, trace = _reason(error), "".join(traceback.format_exception(error))
        # Out here, so that nothing of the oracle's own exception hangs on it.
        raise OracleRaisedError(_plain(reason)) from OracleRaisedError(_plain(trace))


def _reason(error: Exception) -> str:
    if isinstance(error, ray.exceptions.RayTaskError):
        # Of an oracle that works with Ray itself: what its task raised.
        error = error.cause
    name = type(error).__name__
    try:
        return f"{name}: {error}"
    except Exception as second:  # noqa: BLE001  its __str__ is the oracle's too
        return f"{name} (its text cannot be read: {type(second).__name__})"


def _plain(text: str) -> str:
    r"""Escape halves of characters, which Ray cannot send: text that was read with surrogateescape has them.

    >>> _plain("Å \udcc5")
    'Å \\udcc5'
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
