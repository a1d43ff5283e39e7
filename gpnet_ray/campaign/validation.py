"""Validation without a campaign: what is held out is predicted by networks and processes that never saw it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from gpnet_ray.actors.cluster import connected
from gpnet_ray.campaign.begun_from import first_network_of_validation
from gpnet_ray.campaign.data_fingerprint import data_fingerprint
from gpnet_ray.campaign.foresight import check_latents, warn_of_memory
from gpnet_ray.campaign.identity import check_same
from gpnet_ray.campaign.journal import Journal
from gpnet_ray.campaign.machine import machine, versions
from gpnet_ray.campaign.preparation import Problem, check_target_is_no_feature, screen
from gpnet_ray.campaign.pretraining import with_pretrained
from gpnet_ray.campaign.ray_errors import ray_errors_explained
from gpnet_ray.campaign.rejected import rejected_summary
from gpnet_ray.campaign.validation_folder import FoldKey, FoldRecord, ValidationFolder
from gpnet_ray.campaign.validation_folds import Fold, HeldOut, draw_folds
from gpnet_ray.campaign.validation_pool import FinishedFold, run_folds
from gpnet_ray.campaign.validation_summary import target_summary
from gpnet_ray.campaign.validation_task import Lesson
from gpnet_ray.config import Config
from gpnet_ray.data.dataset import MaterialsDataset
from gpnet_ray.errors import InputError
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.progress import NullProgress, Progress

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ValidationResult", "validate", "validation_folder"]

GO_ON = "Finished folds are on disk: go on with --resume"
SETTINGS_THAT_COUNT = ("network.", "training.", "gp.", "seed")


@dataclass(frozen=True)
class ValidationResult:
    """A finished validation: its folder and its summary."""

    run_dir: Path
    summary: Mapping[str, Any]

    @property
    def predictions(self) -> pd.DataFrame:
        """One row a target and held-out material: fold, label, mean, sigma, network_prediction."""
        return pq.read_table(ValidationFolder(self.run_dir).predictions).to_pandas()


def validation_folder(config: Config, source: str) -> ValidationFolder:
    """The folder of a validation: the run's name, or the dataset's with ``-validation`` behind it."""
    path = config.run_dir(source)
    return ValidationFolder(path if config.name else path.with_name(f"{path.name}-validation"))


def validate(
    datasets: MaterialsDataset | Sequence[MaterialsDataset],
    config: Config | None = None,
    *,
    folds: int | None = None,
    n_train: int | None = None,
    n_test: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ValidationResult:
    """Cross-validate network and Gaussian process, or test them on one split, in parallel Ray tasks.

    A fold's network, latent scaling and hyperparameters come from its train rows alone; the held-out labels
    never reach the task that predicts them.

    Args:
        datasets: Labelled crystals; several datasets are several targets of the same materials, whose
            graphs are built once.
        config: Its ``network``, ``training``, ``gp``, ``resources``, ``seed``, ``name`` and ``runs_dir``
            are used.
        folds: k of k-fold cross-validation; 5 where neither this nor ``n_test`` is given.
        n_train: With ``n_test``: how many rows are learned from; all others where left out.
        n_test: One split instead of folds, with so many rows held out: those that a campaign with the same
            numbers and seed holds out.
        resume: Go on with the validation in the folder; finished folds are not done again.
        overwrite: Replace the validation in the folder.
        progress: Where progress is shown; nowhere where left out.

    Raises:
        InputError: datasets that do not belong together or have no targets, more folds than rows, too
            few rows.
        RunFolderError: the folder is occupied, damaged, or of other settings or data.
    """
    progress = progress or NullProgress()
    config, initial = with_pretrained(config or Config(), progress)
    given = (datasets,) if isinstance(datasets, MaterialsDataset) else tuple(datasets)
    _check_one_set_of_materials(given, config)
    held_out = HeldOut.chosen(folds, n_test=n_test, n_train=n_train)
    folder = validation_folder(config, given[0].source)
    folder.check_free(resume=resume, overwrite=overwrite)
    draw_folds(given[0].ids, held_out, seed=config.seed)  # before graphs are built for nothing
    problems = _problems(given, config, progress)
    crystals = problems[0].graphs.crystal_of()
    ids = problems[0].dataset.ids
    drawn = draw_folds(ids, held_out, seed=config.seed, crystals=crystals)
    sizes = [len(fold.train) for fold in drawn]
    check_latents(min(sizes), config)
    work = _Validation(config, initial, held_out, problems, drawn, folder, progress)
    with connected(config.resources), ray_errors_explained(GO_ON):
        warn_of_memory(max(sizes), progress)
        if not resume:
            folder.create(config, overwrite=overwrite)
        try:
            with Journal(folder.journal) as journal:
                return work.run(journal)
        except InputError:
            # What was asked cannot be done: a folder that holds nothing yet is not left behind.
            if not resume and not folder.folds.exists():
                folder.remove()
            raise


def _check_one_set_of_materials(datasets: Sequence[MaterialsDataset], config: Config) -> None:
    if not datasets:
        raise InputError("there is nothing to validate on; give at least one dataset")
    names = [dataset.target for dataset in datasets]
    if len(set(names)) != len(names):
        raise InputError(f"targets {', '.join(names)} name one twice; name each once")
    for dataset in datasets:
        if dataset.targets is None:
            raise InputError(f"{dataset.source} has no targets to validate on; label it first")
        if dataset.ids != datasets[0].ids:
            raise InputError(
                f"{dataset.target} is of other materials than {names[0]}; give datasets of the same ids in"
                " the same order, or validate each by itself"
            )
        check_target_is_no_feature(dataset, config)
        _check_same_features(datasets[0], dataset, config.network.global_features)


def _check_same_features(
    first: MaterialsDataset, other: MaterialsDataset, names: Sequence[str]
) -> None:
    for name, one, two in zip(first.ids, first.structures, other.structures, strict=True):
        differ = [f for f in names if one.properties.get(f) != two.properties.get(f)]
        if differ:
            raise InputError(
                f"{name} has another {differ[0]} for {other.target} ({two.properties.get(differ[0])}) than for"
                f" {first.target} ({one.properties.get(differ[0])}); all targets share the crystals and their"
                " global features, so validate each by itself"
            )


def _problems(
    datasets: Sequence[MaterialsDataset], config: Config, progress: Progress
) -> list[Problem]:
    first = screen(datasets[0], config, progress)
    rest = [replace(first, dataset=d.select(first.dataset.ids)) for d in datasets[1:]]
    return [first, *rest]


@dataclass(frozen=True)
class _Validation:
    """One validation under way; ``problems``: one a target, all with the same graphs."""

    config: Config
    initial: NetworkState | None
    held_out: HeldOut
    problems: Sequence[Problem]
    drawn: tuple[Fold, ...]
    folder: ValidationFolder
    progress: Progress

    def run(self, journal: Journal) -> ValidationResult:
        begun = self._begin(journal)
        self.folder.write_rejected(self.problems[0].rejected)
        if self.problems[0].rejected:
            summary = rejected_summary(self.problems[0].rejected)
            self.progress.line(f"{len(self.problems[0].rejected)} rejected: {summary}")
        held_out = [name for fold in self.drawn for name in fold.test]
        first_network = first_network_of_validation(
            self.initial, self.problems[0].graphs, held_out, self.progress
        )
        records = self.folder.finished_folds(journal.events)
        if records:
            self.progress.line(f"Going on with {self.folder.path}: {len(records)} folds are done")
        for finished in self._run_missing(records):
            record = self._keep(finished)
            journal.append(record.event())
            records[record.key] = record
        return self._conclude(records, begun, first_network)

    def _begin(self, journal: Journal) -> Mapping[str, Any]:
        """Begin the journal, or check that what is in it is of the same settings and data."""
        identity = self._identity()
        if journal.events:
            check_same(self.folder.path, journal.events[0]["identity"], identity)
            return journal.events[0]
        event = {
            "event": "validation",
            "identity": identity,
            "versions": versions(),
            "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        }
        journal.append(event)
        return event

    def _identity(self) -> dict[str, Any]:
        science = self.config.science().items()
        identity = {key: value for key, value in science if key.startswith(SETTINGS_THAT_COUNT)}
        held_out, initial = self.held_out, self.initial
        identity |= {
            "folds": held_out.folds,
            "train rows": held_out.n_train,
            "test rows": held_out.n_test,
            "pretrained network": None if initial is None else initial.fingerprint(),
        }
        if self.problems[0].graphs.crystals:
            # Folds of earlier versions parted the rows of a crystal.
            identity["held out together"] = "all rows of a crystal"
        for problem in self.problems:
            target, unit = problem.dataset.target, problem.dataset.unit
            identity[f"data (ids, crystals, {target} in {unit})"] = data_fingerprint(problem)
        return identity

    def _run_missing(self, records: Mapping[FoldKey, FoldRecord]) -> Iterator[FinishedFold]:
        lessons = {
            (problem.dataset.target, fold.number): _lesson(problem, fold)
            for problem in self.problems
            for fold in self.drawn
        }
        missing = {key: lesson for key, lesson in lessons.items() if key not in records}
        return run_folds(self.problems[0].graphs, missing, self.config, self.initial, self.progress)

    def _keep(self, finished: FinishedFold) -> FoldRecord:
        """Put what a fold predicts on disk, beside the labels that it has not seen."""
        (target, number), predicted = finished.key, finished.prediction
        dataset = self._dataset(target)
        columns = {
            "material_id": list(predicted.ids),
            "label": dataset.select(predicted.ids).targets,
            "mean": predicted.mean,
            "sigma": predicted.sigma,
            "network_prediction": predicted.network_prediction,
        }
        file, digest = self.folder.write_fold(finished.key, pa.table(columns), unit=dataset.unit)
        return FoldRecord(
            target=target,
            fold=number,
            n_train=finished.n_train,
            n_test=len(predicted.ids),
            epochs=len(finished.history),
            validation_mae=predicted.kept.validation_mae,
            hyperparameters=predicted.hyperparameters.to_json(),
            recalibration=predicted.recalibration.to_json(),
            warnings=predicted.warnings,
            seconds=round(predicted.seconds, 3),
            file=file,
            sha256=digest,
            best_epoch=predicted.kept.epoch,
        )

    def _dataset(self, target: str) -> MaterialsDataset:
        return next(p.dataset for p in self.problems if p.dataset.target == target)

    def _conclude(
        self,
        records: Mapping[FoldKey, FoldRecord],
        begun: Mapping[str, Any],
        first_network: Mapping[str, Any] | None,
    ) -> ValidationResult:
        """Write all predictions and the summary, from the files of the folds."""
        tables, targets = [], []
        for problem in self.problems:
            dataset = problem.dataset
            mine = [records[dataset.target, fold.number] for fold in self.drawn]
            read = [self.folder.read_fold(record) for record in mine]
            targets.append(target_summary(dataset, mine, read))
            tables += [_named(table, record) for table, record in zip(read, mine, strict=True)]
        units = ", ".join(p.dataset.unit for p in self.problems)
        self.folder.write_table(self.folder.predictions, pa.concat_tables(tables), unit=units)
        first = self.problems[0].dataset
        summary = {
            "format": 1,
            "name": self.folder.path.name,
            "source": first.source,
            "held_out": {
                "folds": self.held_out.folds,
                "n_train": self.held_out.n_train,
                "n_test": self.held_out.n_test,
            },
            "first_network": first_network,
            "n_materials": len(first),
            "n_rejected": len(self.problems[0].rejected),
            "targets": targets,
            "settings": self.config.model_dump(mode="json"),
            **{key: begun[key] for key in ("started", "command", "versions")},
            "machine": machine(),
        }
        self.folder.write_json(self.folder.summary, summary)
        return ValidationResult(self.folder.path, summary)


def _lesson(problem: Problem, fold: Fold) -> Lesson:
    labels = problem.dataset.select(fold.train).targets
    assert labels is not None  # noqa: S101 - checked before graphs were built
    return Lesson(fold.train, labels, fold.test, problem.dataset.target, problem.dataset.unit)


def _named(table: pa.Table, record: FoldRecord) -> pa.Table:
    """The table of a fold with its target and number before its other columns."""
    n = table.num_rows
    return (
        table.replace_schema_metadata(None)
        .add_column(1, "fold", pa.array([record.fold] * n, pa.int64()))
        .add_column(0, "target", pa.array([record.target] * n, pa.string()))
    )
