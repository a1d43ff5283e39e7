"""Who took part in a run: formula, part of the split and true target of every material."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpnet_ray.data.plain_columns import refuse_objects
from gpnet_ray.errors import RunFolderError
from gpnet_ray.types import FloatArray

__all__ = ["RunMaterials", "read_materials"]

COLUMNS = ("material_id", "formula", "part", "target")


@dataclass(frozen=True)
class RunMaterials:
    """``materials.parquet`` of a run.

    Attributes:
        ids: Id of every material, n of them, each once.
        formulas: Its reduced formula.
        parts: ``train``, ``pool`` or ``test``.
        targets: True target, float64 ``(n,)``, target's unit; NaN where the run did not know it before the
            loop.
    """

    ids: tuple[str, ...]
    formulas: tuple[str, ...]
    parts: tuple[str, ...]
    targets: FloatArray

    def pool(self) -> dict[str, str]:
        """Formula of every material of the pool, by id."""
        rows = zip(self.ids, self.formulas, self.parts, strict=True)
        return {material_id: formula for material_id, formula, part in rows if part == "pool"}


def read_materials(run_dir: Path) -> RunMaterials | None:
    """Read the materials of a run; ``None`` where the run has not come so far as to write them.

    Raises:
        RunFolderError: the file is there and cannot be used.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = run_dir / "materials.parquet"
    if not path.is_file():
        return None
    try:
        table = pq.ParquetFile(path).read()
        refuse_objects(table.schema)
        columns = [table.column(name).to_pylist() for name in COLUMNS]
    except (pa.ArrowInvalid, OSError, KeyError) as error:
        raise RunFolderError(
            f"{path} cannot be used ({error}); remove it and run `gpnet-ray run --resume`, which writes"
            " it again"
        ) from error
    ids, formulas, parts, targets = columns
    return RunMaterials(
        ids=tuple(ids),
        formulas=tuple(formulas),
        parts=tuple(parts),
        targets=np.array([np.nan if t is None else t for t in targets], dtype=np.float64),
    )
