"""When so many labels fail that a run had better stop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gpnet_ray.config import SelectionConfig
from gpnet_ray.errors import OracleError
from gpnet_ray.oracles.protocol import LabelOutcome

__all__ = ["MIN_ASKED_BEFORE_STOPPING", "check_failures"]

MIN_ASKED_BEFORE_STOPPING = 10
"""So that one early failure is not a share of 100 %."""


def check_failures(
    failed: Sequence[LabelOutcome], n_asked: int, selection: SelectionConfig, *, what: str
) -> None:
    """Stop when too large a share could not be labelled, however few were asked for above a handful.

    Raises:
        OracleError: says how many of how many failed, and the commonest reasons.
    """
    few = n_asked < MIN_ASKED_BEFORE_STOPPING
    if few or len(failed) <= selection.max_failed_share * n_asked:
        return
    reasons = Counter(outcome.reason for outcome in failed)
    listing = "; ".join(f"{count} × {reason}" for reason, count in reasons.most_common(5))
    raise OracleError(
        f"{len(failed)} of {n_asked} {what} could not be labelled, more than"
        f" selection.max_failed_share = {selection.max_failed_share}: {listing}."
        " Mend the oracle and go on with --resume --retry-failed"
    )
