"""Where the crystals of a pool come from, as blocks of text that Ray Data streams.

Parquet is read block by block, and the embedded oxides are generated as they are needed, so that
neither is ever in memory as a whole. The smaller formats are read whole first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate, islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gpnet_ray import __version__
from gpnet_ray.data.dataset import MaterialsDataset, RejectedMaterial, check_unique_ids
from gpnet_ray.data.parser_warnings import ParserWarnings
from gpnet_ray.data.plain_columns import refuse_objects
from gpnet_ray.data.raw_materials import ColumnNames, check_columns, id_text
from gpnet_ray.data.structure_parsing import structure_text
from gpnet_ray.data.unique_ids import repeated_ids
from gpnet_ray.errors import DataError, InputError
from gpnet_ray.gnn.global_state import check_has_features
from gpnet_ray.progress import NullProgress, Progress

__all__ = [
    "EMBEDDED",
    "PoolSource",
    "dataset_source",
    "embedded_oxides",
    "holds_one_crystal",
    "pool_source",
    "structure_files",
]

EMBEDDED = "hypothetical-oxides"
"""``hypothetical-oxides:N`` stands for the first N embedded oxides."""

ROWS_PER_BLOCK = 512
STRUCTURE_SUFFIXES = (".cif", ".poscar", ".vasp")
TABLE_SUFFIXES = (".parquet", ".pq", ".csv", ".json", ".gz")
CAST_AS_PYTHON = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_integer,
)
"""Types of ids of which Arrow, which is faster, makes the text that Python makes."""


@dataclass(frozen=True)
class PoolSource:
    """Crystals that are not read yet.

    Attributes:
        name: what messages call it.
        fingerprint: hash of its whole content.
        total: how many ids it has, the rejected ones included.
        rejected: materials that could not be read already.
        open: gives the Ray dataset of all others, with columns ``material_id``, ``structure`` (text) and one
            for each global feature (text of what the file has), always in the same order; it takes the share of
            a CPU that a task of it may ask for, and how many of the first rows to leave out, fewer than there
            are.
    """

    name: str
    fingerprint: str
    total: int
    rejected: tuple[RejectedMaterial, ...]
    open: Callable[[float, int], Any]


def pool_source(
    dataset: str,
    *,
    id_column: str,
    structure_column: str,
    global_features: Sequence[str] = (),
    seed: int,
    progress: Progress,
) -> PoolSource:
    """Find the crystals that a user named.

    Args:
        dataset: A file or folder that :func:`~gpnet_ray.data.readers.read_dataset` knows, or
            ``hypothetical-oxides:N``. Targets are not looked at.
        id_column: Name of the id column.
        structure_column: Name of the column of crystals.
        global_features: Names of the columns of numbers that the network reads beside the crystals.
        seed: Of the embedded oxides.
        progress: Where the reading of small formats is shown.

    Raises:
        DataError: there is no such file or column, ids are missing or occur twice.
        InputError: the embedded oxides, which have no global features, for a network that reads some.
    """
    features = tuple(global_features)
    kind, _, count = dataset.partition(":")
    if kind == EMBEDDED:
        if not (count.isdigit() and int(count)):
            raise InputError(f"{dataset!r} names no number of oxides; write {EMBEDDED}:5000")
        check_has_features(EMBEDDED, features)
        return embedded_oxides(int(count), seed=seed)
    path = Path(dataset)
    if path.is_file() and path.suffix.lower() in (".parquet", ".pq"):
        columns = ColumnNames(id_column, structure_column, None, global_features=features)
        return _parquet(path, columns)
    from gpnet_ray.data.readers import read_dataset

    read = read_dataset(
        path,
        target="",
        unit="",
        with_targets=False,
        id_column=id_column,
        structure_column=structure_column,
        global_features=features,
        progress=progress,
    )
    return dataset_source(read, global_features=features, name=dataset)


def dataset_source(
    dataset: MaterialsDataset, *, global_features: Sequence[str] = (), name: str | None = None
) -> PoolSource:
    """The crystals of a dataset that was read already."""
    texts = [structure_text(s) for s in dataset.structures]
    # What is missing is named when the crystal is rejected.
    numbers = {key: [s.properties.get(key) for s in dataset.structures] for key in global_features}
    return _in_memory(name or dataset.source, dataset.ids, texts, dataset.rejected, numbers)


def embedded_oxides(count: int, *, seed: int) -> PoolSource:
    """The first ``count`` embedded oxides, generated block by block while the others are featurised."""

    def open_dataset(cpus: float, n_done: int) -> Any:
        import ray.data

        # One task that streams its blocks: a crystal is known only after those before it.
        one = ray.data.from_arrow(pa.table({"part": [0]}))
        return one.map_batches(
            _generate, fn_args=(count, seed, n_done), num_cpus=cpus, batch_format="pyarrow"
        )

    content = _hash(f"{EMBEDDED}:{count} {seed} {__version__}".encode())
    return PoolSource(f"{EMBEDDED}:{count} of seed {seed}", content, count, (), open_dataset)


def holds_one_crystal(file: Path) -> bool:
    """Whether a file's name says that it is a CIF or POSCAR file; folders and tables are none whatever their names."""
    suffix = file.suffix.lower()
    if suffix in TABLE_SUFFIXES or file.is_dir():
        return False
    return suffix in STRUCTURE_SUFFIXES or file.name.upper().startswith(("POSCAR", "CONTCAR"))


def structure_files(files: Sequence[Path], *, progress: Progress | None = None) -> PoolSource:
    """CIF and POSCAR files, each with its path as its id; what pymatgen warns of is said by ``progress``.

    Raises:
        DataError: a file is not there.
    """
    from gpnet_ray.data.structure_parsing import BadStructureError, parse_structure

    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise DataError(f"there is no file {missing[0]}; name CIF or POSCAR files, or a dataset")
    ids = [str(file) for file in files]
    check_unique_ids(ids, where="the files given")
    texts: dict[str, str] = {}
    rejected: list[RejectedMaterial] = []
    warned = ParserWarnings()

    def read(file: Path) -> None:
        try:
            parsed = parse_structure(file)
        except BadStructureError as error:
            rejected.append(RejectedMaterial(str(file), error.category, error.detail, str(file)))
        else:
            texts[str(file)] = structure_text(parsed.structure)
            warned.add(str(file), parsed.warnings)

    for file in files:
        read(file)
    warned.say(progress or NullProgress())
    return _in_memory("the files given", list(texts), list(texts.values()), tuple(rejected), {})


def _generate(_: Any, count: int, seed: int, n_done: int) -> Iterator[pa.Table]:
    from gpnet_ray.data.hypothetical_oxides import hypothetical_oxides

    oxides = islice(hypothetical_oxides(count, seed=seed), n_done, None)
    while block := list(islice(oxides, ROWS_PER_BLOCK)):
        texts = [structure_text(s) for _, s in block]
        yield _block([name for name, _ in block], texts, {})


def _parquet(path: Path, columns: ColumnNames) -> PoolSource:
    try:
        file = pq.ParquetFile(path)
        refuse_objects(file.schema_arrow)
        check_columns(file.schema_arrow.names, columns, file=str(path))
        total = file.metadata.num_rows
        if not total:
            raise DataError(f"{path} has no rows; at least one material is needed")
        _check_ids(file, columns.material_id, where=str(path))
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from None

    def open_dataset(cpus: float, n_done: int) -> Any:
        import ray.data

        # Not read_parquet: a step of its own asks for a whole CPU, which the actors may have taken.
        sizes = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
        starts = [0, *accumulate(sizes)]
        groups = [
            pa.table({"row_group": [number], "left_out": [max(0, n_done - start)]})
            for number, (start, end) in enumerate(pairwise(starts))
            if end > n_done
        ]
        names = (str(path.resolve()), columns)
        return ray.data.from_arrow(groups).map_batches(
            _read_row_groups, fn_args=names, num_cpus=cpus, batch_format="pyarrow"
        )

    features = [repr(columns.global_features).encode()] if columns.global_features else []
    content = _hash(_digest_of_file(path), repr(columns).encode(), *features)
    return PoolSource(str(path), content, total, (), open_dataset)


def _check_ids(file: pq.ParquetFile, column: str, *, where: str) -> None:
    """Check that ids are there and distinct, without holding them all.

    Raises:
        DataError: they are not.
    """

    def columns() -> Iterator[pa.Array]:
        for batch in file.iter_batches(columns=[column]):
            yield _id_texts(batch.column(0))

    try:
        is_missing = any(pc.any(pc.equal(ids, "")).as_py() for ids in columns())
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    if is_missing or repeated_ids(columns):
        check_unique_ids([name for ids in columns() for name in ids.to_pylist()], where=where)


def _id_texts(ids: pa.Array) -> pa.Array:
    """:func:`id_text` of a whole column."""
    kind = ids.type
    if any(is_kind(kind) for is_kind in CAST_AS_PYTHON):
        return pc.utf8_trim_whitespace(pc.fill_null(ids.cast(pa.string()), ""))
    # Arrow writes 1.0 as 1, and true for True.
    return pa.array([id_text(value) for value in ids.to_pylist()], pa.string())


def _read_row_groups(part: pa.Table, path: str, columns: ColumnNames) -> Iterator[pa.Table]:
    left_out = part.column("left_out").to_pylist()[0]
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(
            batch_size=ROWS_PER_BLOCK,
            row_groups=part.column("row_group").to_pylist(),
            columns=list(columns.all()),
        ):
            rows = batch.slice(left_out)
            left_out = max(0, left_out - batch.num_rows)
            if not rows.num_rows:
                continue
            ids = _id_texts(rows.column(columns.material_id)).to_pylist()
            # As they are: what is no number is named when the crystal is rejected.
            features = {name: rows.column(name).to_pylist() for name in columns.global_features}
            texts = [_crystal_text(value) for value in rows.column(columns.structure).to_pylist()]
            yield _block(ids, texts, features)


def _in_memory(
    name: str,
    ids: Sequence[str],
    texts: Sequence[str],
    rejected: tuple[RejectedMaterial, ...],
    features: Mapping[str, Sequence[object]],
) -> PoolSource:
    def open_dataset(cpus: float, n_done: int) -> Any:
        import ray.data

        starts = range(n_done, len(ids), ROWS_PER_BLOCK)
        whole = _block(ids, texts, features)
        return ray.data.from_arrow([whole.slice(at, ROWS_PER_BLOCK) for at in starts])

    content = [part.encode() for pair in zip(ids, texts, strict=True) for part in pair]
    refused = [repr(r).encode() for r in rejected]
    return PoolSource(
        name, _hash(*content, *refused), len(ids) + len(rejected), rejected, open_dataset
    )


def _block(
    ids: Sequence[str], texts: Sequence[str | None], features: Mapping[str, Sequence[object]]
) -> pa.Table:
    columns = {"material_id": pa.array(ids, pa.string()), "structure": pa.array(texts, pa.string())}
    return pa.table(columns | {name: _as_text(values) for name, values in features.items()})


def _crystal_text(value: object) -> str | None:
    """What a Parquet file has as a crystal, as text; what is none is named when it is read as one."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    # A struct. Site properties that JSON has not, such as dates, are none that a network reads.
    return json.dumps(value, default=repr)


def _as_text(values: Sequence[object]) -> pa.Array:
    # One type for all blocks, whatever the file has; repr gives every float back as it was.
    texts = [v if v is None or isinstance(v, str) else repr(v) for v in values]
    return pa.array(texts, pa.string())


def _digest_of_file(path: Path) -> bytes:
    digest = sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 22):
            digest.update(part)
    return digest.digest()


def _hash(*parts: bytes) -> str:
    digest = sha256()
    for part in parts:
        digest.update(np.int64(len(part)).tobytes() + part)
    return digest.hexdigest()
