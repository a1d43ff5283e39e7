"""What was warned of while a pool streamed through the network, said when all of it has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from gpnet_ray.data.parser_warnings import ParserWarnings
from gpnet_ray.progress import Progress

__all__ = ["say_warnings"]


def say_warnings(tables: Iterable[pa.Table], progress: Progress) -> Iterator[pa.Table]:
    """Hand on featurised tables, and in the end say what pymatgen warned of, by kind."""
    warned = ParserWarnings()
    for table in tables:
        yield table
        columns = table.select(["material_id", "warnings"])
        for row in columns.filter(pc.is_valid(columns.column("warnings"))).to_pylist():
            warned.add(row["material_id"], row["warnings"])
    warned.say(progress)
