"""The steps of one night, each told what it needs to know of the run and the settings: what the nightly run and a backfill share.

The nightly run takes them one after the other. A backfill takes those up to `score` for several nights before it finishes the first of them.
The order of nights, locks, and which rows are a night's are the flows' own.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from prefect import get_run_logger

from data_contracts.errors import Fatal
from flows.artifacts import show_night
from flows.nights import cutoff_at, night_of
from flows.settings import Settings
from flows.wiring import backend_of
from tasks.context import about
from tasks.deal import Dealt
from tasks.ingest import Ingested, Window, ingest
from tasks.lake import Lake
from tasks.notify import Notified, notify
from tasks.own import OfMoment
from tasks.pool import Pool
from tasks.publish import Published, publish
from tasks.report import report
from tasks.score import Scored, score
from tasks.sources import SourceConfig
from tasks.validate import Validated, validate, validate_alerts, validate_scores
from tasks.watch import watch

SCORED = ("scored_articles", "entity_mentions", "daily_entity_sentiment")


class SourcesFailed(Fatal):
    """Every source failed; the night is published empty, and a later run of it can fill it."""


class AlertsUndelivered(Fatal):
    """The night is published, but a sink did not take its alerts; running it again sends those alone."""


@dataclass(frozen=True, kw_only=True)
class NightRun:
    """One run of one night, which the caller has locked."""

    settings: Settings
    night: dt.date
    now: dt.datetime
    run_id: str
    bundles: Sequence[str] = ()

    def ingest(
        self,
        *,
        window: Window | None,
        take_undated: bool = False,
        beside: bool = False,
        dealt: Dealt | None = None,
    ) -> Ingested:
        """Read the sources."""
        settings = self.settings
        read = ingest(
            settings.lake,
            settings.sources_of(self.night),
            night=self.night,
            window=window,
            take_undated=take_undated,
            own={source.name: self._on_night_of(source) for source in settings.sources if source.own},
            ends_at=cutoff_at(self.night, settings.zone, settings.cutoff),
            beside=beside,
            dealt=dealt,
            now=self.now,
            keep_raw=settings.keep_raw,
            lookback_nights=settings.limits.lookback_nights,
            run_id=self.run_id,
        )
        for name in read.failed:
            with about(source=name):
                get_run_logger().warning("the source %s failed tonight; the others go on", name)
        return read

    def keep(self) -> None:
        """Take what was read when the night was published, instead of reading: a feed no longer tells what it told then."""
        lake = Lake.open(self.settings.lake)
        lake.stage(self.night).write("source_counts", lake.read("source_counts", nights=[self.night]))

    def _on_night_of(self, source: SourceConfig) -> OfMoment:
        """A source as it is on the night of a moment."""
        return lambda moment: source.on(night_of(moment, self.settings.zone, self.settings.cutoff))

    def validate(self, *, staged: Collection[dt.date] = (), anew: bool = False) -> Validated:
        """Hold the rows to their contract and stage the articles."""
        limits = self.settings.limits
        return validate(
            self.settings.lake,
            night=self.night,
            now=self.now,
            run_id=self.run_id,
            max_failed_share=limits.max_failed_share,
            lookback_nights=limits.lookback_nights,
            staged=staged,
            anew=anew,
        )

    def score(self, *, rescore: bool, whole: bool = False, pool: Pool | None = None) -> Scored:
        """Score the staged articles and hold the scores to their contracts."""
        scoring, share = self.settings.scoring, self.settings.limits.max_failed_share
        scored = score(
            self.settings.lake,
            night=self.night,
            now=self.now,
            run_id=self.run_id,
            bundles=self.bundles,
            cluster=self.settings.cluster,
            rescore=rescore,
            whole=whole,
            pool=pool,
            min_ner_score=scoring.min_ner_score,
            min_confidence=scoring.min_confidence,
            backend=backend_of(self.settings),
        )
        validate_scores(self.settings.lake, night=self.night, now=self.now, max_failed_share=share)
        return scored

    def restage(self) -> bool:
        """Take the published scores, where the staged articles and counts are the published ones; whether they are."""
        lake = Lake.open(self.settings.lake)
        stage = lake.stage(self.night)
        same = all(
            stage.read(name).equals(lake.read(name, nights=[self.night])) for name in ("articles", "source_counts")
        )
        for name in (*SCORED, "quarantine") if same else ():
            stage.write(name, lake.read(name, nights=[self.night]))
        return same

    def publish(self) -> Published:
        """Let the monitors look, and make the night visible."""
        lake, night, now = self.settings.lake, self.night, self.now
        watch(lake, night=night, now=now, monitors=self.settings.alerting.monitors, model_digest=self._scored_by())
        validate_alerts(lake, night=night, now=now)
        return publish(lake, night=night, run_id=self.run_id, now=now)

    def _scored_by(self) -> str | None:
        """The digest of the models behind the newest of the staged scores, which need not be those of today; None without scores."""
        scores = Lake.open(self.settings.lake).stage(self.night).read("scored_articles")
        found = zip(scores["scored_at"].to_pylist(), scores["model_digest"].to_pylist(), strict=True)
        return max(found, default=(None, None))[1]

    def tell(self, published: Published, *, to_people: bool = True) -> str:
        """Report the night, send its alerts where they go `to_people`, and clear its bench, last of all; returns the report's path.

        Raises:
            AlertsUndelivered: a sink did not take the night's alerts.
        """
        settings = self.settings
        page = report(
            settings.lake,
            night=self.night,
            now=self.now,
            tracking_uri=settings.mlflow_uri,
            artifact_root=str(settings.home / "bundles"),
            bundles=self.bundles,
        )
        sent = send(settings, self.night, now=self.now) if to_people else Notified()
        show_night(settings, self.night, published, sent, page)
        Lake.open(settings.lake).stage(self.night).clear()
        refuse_undelivered(self.night, sent)
        return page


def send(settings: Settings, night: dt.date, *, now: dt.datetime) -> Notified:
    """Bring the night's alerts to the sinks."""
    alerting = settings.alerting
    return notify(
        settings.lake,
        night=night,
        now=now,
        sinks=alerting.sinks,
        cooldown_hours=alerting.cooldown_hours,
        max_alerts=alerting.max_alerts,
        retry_nights=alerting.retry_nights,
    )


def refuse_undelivered(night: dt.date, sent: Notified) -> None:
    """Raise AlertsUndelivered where a sink did not take what was sent."""
    if sent.failed:
        reasons = "; ".join(f"{o.sink}: {o.failed} ({o.error})" for o in sent.sinks if o.failed)
        raise AlertsUndelivered(
            f"night {night} is published, but alerts did not reach every sink: {reasons}; this and the next nights' runs try them again"
        )


def refuse_nothing_read(night: dt.date, read: Ingested) -> None:
    """Raise SourcesFailed where every source failed and the night has no row."""
    if read.all_failed and not read.raw.rows:
        raise SourcesFailed(
            f"night {night} is published without news: every source failed ({', '.join(read.failed)}); run it again"
        )
