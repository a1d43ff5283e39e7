"""Metrics of a run for Prometheus, by way of Ray, and how they are read back from a cluster.

Every number follows from the run's journal, so that a run that was resumed goes on with the counts that it had,
and ``gpnet-ray status`` says the same of a folder as of a cluster.
"""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import ray
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from ray.util.metrics import Gauge

from gpnet_ray.campaign.journal import Event, Journal
from gpnet_ray.campaign.telemetry_standing import ArmFigures, RunFigures, Standing
from gpnet_ray.errors import ClusterError

__all__ = [
    "METRICS",
    "JournalWithMetrics",
    "Metric",
    "RunTags",
    "Telemetry",
    "figures_of_cluster",
    "read_metrics",
]

EVERY_SECONDS = 1.0
"""Ray sends metrics on every ten seconds and forgets a gauge after twenty, unless it is set up in another way."""

SCRAPE_TIMEOUT_SECONDS = 10.0
PREFIX = "ray_"
"""What Ray puts before the names of its users' metrics."""


@dataclass(frozen=True)
class Metric:
    """One number of :class:`RunFigures` or, with the tag ``strategy``, of :class:`ArmFigures`."""

    field: str
    description: str

    @property
    def name(self) -> str:
        """What it is called, before Ray puts its own name in front."""
        return f"gpnet_{self.field}"


METRICS = (
    Metric("labels_ok", "Labels that the oracle gave"),
    Metric("labels_failed", "Labels that it could not give"),
    Metric("labels_pending", "Labels that are being made"),
    Metric("picks", "Materials chosen in finished cycles"),
    Metric("pool_left", "Candidates that were not picked"),
    Metric("largest_sigma", "Largest standard deviation of an observation left (target's unit)"),
    Metric("test_mae", "Mean absolute error on the test rows (target's unit)"),
    Metric("scoring_seconds", "Wall time of planning the last round's cycles (s)"),
    Metric("update_seconds", "Wall time of taking the last round's labels in (s)"),
    Metric("messages_per_cycle", "Messages to the actors that score, in the last round"),
    Metric("bytes_per_cycle", "Bytes that they answered with, in the last round"),
)


class RunTags(NamedTuple):
    """The tags of all metrics of a run, by which they are told from those of others.

    Attributes:
        run: Name of its folder, which others may have too: all repeats have a ``seed-0``.
        run_id: :attr:`Standing.run_id`; empty for drivers of before it was there.
        unit: Unit of the target.
    """

    run: str
    run_id: str
    unit: str


OF_ARMS = {one.name for one in fields(ArmFigures)}


class Telemetry:
    """Follows one run and hands its numbers to Ray, in the driver's process, until the ``with`` block ends.

    All are gauges: they follow from the journal, so that a resumed run goes on with its counts, and failures that are
    tried again lower them. Ray forgets a gauge that is not set again for some seconds, which is how a run that
    has ended leaves Prometheus; so a thread sets them again and again, in hours of training too.
    """

    def __init__(self, run: str, unit: str) -> None:
        """Begin to follow.

        Args:
            run: Name of the run's folder.
            unit: Unit of the target.
        """
        self._run, self._unit = run, unit
        self._standing = Standing()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_setting, name="metrics", daemon=True)
        self._gauges: dict[str, Gauge] = {}
        for metric in METRICS:
            tags = (*RunTags._fields, *(("strategy",) if metric.field in OF_ARMS else ()))
            self._gauges[metric.field] = Gauge(metric.name, metric.description, tag_keys=tags)

    def __enter__(self) -> Telemetry:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def take(self, *events: Event) -> None:
        """Take events in the order of the journal."""
        with self._lock:
            for event in events:
                self._standing.take(event)

    def _keep_setting(self) -> None:
        while True:
            ended = self._ended.wait(EVERY_SECONDS)
            with self._lock:
                figures, run_id = self._standing.figures(), self._standing.run_id
            # Before its journal begins nobody could say whose numbers these are, and all are 0.
            if run_id is not None:
                tags = RunTags(self._run, run_id, self._unit)._asdict()
                self._set(figures, tags)
                for strategy, arm in figures.arms.items():
                    self._set(arm, {**tags, "strategy": strategy})
            if ended:
                return

    def _set(self, figures: RunFigures | ArmFigures, tags: dict[str, str]) -> None:
        for name, gauge in self._gauges.items():
            value = getattr(figures, name, None)
            if value is not None:
                gauge.set(value, tags=tags)


class JournalWithMetrics(Journal):
    """A journal whose events are followed by a run's metrics."""

    def __init__(self, path: Path, telemetry: Telemetry, **how: Any) -> None:
        """``how``: what :class:`Journal` takes besides."""
        super().__init__(path, **how)
        self._telemetry = telemetry
        telemetry.take(*self.events)

    def append(self, *events: Event) -> None:
        """Write events, and let the metrics follow; raises as :meth:`Journal.append` does."""
        super().append(*events)
        self._telemetry.take(*events)


def read_metrics(text: str) -> dict[RunTags, RunFigures]:
    """Read what a Prometheus endpoint says about runs."""
    of_field = {PREFIX + metric.name: metric.field for metric in METRICS}
    runs: dict[RunTags, dict[str, float]] = {}
    arms: dict[RunTags, dict[str, dict[str, float]]] = {}
    for sample in _samples(text):
        if sample.name not in of_field:
            continue
        # A label that is not there is an empty one, as for Prometheus.
        key = RunTags(*(sample.labels.get(tag, "") for tag in RunTags._fields))
        strategy = sample.labels.get("strategy")
        numbers = runs.setdefault(key, {})
        if strategy:
            numbers = arms.setdefault(key, {}).setdefault(strategy, {})
        numbers[of_field[sample.name]] = sample.value
    return {
        key: RunFigures(
            **numbers,
            arms={s: ArmFigures(**values) for s, values in arms.get(key, {}).items()},
        )
        for key, numbers in runs.items()
    }


def _samples(text: str) -> Iterable[Sample]:
    for family in text_string_to_metric_families(text):
        yield from family.samples


def figures_of_cluster() -> Mapping[RunTags, RunFigures]:
    """Ask every node of the cluster that this process is connected to about the runs that go on.

    Raises:
        ClusterError: a node does not answer.
    """
    found: dict[RunTags, RunFigures] = {}
    for node in ray.nodes():
        if node["Alive"]:
            address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
            found |= read_metrics(_fetch(address))
    return found


def _fetch(address: str) -> str:
    try:
        with urllib.request.urlopen(address, timeout=SCRAPE_TIMEOUT_SECONDS) as answer:  # noqa: S310 - http alone
            content: bytes = answer.read()
    except (urllib.error.URLError, TimeoutError) as error:
        raise ClusterError(
            f"the metrics at {address} cannot be had ({error}); ask from one of the cluster's nodes,"
            " or give status the run's folder"
        ) from None
    return content.decode("utf-8")
