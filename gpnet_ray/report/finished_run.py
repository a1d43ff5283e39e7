"""Read what a run left in its folder, or has left so far; every missing or unreadable file is named."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gpnet_ray.campaign.folder_kinds import instead_of_run
from gpnet_ray.data.plain_columns import refuse_objects
from gpnet_ray.errors import RunFolderError
from gpnet_ray.gp.recalibration import Recalibration
from gpnet_ray.report.run_progress import RunProgress, read_progress

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
PICKS_OPTIONAL = _kinds(text="", integers="", numbers="mean asked_radius")
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

    Of a run that is not finished, tables that are not there yet are empty.

    Attributes:
        path: the folder.
        config: ``config.yaml``.
        info: ``run.json``.
        gp: ``gp.json``, of the network that all arms start from.
        later_gps: the same of the networks that each arm trained later, by their numbers, rising.
        metrics: ``metrics.parquet``, sorted by cycle within each arm.
        picks: ``picks.parquet``, in the order of the file within each cycle.
        predictions: ``predictions.parquet``.
        history: ``training_history.parquet``, sorted by epoch.
        retrainings: ``retrainings.parquet``, in the order of the file.
        rejected: rows of ``rejected.csv``.
        progress: how far the run has come; ``None`` where it is finished.
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
    later_gps: dict[str, dict[int, dict[str, Any]]]
    progress: RunProgress | None = None

    def recalibration(self, arm: str, stage: str) -> Recalibration:
        """How wide intervals are, in units of σ, in the predictions ``before`` the loop and ``after`` it."""
        later = self.later_gps.get(arm)
        last = later[max(later)] if later else self.gp
        return Recalibration.in_gp_file(self.gp if stage == "before" else last)

    @property
    def arms(self) -> tuple[str, ...]:
        """Strategies that have metrics: first in the order configured, then as they appear."""
        present = list(dict.fromkeys(self.metrics["strategy"].tolist()))
        configured = (self.config.get("selection") or {}).get("strategies") or []
        named = [arm for arm in configured if arm in present]
        return (*named, *(arm for arm in present if arm not in named))


def read_finished_run(run_dir: Path) -> FinishedRun:
    """Read the files of a run that the report needs, whether it is finished or still goes on.

    Raises:
        RunFolderError: the folder is of another kind, or it or a file is missing, cannot be read, lacks a column, or states
            another unit than the run; the message names the file and what to do.
    """
    run_dir = Path(run_dir)
    if not run_dir.is_dir():
        raise RunFolderError(
            f"there is no run folder {run_dir}; give the folder of a run (runs/NAME)"
        )
    instead = instead_of_run(run_dir)
    if instead is not None:
        raise RunFolderError(instead)
    if not (run_dir / "run.json").is_file():
        raise RunFolderError(
            f"run folder {run_dir} has no run.json, which a run writes once its materials are split: try"
            " again in a minute where it is at work; else go on with `gpnet-ray run --resume`, or start it"
            " anew with --overwrite"
        )
    info = _read_json(run_dir, "run.json")
    missing = [key for key in RUN_INFO if key not in info]
    if missing:
        raise RunFolderError(f"{run_dir / 'run.json'} lacks {', '.join(missing)}; {_ADVICE}")
    config = _read_yaml(run_dir, "config.yaml")
    # Read before the tables: these may be ahead of it and never behind.
    progress = None
    if not info.get("finished", True):
        progress = read_progress(run_dir / "journal.jsonl", config)
    tables = _Tables(run_dir, str(info["unit"]), all_there=progress is None)
    metrics = tables.read("metrics.parquet", METRICS)
    if progress is None and not len(metrics["cycle"]):
        raise RunFolderError(f"{run_dir / 'metrics.parquet'} has no rows; {_ADVICE}")
    gp_is_due = progress is None or (run_dir / "gp.json").is_file()
    retrainings = tables.read("retrainings.parquet", RETRAININGS)
    return FinishedRun(
        path=run_dir,
        config=config,
        info=info,
        gp=_read_json(run_dir, "gp.json") if gp_is_due else {},
        metrics=_sorted(metrics, "cycle"),
        picks=_sorted(tables.read("picks.parquet", PICKS, optional=PICKS_OPTIONAL), "cycle"),
        predictions=tables.read("predictions.parquet", PREDICTIONS),
        history=_sorted(tables.read("training_history.parquet", HISTORY), "epoch"),
        retrainings=retrainings,
        later_gps=_later_gps(run_dir, retrainings, all_there=progress is None),
        rejected=_read_rejected(run_dir, expected=int(info["n_rejected"])),
        progress=progress,
    )


def _later_gps(
    run_dir: Path, retrainings: Columns, *, all_there: bool
) -> dict[str, dict[int, dict[str, Any]]]:
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for arm, number in zip(retrainings["strategy"], retrainings["network"], strict=True):
        name = f"networks/{arm}-{number}/gp.json"
        if all_there or (run_dir / name).is_file():
            found.setdefault(str(arm), {})[int(number)] = _read_json(run_dir, name)
    return found


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


@dataclass(frozen=True)
class _Tables:
    """The Parquet files of a run; where not ``all_there``, one that is missing reads as empty."""

    run_dir: Path
    unit: str
    all_there: bool

    def read(
        self, name: str, columns: dict[str, str], *, optional: dict[str, str] | None = None
    ) -> Columns:
        if not self.all_there and not (self.run_dir / name).is_file():
            return {key: _as_numpy([], kind, where=name) for key, kind in columns.items()}
        path = _existing(self.run_dir, name)
        table = _parquet(path)
        present = set(table.schema.names)
        lacking = [key for key in columns if key not in present]
        if lacking:
            raise RunFolderError(f"{path} lacks the column {', '.join(lacking)}; {_ADVICE}")
        stated = (table.schema.metadata or {}).get(b"unit", self.unit.encode()).decode()
        if stated != self.unit:
            raise RunFolderError(
                f"{path} is in {stated!r} but run.json says {self.unit!r}; {_ADVICE}"
            )
        return {
            key: _as_numpy(table.column(key).to_pylist(), kind, where=f"{path}, column {key}")
            for key, kind in {**columns, **(optional or {})}.items()
            if key in present
        }


def _parquet(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()  # read_table would read columns into the path's name
        refuse_objects(table.schema)
    except (pa.ArrowInvalid, OSError) as error:
        raise RunFolderError(f"{path} cannot be read as Parquet ({error}); {_ADVICE}") from error
    return table


def _as_numpy(values: Sequence[Any], kind: str, *, where: str) -> npt.NDArray[Any]:
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
