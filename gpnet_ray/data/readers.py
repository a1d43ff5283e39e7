"""Read a dataset of crystals and targets from any of the formats that the field uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from gpnet_ray.data.dataset import MaterialsDataset, RejectedMaterial
from gpnet_ray.data.folder_reader import read_folder
from gpnet_ray.data.json_reader import read_json
from gpnet_ray.data.parser_warnings import ParserWarnings
from gpnet_ray.data.raw_materials import ColumnNames, RawMaterials
from gpnet_ray.data.structure_parsing import BadStructureError, parse_structure
from gpnet_ray.data.table_readers import read_csv, read_parquet
from gpnet_ray.errors import DataError
from gpnet_ray.progress import NullProgress, Progress
from gpnet_ray.types import FloatArray

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["read_dataset", "read_partly_labelled", "read_targets"]

_KINDS = (
    ".parquet; .csv with a CIF column; .json or .json.gz as in matbench; "
    "a folder of CIF or POSCAR files with id_prop.csv"
)


def read_dataset(
    path: str | Path,
    *,
    target: str,
    unit: str,
    with_targets: bool = True,
    id_column: str = "material_id",
    structure_column: str = "structure",
    global_features: Sequence[str] = (),
    on_bad_structure: Literal["skip", "error"] = "skip",
    progress: Progress | None = None,
) -> MaterialsDataset:
    """Read crystals and targets; ids and targets of the whole file are checked before any crystal.

    Args:
        path: a Parquet, CSV or (gzipped) JSON file, or a folder with ``id_prop.csv``.
        target: name of the target column; in a folder, only the name to report.
        unit: unit of the target, such as ``eV/atom``.
        with_targets: ``False`` reads ids and crystals alone, for labels that are still to be computed.
        id_column: name of the id column.
        structure_column: name of the column of structures (pymatgen JSON or CIF).
        global_features: names of columns of numbers, which every structure has in its ``properties`` then.
        on_bad_structure: ``skip`` sets aside crystals that do not parse, are disordered or hold an
            unknown element, and lists them in ``rejected``; ``error`` stops at the first.
        progress: where the progress of parsing is shown; ``None``: nowhere.

    Raises:
        DataError: missing file or column, duplicate ids, targets or global features that are not finite
            numbers, no usable crystal, or a bad crystal with ``on_bad_structure="error"``.
    """
    columns = ColumnNames(
        id_column,
        structure_column,
        target if with_targets else None,
        global_features=tuple(global_features),
    )
    raw = _read_raw(Path(path), columns)
    parsed = _parse_usable(raw, on_bad_structure, progress)
    return _dataset(raw, parsed, raw.ids, target=target, unit=unit, path=Path(path))


def read_targets(
    path: str | Path,
    *,
    units: Mapping[str, str],
    id_column: str = "material_id",
    structure_column: str = "structure",
    global_features: Sequence[str] = (),
    on_bad_structure: Literal["skip", "error"] = "skip",
    progress: Progress | None = None,
) -> tuple[MaterialsDataset, ...]:
    """Read several targets of the same crystals, which are parsed once.

    Args are those of :func:`read_dataset`, but for ``units``: the unit of every target by its column.

    Returns:
        A dataset for each target, in the order of ``units``, all of the same materials.

    Raises:
        DataError: as :func:`read_dataset`; no target, or several in a folder, which holds one.
    """
    if not units:
        raise DataError(f"{path}: no target is named; name at least one column with --target")
    if len(units) > 1 and Path(path).is_dir():
        raise DataError(
            f"{path}: a folder with id_prop.csv holds one target, and {len(units)} are named; give a"
            " table with a column for each"
        )
    columns = ColumnNames(id_column, structure_column, None, global_features=tuple(global_features))
    raws = {target: _read_raw(Path(path), replace(columns, target=target)) for target in units}
    parsed = _parse_usable(next(iter(raws.values())), on_bad_structure, progress)
    return tuple(
        _dataset(raw, parsed, raw.ids, target=target, unit=units[target], path=Path(path))
        for target, raw in raws.items()
    )


def read_partly_labelled(
    path: str | Path,
    *,
    target: str,
    unit: str,
    id_column: str = "material_id",
    structure_column: str = "structure",
    global_features: Sequence[str] = (),
    on_bad_structure: Literal["skip", "error"] = "skip",
    progress: Progress | None = None,
) -> tuple[MaterialsDataset, MaterialsDataset]:
    """Read a file in which only some materials have a target: the labelled ones, and the others.

    Args are those of :func:`read_dataset`. A target that is empty, null or NaN is none.

    Returns:
        The materials with a target, and those without (whose dataset has no targets at all).

    Raises:
        DataError: as :func:`read_dataset`; no row with a target, or none without.
    """
    columns = ColumnNames(
        id_column,
        structure_column,
        target,
        target_may_be_empty=True,
        global_features=tuple(global_features),
    )
    raw = _read_raw(Path(path), columns)
    has_target = np.isfinite(_targets(raw))
    for n, missing in ((has_target.sum(), "has"), ((~has_target).sum(), "lacks")):
        if n == 0:
            raise DataError(
                f"{path}: no row {missing} a value in the column {target!r}; labelled materials have"
                " one and candidates have none (or lie in a file of their own: --pool)"
            )
    parsed = _parse_usable(raw, on_bad_structure, progress)
    labelled = [i for i, has in zip(raw.ids, has_target.tolist(), strict=True) if has]
    rest = [i for i, has in zip(raw.ids, has_target.tolist(), strict=True) if not has]
    return (
        _dataset(raw, parsed, labelled, target=target, unit=unit, path=Path(path)),
        _dataset(
            replace(raw, targets=None), parsed, rest, target=target, unit=unit, path=Path(path)
        ),
    )


def _targets(raw: RawMaterials) -> FloatArray:
    return np.full(len(raw.ids), np.nan) if raw.targets is None else raw.targets


@dataclass(frozen=True)
class _Parsed:
    """The usable crystals by their ids, and the others with their reasons."""

    structure_of: dict[str, Structure]
    rejected: tuple[RejectedMaterial, ...]


def _parse_usable(
    raw: RawMaterials, on_bad_structure: Literal["skip", "error"], progress: Progress | None
) -> _Parsed:
    structures, rejected = _parse_all(raw, on_bad_structure, progress or NullProgress())
    usable = {i: s for i, s in zip(raw.ids, structures, strict=True) if s is not None}
    if not usable:
        first = rejected[0]
        raise DataError(
            f"{raw.file}: none of the {len(raw.ids)} structures can be used; the first, "
            f"{first.material_id} ({first.where}): {first.category}: {first.reason}"
        )
    return _Parsed(usable, rejected)


def _dataset(
    raw: RawMaterials, parsed: _Parsed, ids: Sequence[str], *, target: str, unit: str, path: Path
) -> MaterialsDataset:
    """The dataset of some of the ids of a file, less those whose crystals cannot be used."""
    chosen = set(ids)
    kept = [row for row, i in enumerate(raw.ids) if i in chosen and i in parsed.structure_of]
    return MaterialsDataset(
        ids=tuple(raw.ids[row] for row in kept),
        structures=tuple(parsed.structure_of[raw.ids[row]] for row in kept),
        targets=None if raw.targets is None else raw.targets[kept],
        target=target,
        unit=unit,
        source=str(path),
        label_note=f"what stands in the column {target!r} of {path.name}"
        if raw.targets is not None
        else "none yet",
        rejected=tuple(r for r in parsed.rejected if r.material_id in chosen),
    )


def _read_raw(path: Path, columns: ColumnNames) -> RawMaterials:
    if not path.exists():
        raise DataError(f"dataset {path} does not exist; give --dataset one of: {_KINDS}")
    if path.is_dir():
        return read_folder(path, columns)
    name = path.name.lower()
    if name.endswith((".parquet", ".pq")):
        return read_parquet(path, columns)
    if name.endswith((".csv", ".csv.gz")):
        return read_csv(path, columns)
    if name.endswith((".json", ".json.gz")):
        return read_json(path, columns)
    raise DataError(f"dataset {path} is of no known kind; known: {_KINDS}")


def _parse_all(
    raw: RawMaterials, on_bad_structure: Literal["skip", "error"], progress: Progress
) -> tuple[list[Structure | None], tuple[RejectedMaterial, ...]]:
    if on_bad_structure not in ("skip", "error"):
        raise DataError(f"on_bad_structure must be 'skip' or 'error', got {on_bad_structure!r}")
    structures: list[Structure | None] = []
    rejected: list[RejectedMaterial] = []
    warned = ParserWarnings()
    with progress.task("Reading crystals", total=len(raw.ids), unit="crystals") as task:
        for row, (material_id, text) in enumerate(zip(raw.ids, raw.structures, strict=True), 1):
            where = f"{raw.file}, row {row}"
            try:
                parsed = parse_structure(text)
            except BadStructureError as error:
                if on_bad_structure == "error":
                    raise DataError(
                        f"{material_id} ({where}): {error}; mend it, or set aside such rows with "
                        "--on-bad-structure skip"
                    ) from None
                structures.append(None)
                rejected.append(RejectedMaterial(material_id, error.category, error.detail, where))
            else:
                features = {name: float(values[row - 1]) for name, values in raw.features.items()}
                parsed.structure.properties.update(features)
                structures.append(parsed.structure)
                warned.add(material_id, parsed.warnings)
            task.advance()
    warned.say(progress)
    return structures, tuple(rejected)
