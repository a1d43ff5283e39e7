"""Materials that were set aside, as a table for people and apart from those that have values."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from gpnet_ray.data.dataset import RejectedMaterial
from gpnet_ray.errors import DataError

__all__ = ["REJECTED_COLUMNS", "none_usable", "rejected_csv", "rejected_summary", "split_rejected"]

REJECTED_COLUMNS = ["material_id", "category", "where", "reason"]


def rejected_csv(rejected: Iterable[RejectedMaterial]) -> str:
    """The table of rejected materials with their reasons, as CSV."""
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(REJECTED_COLUMNS)
    table.writerows([r.material_id, r.category, r.where, r.reason] for r in rejected)
    return text.getvalue()


def split_rejected(table: pa.Table) -> tuple[pa.Table, list[RejectedMaterial]]:
    """Part a featurised table into the rows with values and the rejected materials."""
    is_good = pc.is_null(table.column("category"))
    bad = table.filter(pc.invert(is_good)).select(REJECTED_COLUMNS).to_pylist()
    return table.filter(is_good), [RejectedMaterial(**row) for row in bad]


def rejected_summary(rejected: Sequence[RejectedMaterial]) -> str:
    """Count rejected materials by category.

    >>> rejected_summary([RejectedMaterial("a", "disordered", "…", "here")])
    '1 disordered'
    """
    counts = Counter(r.category for r in rejected)
    return ", ".join(f"{n} {category}" for category, n in counts.most_common())


def none_usable(rejected: Sequence[RejectedMaterial]) -> DataError:
    """The error for a pool of which nothing is left."""
    first = rejected[0]
    return DataError(
        f"none of the {len(rejected)} crystals can be used ({rejected_summary(rejected)}); the first,"
        f" {first.material_id} ({first.where}): {first.reason}"
    )
