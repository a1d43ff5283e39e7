"""The campaign: the one place that knows the order of things."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpnet_ray.actors.cluster import connected
from gpnet_ray.actors.placement import reserved
from gpnet_ray.campaign.arguments import check_is_dataset, check_is_oracle
from gpnet_ray.campaign.arm import Arm
from gpnet_ray.campaign.arm_record import ArmResult
from gpnet_ray.campaign.ask_tell import AskTellCampaign
from gpnet_ray.campaign.begun_from import say_of_run
from gpnet_ray.campaign.context import RunContext
from gpnet_ray.campaign.foresight import check_latents
from gpnet_ray.campaign.given_data import of_earlier_versions, settings_of, with_label_note
from gpnet_ray.campaign.identity import holds_anything, open_run, run_identity
from gpnet_ray.campaign.journal import Journal
from gpnet_ray.campaign.labels import open_desk, true_values
from gpnet_ray.campaign.networks import Networks
from gpnet_ray.campaign.preparation import (
    Problem,
    check_features_vary,
    check_network,
    check_oracle,
    check_pool_is_large_enough,
    screen,
    split_problem,
    table_oracle,
)
from gpnet_ray.campaign.pretraining import with_pretrained
from gpnet_ray.campaign.ray_errors import ray_errors_explained
from gpnet_ray.campaign.records import write_about, write_materials, write_run
from gpnet_ray.campaign.run_folder import RunFolder
from gpnet_ray.campaign.scorers import Scorers
from gpnet_ray.campaign.storage import check_free, stored_run
from gpnet_ray.campaign.telemetry import JournalWithMetrics, Telemetry
from gpnet_ray.campaign.watching import RunWatch
from gpnet_ray.config import Config
from gpnet_ray.data.dataset import MaterialsDataset
from gpnet_ray.data.splits import Split, load_split
from gpnet_ray.errors import InputError, RunFolderError, StorageError
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.oracles.protocol import Oracle
from gpnet_ray.progress import NullProgress, Progress
from gpnet_ray.report.page import write_report

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


__all__ = ["Campaign", "CampaignResult"]

GO_ON = "Labels and picks are in the journal: go on with --resume"


@dataclass(frozen=True)
class CampaignResult:
    """A finished campaign: its folder, its summary, and its tables as pandas data frames.

    Summary and tables are those of this run also after another one has replaced it in the folder.
    """

    run_dir: Path
    summary: Mapping[str, Any]
    report: Path
    _metrics: pa.Table = field(repr=False, compare=False)
    _picks: pa.Table = field(repr=False, compare=False)

    @classmethod
    def of(cls, folder: RunFolder, report: Path) -> CampaignResult:
        """Read what the run has just left in its folder."""
        summary, tables = folder.read_json(folder.summary), (folder.metrics, folder.picks)
        return cls(folder.path, summary, report, *map(folder.read_table, tables))

    @property
    def metrics(self) -> pd.DataFrame:
        """Errors before the loop (cycle 0) and after every cycle, one row an arm and cycle."""
        return self._metrics.to_pandas()

    @property
    def picks(self) -> pd.DataFrame:
        """Every pick in order, with the σ it was chosen by and its label."""
        return self._picks.to_pandas()


class Campaign:
    """Trains the network, fits the GP and runs every strategy's loop from the same start.

    >>> from gpnet_ray import Campaign, load_config, read_dataset
    >>> dataset = read_dataset("oxides.parquet", target="e_form", unit="eV/atom")  # doctest: +SKIP
    >>> result = Campaign(dataset, load_config(preset="paper")).run()  # doctest: +SKIP
    """

    def __init__(
        self,
        dataset: MaterialsDataset,
        config: Config | None = None,
        *,
        oracle: Oracle | None = None,
        split: Split | None = None,
        network: NetworkState | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Prepare a campaign; nothing is written before :meth:`run`.

        Args:
            dataset: The crystals, with their hidden targets or without.
            config: Settings; the defaults where left out.
            oracle: Where labels come from; the dataset's own targets where left out.
            split: Ids of train, pool and test; drawn from the seed where left out.
            network: A trained network; trained on the train rows where left out.
            progress: Where progress is shown; nowhere where left out.

        Raises:
            InputError: what is given is no dataset, no settings or no oracle; the dataset has no targets and no
                oracle is given, or both, or their units differ, or the settings name another oracle than the
                table and none is given; the network was trained for another target or with other settings; the
                settings were given another target, unit or number of train or test rows than dataset and split
                have.
        """
        check_is_dataset(dataset)
        configured, initial = with_pretrained(config or Config(), progress)
        if oracle is not None:
            check_is_oracle(oracle)
        check_oracle(dataset, oracle, configured)
        config = settings_of(configured, dataset, split)
        if network is not None:
            check_network(network, dataset, config)
        self._dataset = with_label_note(dataset, oracle, config)
        self._split, self._network = split, network
        self._context = RunContext(
            config,
            RunFolder(config.run_dir(dataset.source)),
            oracle or table_oracle(dataset, config),
            progress or NullProgress(),
            of_earlier_versions=of_earlier_versions(configured, config),
            initial=initial,
        )

    # For people who compute the labels themselves: both give an AskTellCampaign.
    create = staticmethod(AskTellCampaign.create)
    open = staticmethod(AskTellCampaign.open)

    def run(
        self, *, resume: bool = False, overwrite: bool = False, retry_failed: bool = False
    ) -> CampaignResult:
        """Run everything, or go on with an interrupted run.

        Args:
            resume: Go on with the run in the folder; what it has bought is not bought again.
            overwrite: Replace the run in the folder.
            retry_failed: On ``resume``, ask again for materials that could not be labelled; the
                cycles from the first of them on are run again.

        Raises:
            RunFolderError: the run's folder is occupied and neither option says what to do with it.
            StorageError: the storage does not answer, or another process writes this run there.
            InputError: the settings do not fit the dataset or the cluster.
            OracleError: too many labels failed.
        """
        context, folder = self._context, self._context.folder
        if retry_failed and not resume:
            raise RunFolderError("retry_failed goes on with a run: give --resume too")
        started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        check_free(folder, context.config, resume=resume, overwrite=overwrite)
        with context.timed("graphs"):
            problem = screen(self._dataset, context.config, context.progress)
        split = self._given_split(problem)
        check_pool_is_large_enough(problem, context.config, split)
        check_latents(len(split.train) if split else context.config.split.n_train, context.config)
        identity = run_identity(problem, context, split, self._network)
        storage, notify = context.config.storage, context.progress.line
        with stored_run(
            folder.path, storage, resume=resume, overwrite=overwrite, notify=notify
        ) as mirror:
            with connected(context.config.resources), ray_errors_explained(GO_ON):
                if resume:
                    folder.check_journal()
                else:
                    folder.create(context.config, overwrite=overwrite)
                try:
                    with ExitStack() as stack:
                        unit = problem.dataset.unit
                        telemetry = stack.enter_context(Telemetry(folder.path.name, unit))
                        journal = stack.enter_context(
                            JournalWithMetrics(folder.journal, telemetry, mirror=mirror)
                        )
                        open_run(
                            context, journal, identity, started=started, retry_failed=retry_failed
                        )
                        self._run_stages(problem, journal, stack)
                except StorageError:
                    raise
                except InputError:
                    # What was asked cannot be done: a folder that holds nothing yet is not left behind.
                    if not resume and not holds_anything(folder.journal):
                        folder.remove()
                        if mirror is not None:
                            mirror.remove()
                    raise
            report = write_report(folder.path)
        return CampaignResult.of(folder, report)

    def _run_stages(
        self,
        problem: Problem,
        journal: Journal,
        stack: ExitStack,
    ) -> None:
        context = self._context
        resources = context.config.resources
        # Before anything is bought: a place for what comes after it.
        context.placement = stack.enter_context(reserved(resources, labellers=resources.labellers))
        desk = open_desk(context, problem, journal, stack)
        split = self._read_or_draw_split(problem)
        if self._network is None and context.initial is None:
            check_features_vary(problem, split, context.config)
        begun_from = self._network or context.initial
        say_of_run(begun_from, problem.graphs, split.test, split.pool, context.progress)
        write_about(context, problem, split)
        reference, without_label = true_values(context, problem, split, desk)
        if without_label:
            problem = problem.without(without_label)
            split = split.without({r.material_id for r in without_label})
            check_pool_is_large_enough(problem, context.config, split)
            write_about(context, problem, split)
        write_materials(context, problem, split, reference)
        networks = Networks(context, problem, split, reference, journal)
        first = networks.first(self._network)
        scorers = stack.enter_context(Scorers(context, split, reference, journal))
        watch = RunWatch(context, problem, reference)
        arms: list[ArmResult] = []
        for strategy in context.config.selection.strategies:
            arm = Arm(
                strategy,
                context,
                unit=problem.dataset.unit,
                pool_ids=split.pool,
                networks=networks,
                scorers=scorers,
                desk=desk,
                journal=journal,
                watch=watch.grown,
            )
            arms.append(arm.run(first))
            if arms[-1].jitter:
                context.progress.line(
                    f"Warning: {strategy}: the covariance of the labelled points could be factorised"
                    f" only with a jitter of {arms[-1].jitter:.1e} ({problem.dataset.unit})² on its"
                    " diagonal"
                )
            watch.ended(arms[-1])
        desk.collect("before the run ends")
        write_run(context, arms, problem, split, reference, first, desk.bought())
        journal.append(
            {"event": "finished", "strategies": list(context.config.selection.strategies)}
        )

    def _read_or_draw_split(self, problem: Problem) -> Split:
        path = self._context.folder.split
        if path.is_file():
            split = load_split(path)
            split.check_belongs_to(problem.dataset.ids)
            return split
        split = self._given_split(problem) or split_problem(problem, self._context.config)
        self._context.folder.write_json(path, split.to_json())
        return split

    def _given_split(self, problem: Problem) -> Split | None:
        """The user's split less the materials that were rejected."""
        if self._split is None:
            return None
        given = self._split.without({r.material_id for r in problem.rejected})
        given.check_belongs_to(problem.dataset.ids)
        return given
