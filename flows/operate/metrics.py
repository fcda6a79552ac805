"""What a desk can be watched by, as figures for Prometheus: its last night, its disks, its champions, its last run.

Everything is read when it is asked for, from the lake's commit log and tables, the registry and the Prefect server; nothing is counted in
memory, so a restart forgets nothing. All are gauges, and those of a night are of the last published one alone: a label for the night would
make a series a day. Times are Unix seconds, as Prometheus wants them: an age is `time() - nightdesk_..._timestamp_seconds`. A part that
cannot be read is left out and told by `nightdesk_part_up`; the others are shown all the same. `deployments/prometheus.rules.yaml` has alerts.

Not covered: a history (Prometheus keeps it), and figures from inside a run that is under way (its page in Prefect shows its progress).
"""

from __future__ import annotations

import datetime as dt
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.core import InfoMetricFamily as Info
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from data_contracts.alerts import SEVERITIES
from data_contracts.labels import TASKS
from flows.nights import cutoff_at, last_ended
from flows.operate.health import health
from flows.operate.runs import last_run
from flows.sections import MONITORS
from tasks.lake import Lake
from tasks.registry import Registry

if TYPE_CHECKING:
    from flows.settings import Settings
    from tasks.lake.log import Commit

log = logging.getLogger(__name__)

OUTCOMES = ("read", "new", "outside", "quarantined", "repeated")  # source_counts.rows_*


def asgi(settings: Settings) -> ASGIApp:
    """An application that answers every request with the figures, in the format that is asked for; reading them blocks no other request."""
    registry = registry_of(settings)

    async def metrics(scope: Scope, receive: Receive, send: Send) -> None:
        encode, content_type = choose_encoder(Request(scope).headers.get("accept", ""))
        body = await run_in_threadpool(encode, registry)
        await Response(body, media_type=content_type)(scope, receive, send)

    return metrics


def registry_of(
    settings: Settings, *, clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)
) -> CollectorRegistry:
    """A registry of the desk's figures alone."""
    registry = CollectorRegistry()
    registry.register(Desk(settings, clock))
    return registry


class Desk(Collector):
    """The figures of one desk, in parts that fail on their own."""

    def __init__(self, settings: Settings, clock: Callable[[], dt.datetime]) -> None:
        self._settings, self._clock = settings, clock
        self._lake: Lake | None = None  # kept: it reads each record of the log once

    def collect(self) -> Iterator[Metric]:
        """Every figure that can be read now."""
        up = Gauge(
            "nightdesk_part_up", "Whether a part could be read for these figures (1) or not (0).", labels=["part"]
        )
        parts = {
            "lake": self._nights,
            "disk": self._disks,
            "registry": self._champions,
            "programs": self._programs,
            "prefect": self._runs,
        }
        for name, read in parts.items():
            try:
                yield from list(read())
                up.add_metric([name], 1)
            except Exception:  # one that is broken must not hide the others
                log.warning("the figures of the %s cannot be read", name, exc_info=True)
                up.add_metric([name], 0)
        yield up

    def _nights(self) -> Iterator[Metric]:
        """The published nights, and of the last one its tables, sources and alerts."""
        settings = self._settings
        self._lake = lake = self._lake or Lake.open(settings.lake)
        expected = last_ended(self._clock(), settings.zone, settings.cutoff)
        published = [commit for commit in lake.commits() if commit.publish]
        yield _one("nights_published", "Nights that readers find in the lake.", len({one.night for one in published}))
        yield _one(
            "expected_night_end_timestamp_seconds",
            "When the last night ended whose cut-off has passed.",
            cutoff_at(expected, settings.zone, settings.cutoff).timestamp(),
        )
        if not published:
            return
        night = max(commit.night for commit in published)
        behind = max((expected - night).days, 0)
        yield _one("nights_behind", "Nights that have ended since the last published one.", behind)
        yield _one(
            "last_night_end_timestamp_seconds",
            "When the last published night ended.",
            cutoff_at(night, settings.zone, settings.cutoff).timestamp(),
        )
        yield from _tables([commit for commit in published if commit.night == night])
        yield from _sources(lake, night)
        yield from _alerts(lake, night)

    def _disks(self) -> Iterator[Metric]:
        """Where the home and a local lake lie."""
        free = Gauge("nightdesk_disk_free_bytes", "Bytes free where a place of the desk lies.", labels=["place"])
        size = Gauge("nightdesk_disk_size_bytes", "Bytes in all where a place of the desk lies.", labels=["place"])
        for name, place in (("home", str(self._settings.home)), ("lake", self._settings.lake)):
            if "://" not in place:
                usage = shutil.disk_usage(next(path for path in (Path(place), *Path(place).parents) if path.exists()))
                free.add_metric([name], usage.free)
                size.add_metric([name], usage.total)
        yield from (free, size)

    def _champions(self) -> Iterator[Metric]:
        """Which version serves each task."""
        registry = Registry(self._settings.mlflow_uri, self._settings.home / "bundles", patient=False)
        serving = Info("nightdesk_champion", "The version that serves a task.", labels=["task"])
        for task in TASKS:
            if (one := registry.champion_version(task)) is not None:
                serving.add_metric([task], {"version": str(one.version), "digest": one.digest})
        yield serving

    def _programs(self) -> Iterator[Metric]:
        """What `nightdesk up` keeps running in this home."""
        up = Gauge("nightdesk_program_up", "Whether a program of the desk works (1) or not (0).", labels=["program"])
        for one in sorted(health(self._settings.home), key=lambda one: one.name):
            up.add_metric([one.name], one.answers)
        yield up

    def _runs(self) -> Iterator[Metric]:
        """The nightly run that ended last, where a Prefect server is configured."""
        if (run := last_run()) is None:
            return
        yield Info(
            "nightdesk_last_run", "The nightly run that ended last.", value={"state": run.state, "name": run.name}
        )
        yield _one(
            "last_run_end_timestamp_seconds", "When the nightly run ended that ended last.", run.ended.timestamp()
        )
        yield _one("last_run_seconds", "How long it ran.", run.seconds)
        steps = Gauge("nightdesk_last_run_step_seconds", "How long each of its steps ran.", labels=["step"])
        for step, seconds in sorted(run.steps.items()):
            steps.add_metric([step], seconds)
        yield steps


def _one(name: str, says: str, value: float) -> Metric:
    return Gauge(f"nightdesk_{name}", says, value=value)


def _tables(commits: list[Commit]) -> Iterator[Metric]:
    """When the night was published, and its tables, from its commits, oldest first."""
    yield _one(
        "last_published_timestamp_seconds", "When the last night was published last.", commits[-1].time.timestamp()
    )
    rows = Gauge("nightdesk_night_table_rows", "Rows of a table of the last night.", labels=["table"])
    size = Gauge("nightdesk_night_table_bytes", "Bytes of a table of the last night.", labels=["table"])
    held = {entry.table: entry for commit in commits for entry in commit.tables}
    for name, entry in sorted(held.items()):
        rows.add_metric([name], entry.rows)
        size.add_metric([name], entry.bytes)
    yield from (rows, size)


def _sources(lake: Lake, night: dt.date) -> Iterator[Metric]:
    """What each source gave on the night, and what became of it."""
    rows = Gauge("nightdesk_night_source_rows", "Rows of a source on the last night.", labels=["source", "outcome"])
    articles = Gauge(
        "nightdesk_night_source_articles", "Clean articles of a source on the last night.", labels=["source"]
    )
    failed = Gauge("nightdesk_night_source_failed", "Whether a source failed on the last night.", labels=["source"])
    for count in lake.read("source_counts", nights=[night]).to_pylist():
        for outcome in OUTCOMES:
            rows.add_metric([count["source"], outcome], count[f"rows_{outcome}"])
        articles.add_metric([count["source"]], count["articles"])
        failed.add_metric([count["source"]], count["failed"])
    yield from (rows, articles, failed)


def _alerts(lake: Lake, night: dt.date) -> Iterator[Metric]:
    """How many alerts of each severity and monitor the night has, none included, so that a rule sees a 0 and not a gap."""
    raised = Gauge("nightdesk_night_alerts", "Alerts of the last night.", labels=["monitor", "severity"])
    found = lake.read("alerts", nights=[night], columns=["monitor", "severity"]).to_pylist()
    counts = Counter((alert["monitor"], alert["severity"]) for alert in found)
    for monitor in sorted({*MONITORS, *(monitor for monitor, _ in counts)}):
        for severity in SEVERITIES:
            raised.add_metric([monitor, severity], counts[monitor, severity])
    yield raised
