"""Read what a run left in its folder; every missing or unreadable file is named."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gpnet_ray.errors import RunFolderError

__all__ = ["Columns", "FinishedRun", "read_finished_run"]

Columns: TypeAlias = dict[str, npt.NDArray[Any]]
"""A table as NumPy columns of equal length: float64 with NaN for null, int64, or object (str)."""

ERROR_MEASURES = ("mae", "rmse", "r2", "coverage_2sigma")


def _kinds(*, text: str, integers: str, numbers: str) -> dict[str, str]:
    kinds = (("s", text), ("i", integers), ("f", numbers))
    return {name: kind for kind, names in kinds for name in names.split()}


# s: text, i: int64, f: float64 that may be null.
METRICS = _kinds(
    text="strategy",
    integers="cycle n_labelled",
    numbers="n_unlabelled "
    + " ".join(f"{on}_{m}" for on in ("test", "unlabelled") for m in ERROR_MEASURES),
)
PICKS = _kinds(
    text="strategy material_id formula status reason",
    integers="cycle tries",
    numbers="sigma radius label seconds",
)
PICKS_OPTIONAL = _kinds(text="", integers="", numbers="mean")
PREDICTIONS = _kinds(
    text="strategy stage material_id formula", integers="", numbers="target mean sigma"
)
HISTORY = _kinds(
    text="", integers="epoch", numbers="learning_rate train_mae validation_mae seconds"
)
RETRAININGS = _kinds(
    text="strategy start kept",
    integers="cycle network n_labelled epochs",
    numbers="seconds old_validation_mae new_validation_mae network_test_mae",
)
RUN_INFO = (
    *("target", "unit", "source", "label_note"),
    *("n_materials", "n_train", "n_pool", "n_test", "n_rejected"),
)


@dataclass(frozen=True)
class FinishedRun:
    """The files of a run that the report is made of, as they were read.

    Attributes:
        path: the folder.
        config: ``config.yaml``.
        info: ``run.json``.
        gp: ``gp.json``.
        metrics: ``metrics.parquet``, sorted by cycle within each arm.
        picks: ``picks.parquet``, in the order of the file within each cycle.
        predictions: ``predictions.parquet``.
        history: ``training_history.parquet``, sorted by epoch.
        retrainings: ``retrainings.parquet``, in the order of the file.
        rejected: rows of ``rejected.csv``.
    """

    path: Path
    config: dict[str, Any]
    info: dict[str, Any]
    gp: dict[str, Any]
    metrics: Columns
    picks: Columns
    predictions: Columns
    history: Columns
    retrainings: Columns
    rejected: tuple[dict[str, str], ...]

    @property
    def arms(self) -> tuple[str, ...]:
        """Strategies that have metrics: first in the order configured, then as they appear."""
        present = list(dict.fromkeys(self.metrics["strategy"].tolist()))
        configured = (self.config.get("selection") or {}).get("strategies") or []
        named = [arm for arm in configured if arm in present]
        return (*named, *(arm for arm in present if arm not in named))


def read_finished_run(run_dir: Path) -> FinishedRun:
    """Read the files of a run that the report needs.

    Raises:
        RunFolderError: the folder or a file is missing, cannot be read, lacks a column, or states
            another unit than the run; the message names the file and what to do.
    """
    run_dir = Path(run_dir)
    if not run_dir.is_dir():
        raise RunFolderError(
            f"there is no run folder {run_dir}; give the folder of a run (runs/NAME)"
        )
    info = _read_json(run_dir, "run.json")
    missing = [key for key in RUN_INFO if key not in info]
    if missing:
        raise RunFolderError(f"{run_dir / 'run.json'} lacks {', '.join(missing)}; {_ADVICE}")
    unit = str(info["unit"])
    metrics = _read_table(run_dir, "metrics.parquet", METRICS, unit=unit)
    if not len(metrics["cycle"]):
        raise RunFolderError(f"{run_dir / 'metrics.parquet'} has no rows; {_ADVICE}")
    history = _read_table(run_dir, "training_history.parquet", HISTORY, unit=unit)
    picks = _read_table(run_dir, "picks.parquet", PICKS, unit=unit, optional=PICKS_OPTIONAL)
    return FinishedRun(
        path=run_dir,
        config=_read_yaml(run_dir, "config.yaml"),
        info=info,
        gp=_read_json(run_dir, "gp.json"),
        metrics=_sorted(metrics, "cycle"),
        picks=_sorted(picks, "cycle"),
        predictions=_read_table(run_dir, "predictions.parquet", PREDICTIONS, unit=unit),
        history=_sorted(history, "epoch"),
        retrainings=_read_table(run_dir, "retrainings.parquet", RETRAININGS, unit=unit),
        rejected=_read_rejected(run_dir, expected=int(info["n_rejected"])),
    )


_ADVICE = (
    "the run is not finished or the file was changed: go on with `gpnet-ray run --resume`, "
    "or start it anew with --overwrite"
)


def _existing(run_dir: Path, name: str) -> Path:
    path = run_dir / name
    if not path.is_file():
        raise RunFolderError(f"run folder {run_dir} has no {name}; {_ADVICE}")
    return path


def _read_json(run_dir: Path, name: str) -> dict[str, Any]:
    path = _existing(run_dir, name)
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:  # also text that is not UTF-8
        raise RunFolderError(f"{path} is not valid JSON ({error}); {_ADVICE}") from error
    return _mapping(content, path)


def _read_yaml(run_dir: Path, name: str) -> dict[str, Any]:
    import yaml

    path = _existing(run_dir, name)
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        raise RunFolderError(f"{path} is not valid YAML ({error}); {_ADVICE}") from error
    return _mapping(content, path)


def _mapping(content: object, path: Path) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise RunFolderError(f"{path} holds a {type(content).__name__}, not a mapping; {_ADVICE}")
    return content


def _read_rejected(run_dir: Path, *, expected: int) -> tuple[dict[str, str], ...]:
    if expected == 0 and not (run_dir / "rejected.csv").is_file():
        return ()
    path = _existing(run_dir, "rejected.csv")
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        lacking = {"material_id", "category", "where", "reason"} - set(reader.fieldnames or ())
        if lacking:
            raise RunFolderError(f"{path} lacks the column {', '.join(sorted(lacking))}; {_ADVICE}")
        return tuple(reader)


def _read_table(
    run_dir: Path,
    name: str,
    columns: dict[str, str],
    *,
    unit: str,
    optional: dict[str, str] | None = None,
) -> Columns:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = _existing(run_dir, name)
    try:
        table = pq.ParquetFile(path).read()  # read_table would read columns into the path's name
    except (pa.ArrowInvalid, OSError) as error:
        raise RunFolderError(f"{path} cannot be read as Parquet ({error}); {_ADVICE}") from error
    present = set(table.schema.names)
    lacking = [key for key in columns if key not in present]
    if lacking:
        raise RunFolderError(f"{path} lacks the column {', '.join(lacking)}; {_ADVICE}")
    stated = (table.schema.metadata or {}).get(b"unit", unit.encode()).decode()
    if stated != unit:
        raise RunFolderError(f"{path} is in {stated!r} but run.json says {unit!r}; {_ADVICE}")
    return {
        key: _as_numpy(table.column(key), kind, where=f"{path}, column {key}")
        for key, kind in {**columns, **(optional or {})}.items()
        if key in present
    }


def _as_numpy(column: Any, kind: str, *, where: str) -> npt.NDArray[Any]:
    values: Sequence[Any] = column.to_pylist()
    try:
        if kind == "f":
            return np.array([np.nan if v is None else float(v) for v in values], dtype=np.float64)
        if kind == "i":
            return np.array([int(v) for v in values], dtype=np.int64)
    except (TypeError, ValueError) as error:
        raise RunFolderError(f"{where} does not hold numbers ({error}); {_ADVICE}") from error
    text = np.empty(len(values), dtype=object)
    text[:] = ["" if v is None else str(v) for v in values]
    return text


def _sorted(columns: Columns, key: str) -> Columns:
    order = np.argsort(columns[key], kind="stable")
    return {name: column[order] for name, column in columns.items()}
