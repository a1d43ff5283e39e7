"""The same campaign with several seeds: each a whole ordinary run in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from gpnet_ray.actors.cluster import connected
from gpnet_ray.campaign.arguments import check_is_config, check_is_dataset, check_is_oracle
from gpnet_ray.campaign.data_fingerprint import DataFingerprint
from gpnet_ray.campaign.folder_kinds import REPEATS_HEADER
from gpnet_ray.campaign.given_data import of_earlier_versions, settings_of
from gpnet_ray.campaign.identity import as_begun, check_same, science_of
from gpnet_ray.campaign.journal import read_journal
from gpnet_ray.campaign.preparation import load_dataset
from gpnet_ray.campaign.pretraining import with_pretrained
from gpnet_ray.campaign.ray_errors import ray_errors_explained
from gpnet_ray.campaign.repeats_pool import Repeat, run_all
from gpnet_ray.campaign.repeats_summary import SeedCurves, repeats_summary
from gpnet_ray.campaign.run_folder import RunFolder
from gpnet_ray.config import Config
from gpnet_ray.data.dataset import MaterialsDataset
from gpnet_ray.data.hypothetical_oxides import SOURCE as HYPOTHETICAL
from gpnet_ray.errors import InputError, RunFolderError
from gpnet_ray.evaluation.comparison import Measure
from gpnet_ray.oracles.protocol import Oracle
from gpnet_ray.progress import NullProgress, Progress
from gpnet_ray.report.finished_run import read_finished_run
from gpnet_ray.report.repeats_page import write_repeats_page
from gpnet_ray.report.summary import picking_curves

__all__ = ["RepeatsFolder", "RepeatsResult", "check_repeats", "repeats_folder", "run_repeats"]

GO_ON = "What was bought is in the journals of the seeds: go on with --resume"
LARGEST_SEED = 2**31 - 1
DATA = "data (ids, crystals, targets)"


class RepeatsFolder(RunFolder):
    """The folder of all seeds: their run folders, what they say together, and a page."""

    config_header = REPEATS_HEADER

    def of_seed(self, seed: int) -> RunFolder:
        """The run folder of one seed."""
        return RunFolder(self.path / f"seed-{seed}")

    def _journals(self) -> Iterable[Path]:
        return sorted(self.path.glob("seed-*/journal.jsonl"))


@dataclass(frozen=True)
class RepeatsResult:
    """Finished repeats: their folder, the run folder of each seed, and the summary over seeds."""

    run_dir: Path
    runs: Mapping[int, Path]
    summary: Mapping[str, Any]
    page: Path


def repeats_folder(config: Config, source: str) -> RepeatsFolder:
    """The folder of the repeats: the run's name, or the dataset's with ``-repeats`` behind it."""
    path = config.run_dir(source)
    return RepeatsFolder(path if config.name else path.with_name(f"{path.name}-repeats"))


def check_repeats(config: Config, repeats: int) -> None:
    """Refuse a number of repeats that cannot be run.

    Raises:
        InputError: less than one, seeds beyond the largest, or a storage, which holds single runs.
    """
    if repeats < 1:
        raise InputError(f"--repeats {repeats} runs nothing; give at least 1")
    if config.seed + repeats - 1 > LARGEST_SEED:
        raise InputError(
            f"--repeats {repeats} from seed {config.seed} goes beyond the largest seed, {LARGEST_SEED};"
            " lower --seed"
        )
    if config.storage.uri is not None:
        raise InputError(
            "a storage holds single runs, and --repeats makes several; leave out --storage, or run each"
            " seed by itself with --seed and --name"
        )


def run_repeats(
    dataset: MaterialsDataset | None = None,
    config: Config | None = None,
    *,
    repeats: int,
    oracle: Oracle | None = None,
    resume: bool = False,
    overwrite: bool = False,
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> RepeatsResult:
    """Run every arm with several seeds: ``config.seed``, ``config.seed + 1`` and so on.

    The run of each seed is what ``gpnet-ray run --seed SEED`` makes, in ``seed-SEED/``: a new split, a new
    network and a new random arm (and other embedded oxides). Labels are bought anew for every seed. As many
    seeds run side by side as :func:`gpnet_ray.campaign.repeats_pool.campaigns_side_by_side` says.

    Args:
        dataset: The crystals; left out: what the configuration names.
        config: Settings; the defaults where left out.
        repeats: How many seeds.
        oracle: Where labels come from; the dataset's own targets where left out.
        resume: Go on: seeds that are done are not run again, and more repeats than before are added.
        overwrite: Replace the repeats in the folder.
        retry_failed: On ``resume``, ask again for labels that failed, in finished seeds too.
        progress: Where progress is shown; nowhere where left out.

    Raises:
        InputError: fewer than one repeat, or what a campaign refuses.
        RunFolderError: the folder is occupied, or of other settings or data.
    """
    configured, progress = config or Config(), progress or NullProgress()
    check_is_config(configured)
    if dataset is not None:
        check_is_dataset(dataset)
    if oracle is not None:
        check_is_oracle(oracle)
    config = configured if dataset is None else settings_of(configured, dataset)
    check_repeats(config, repeats)
    if retry_failed and not resume:
        raise RunFolderError("retry_failed goes on with a run: give --resume too")
    source = dataset.source if dataset else str(config.data.dataset or HYPOTHETICAL)
    folder = repeats_folder(config, source)
    folder.check_free(resume=resume, overwrite=overwrite)
    seeds = range(config.seed, config.seed + repeats)
    configs = {seed: _of_seed(configured, folder, seed) for seed in seeds}
    missing = [s for s in seeds if retry_failed or not _is_finished(folder, configs[s], dataset)]
    if dataset is None and missing:
        config.label_unit()  # Asked before anything is written.
    if dataset is None and config.data.dataset is not None and missing:
        # Of a file: the same for every seed, and an oracle of the configuration is made with each.
        dataset, oracle = _read_once(configs[missing[0]], progress)
    runs = {seed: Repeat(configs[seed], dataset, oracle, retry_failed) for seed in missing}
    if not resume:
        folder.create(config, overwrite=overwrite)
    try:
        if runs:
            with connected(config.resources), ray_errors_explained(GO_ON):
                run_all(runs, progress)
    except InputError:
        # What was asked cannot be done: a folder that holds nothing yet is not left behind.
        if not resume and not any(folder.path.glob("seed-*")):
            folder.remove()
        raise
    of_one_dataset = dataset is not None or config.data.dataset is not None
    return _conclude(config, folder, configs, of_one_dataset=of_one_dataset)


def _read_once(config: Config, progress: Progress) -> tuple[MaterialsDataset | None, Oracle | None]:
    if config.oracle.kind not in (None, "table"):
        return None, None
    return load_dataset(config, progress)


def _of_seed(config: Config, folder: RepeatsFolder, seed: int) -> Config:
    place = folder.of_seed(seed).path.absolute()
    return config.model_copy(update={"seed": seed, "name": place.name, "runs_dir": place.parent})


def _is_finished(folder: RepeatsFolder, config: Config, dataset: MaterialsDataset | None) -> bool:
    """Whether the seed's run has come to its end, with these settings.

    Raises:
        RunFolderError: it was made with other settings.
    """
    run = folder.of_seed(config.seed)
    if not run.journal.is_file():
        return False
    events = read_journal(run.journal)
    if not events or events[-1]["event"] != "finished" or not run.summary.is_file():
        return False
    configured, _ = with_pretrained(config)
    settings = configured if dataset is None else settings_of(configured, dataset)
    earlier = of_earlier_versions(configured, settings)
    now = science_of(as_begun(settings.science(), events[0], earlier))
    then = science_of(events[0]["identity"])
    check_same(run.path, {key: then.get(key) for key in now}, now)
    return True


def _conclude(
    config: Config, folder: RepeatsFolder, configs: Mapping[int, Config], *, of_one_dataset: bool
) -> RepeatsResult:
    runs = {seed: folder.of_seed(seed) for seed in configs}
    if of_one_dataset:
        _check_one_dataset(runs)
    summaries = {seed: run.read_json(run.summary) for seed, run in runs.items()}
    finished = {seed: read_finished_run(run.path) for seed, run in runs.items()}
    curves: SeedCurves = {
        measure: {seed: picking_curves(run, measure) for seed, run in finished.items()}
        for measure in get_args(Measure)
    }
    summary = {
        "name": folder.path.name,
        **repeats_summary(summaries, curves),
        "folders": {str(seed): run.path.name for seed, run in runs.items()},
        "settings": config.model_dump(mode="json"),
    }
    folder.write_json(folder.summary, summary)
    page = write_repeats_page(list(finished.values()), folder.path, summary["comparisons"])
    return RepeatsResult(folder.path, {seed: run.path for seed, run in runs.items()}, summary, page)


def _check_one_dataset(runs: Mapping[int, RunFolder]) -> None:
    of_seed = {s: read_journal(run.journal)[0]["identity"][DATA] for s, run in runs.items()}
    known = set(of_seed.values())
    # What an earlier version hashed can only be compared with its like.
    of_crystals = set(filter(DataFingerprint.is_of_crystals, known))
    if max(len(of_crystals), len(known - of_crystals)) > 1:
        listing = ", ".join(f"seed {seed}: {data}" for seed, data in of_seed.items())
        raise RunFolderError(
            f"the seeds were run on different data ({listing}), so they are not repeats; restore the"
            " dataset and remove the folders of the seeds that had another one, then --resume"
        )
