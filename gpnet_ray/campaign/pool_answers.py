"""What became of earlier picks from pools, as a user has written it into CSV files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gpnet_ray.data.results_file import Results, read_ids, read_results
from gpnet_ray.errors import DataError

__all__ = ["PoolAnswers", "read_answers"]

SHOWN_ROWS = 5


@dataclass(frozen=True)
class PoolAnswers:
    """What a session on pools is to begin with.

    Attributes:
        labels: By id, target's unit.
        pending: What was picked before; where it has a label or is withdrawn, that counts.
        failed: What could not be labelled.
        unwanted: What somebody does not want.
    """

    labels: Mapping[str, float]
    pending: tuple[str, ...]
    failed: tuple[str, ...]
    unwanted: tuple[str, ...]

    @property
    def withdrawn(self) -> tuple[str, ...]:
        """What is not to be picked, whatever the reason."""
        return (*self.failed, *self.unwanted)

    def __str__(self) -> str:
        answered = self.labels.keys() | set(self.withdrawn)
        n_pending = sum(i not in answered for i in self.pending)
        return (
            f"{len(self.labels)} labels told, {n_pending} pending, {len(self.failed)} failed,"
            f" {len(self.unwanted)} withdrawn"
        )


def read_answers(
    results: Iterable[Path],
    pending: Iterable[Path],
    withdrawn: Iterable[Path],
    *,
    unit: str,
    stated_unit: str | None = None,
) -> PoolAnswers:
    """Read files of results, whose open rows are pending, of further pending ids, and of withdrawn ones.

    Args:
        results: Forms that were filled in, wholly or partly.
        pending: Files with a column ``material_id``.
        withdrawn: Files with a column ``material_id``.
        unit: The unit that labels must have.
        stated_unit: What the user says it is, for files that do not.

    Raises:
        DataError: a file that cannot be read, or rows that cannot be believed: they are named, and nothing is taken.
    """
    read = [(path, read_results(path, unit=unit, stated_unit=stated_unit)) for path in results]
    _check_believable(read)
    labels: dict[str, float] = {}
    for path, content in read:
        for row in content.rows:
            if row.value is None:
                continue
            if labels.setdefault(row.material_id, row.value) != row.value:
                raise DataError(
                    f"{path}, line {row.line}: {row.material_id!r} has the label {labels[row.material_id]}"
                    f" in another file and {row.value} here; keep one"
                )
    # A label is believed, also where it was first told as failed: it cost somebody hours.
    failed = [
        row.material_id
        for _, content in read
        for row in content.rows
        if row.material_id not in labels
    ]
    open_ids = [i for _, content in read for i in content.open_ids]
    asked = [*(i for path in pending for i in read_ids(path)), *open_ids]
    unwanted = [i for path in withdrawn for i in read_ids(path)]
    distinct = (tuple(dict.fromkeys(ids)) for ids in (asked, failed, unwanted))
    return PoolAnswers(labels, *distinct)


def _check_believable(read: Iterable[tuple[Path, Results]]) -> None:
    """Refuse all where a row is refused: what is picked would rest on a part of what is known."""
    refused = [
        f"{path}, line {row.line}: {row.reason}"
        for path, content in read
        for row in content.refused
    ]
    if refused:
        shown = "\n".join(refused[:SHOWN_ROWS])
        more = len(refused) - SHOWN_ROWS
        raise DataError(shown + (f"\nand {more} more rows" if more > 0 else ""))
