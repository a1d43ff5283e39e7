"""What an oracle is: something that gives the label of a crystal, or says why it cannot."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, SupportsFloat, SupportsIndex, TypeAlias

from gpnet_ray.errors import OracleError

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["LabelOutcome", "LabelStatus", "Oracle", "real_number"]

LabelStatus: TypeAlias = Literal["ok", "failed", "unconverged"]


@dataclass(frozen=True)
class LabelOutcome:
    """What came of asking for one label.

    Numbers of other kinds, such as NumPy scalars, become Python's own, which JSON can hold.

    Attributes:
        material_id: the material that was asked for.
        status: ``ok`` if and only if ``value`` is a finite number.
        value: the label in the oracle's unit; ``None`` unless ``ok``.
        reason: why there is no label; empty if ``ok``.
        tries: how often it was tried, at least 1.
        seconds: time taken.

    Raises:
        OracleError: the fields contradict each other, or one that must be a real number is none, such
            as text, bytes or ``True``.
    """

    material_id: str
    status: LabelStatus
    value: float | None
    reason: str
    tries: int
    seconds: float

    def __post_init__(self) -> None:
        self._make_plain()
        if self.status not in ("ok", "failed", "unconverged"):
            raise OracleError(f"{self.material_id}: unknown label status {self.status!r}")
        finite = self.value is not None and math.isfinite(self.value)
        if self.status == "ok" and not finite:
            raise OracleError(
                f"{self.material_id}: status is ok but the label is {self.value}; an oracle "
                "without a finite number must answer failed or unconverged with a reason"
            )
        if self.status != "ok" and (self.value is not None or not self.reason):
            raise OracleError(
                f"{self.material_id}: status {self.status} needs a reason and no value, got "
                f"value {self.value} and reason {self.reason!r}"
            )
        if self.tries < 1 or not self.seconds >= 0:
            raise OracleError(
                f"{self.material_id}: tries must be at least 1 and seconds not negative, got "
                f"{self.tries} and {self.seconds}"
            )

    def _make_plain(self) -> None:
        conversions: dict[str, Callable[[Any], int | float]] = {
            "value": real_number,
            "tries": operator.index,
            "seconds": real_number,
        }
        for name, convert in conversions.items():
            given = getattr(self, name)
            if name == "value" and given is None:
                continue
            try:
                object.__setattr__(self, name, convert(given))
            except (TypeError, ValueError):
                kind = "whole number" if name == "tries" else "number"
                raise OracleError(
                    f"{self.material_id}: {name} must be a {kind}, got {given!r}"
                ) from None
            except OverflowError:
                raise OracleError(
                    f"{self.material_id}: {name} is larger than any number of floating point"
                ) from None


def real_number(value: Any) -> float:
    """A number as Python's own; NumPy's and arrays of one too.

    Raises:
        TypeError, ValueError, OverflowError: it is none, or ``True``, or none that a float holds.
    """
    # NumPy's numbers, arrays and tensors of one: what they hold may be text or true as well.
    plain = value.item() if hasattr(value, "item") else value
    # float would read text and bytes too, and take true for 1.
    if isinstance(plain, bool) or not isinstance(plain, SupportsFloat | SupportsIndex):
        raise TypeError(f"{type(plain).__name__} is no real number")
    return float(plain)


class Oracle(Protocol):
    """Where labels come from.

    Attributes:
        name: short name for reports and the journal.
        unit: unit of every label.
    """

    name: str
    unit: str

    def label(self, ids: Sequence[str], structures: Sequence[Structure]) -> list[LabelOutcome]:
        """Return one outcome an id, in order; one bad crystal is an outcome, not an exception."""
