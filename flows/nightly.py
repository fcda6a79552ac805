"""One night, from feed to alert: ingest, contract, score, watch, publish, report, notify.

The order is the promise. What the feeds gave is kept first, because a feed may not say it twice; nothing else is visible until every table
of the night is published in one commit; alerts are sent last, about what readers can look up. The flow may be killed anywhere and run again.
A night that another run is writing is refused. Backfills over files call it with `by="published"`.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Literal, cast
from uuid import uuid4

from prefect import flow, get_run_logger, runtime

from data_contracts.errors import Fatal
from data_contracts.labels import NIGHT_TASKS
from flows.artifacts import show_night
from flows.finetune import SAMPLE_LABELLED, Task, finetune
from flows.nights import cutoff_at, last_ended, window_of
from flows.settings import Settings, load, quiet
from flows.wiring import backend_of, refuse_unknown_plugins
from tasks.ingest import ingest
from tasks.lake import Lake
from tasks.notify import notify
from tasks.publish import publish
from tasks.registry import Registry
from tasks.report import report
from tasks.score import score
from tasks.validate import validate, validate_alerts, validate_scores
from tasks.watch import watch


class SourcesFailed(Fatal):
    """Every source failed; the night is published empty, and a later run of it can fill it."""


class AlertsUndelivered(Fatal):
    """The night is published, but a sink did not take its alerts; running it again sends those alone."""


def night_asked_for(night: dt.date | None, settings: Settings, now: dt.datetime) -> dt.date:
    """The night given, else the last one ended at the run's scheduled start; a late run still gets its own night."""
    return night or last_ended(runtime.flow_run.scheduled_start_time or now, settings.zone, settings.cutoff)


def run_name() -> str:
    """The run's name on its page: the flow and the night."""
    return f"nightly {runtime.flow_run.parameters.get('night') or 'latest'}"


@flow(name="nightly", flow_run_name=run_name)
def nightly(
    night: dt.date | None = None,
    settings_file: str | None = None,
    lake: str | None = None,
    by: Literal["first_seen", "published"] = "first_seen",
    take_undated: bool = True,
    rescore: bool = False,
) -> str:
    """Read a night's news, hold it to its contracts, score it, raise alerts, and publish.

    Args:
        night: The night to run, named by the date it ends on. Empty: the last night whose cut-off has passed when the run was scheduled.
        settings_file: A TOML settings file on the worker. Empty: NIGHTDESK_SETTINGS, nightdesk.toml, or the shipped sample's.
        lake: Where the tables are, a directory or a URL. Empty: as the settings say.
        by: first_seen: what no other night has seen belongs to this one (live feeds). published: what was published within it (backfills).
        take_undated: With published: whether rows without a usable time are quarantined on this night.
        rescore: Score articles again that have a published score, for instance with a new champion.
    """
    quiet()
    settings = load(settings_file, lake=lake)
    refuse_unknown_plugins(settings)
    now = dt.datetime.now(dt.UTC)
    tonight = night_asked_for(night, settings, now)
    window = window_of(tonight, settings.zone, settings.cutoff) if by == "published" else None
    run_id = f"{now:%Y%m%dT%H%M%S}-{str(runtime.flow_run.id or uuid4())[:8]}"
    desk = Lake.open(settings.lake)
    with desk.lock(tonight, run_id=run_id):
        for partition in desk.repair():
            get_run_logger().info("repaired %s of night %s", partition.table, partition.night)
        desk.stage(tonight).clear(keep=("shards",))
        read = ingest(
            settings.lake,
            settings.sources_of(tonight),
            night=tonight,
            window=window,
            take_undated=take_undated,
            ends_at=cutoff_at(tonight, settings.zone, settings.cutoff),
            now=now,
            keep_raw=settings.keep_raw,
            lookback_nights=settings.limits.lookback_nights,
            run_id=run_id,
        )
        for name in read.failed:
            get_run_logger().warning("the source %s failed tonight; the others go on", name)
        page = _from_raw_to_alert(settings, settings_file, tonight, now=now, run_id=run_id, rescore=rescore)
    if read.all_failed and not read.raw.rows:
        raise SourcesFailed(
            f"night {tonight} is published without news: every source failed ({', '.join(read.failed)}); run it again"
        )
    return page


def _from_raw_to_alert(
    settings: Settings, settings_file: str | None, night: dt.date, *, now: dt.datetime, run_id: str, rescore: bool
) -> str:
    """Everything after the feeds were read; returns the report's path."""
    limits, alerting = settings.limits, settings.alerting
    validate(
        settings.lake,
        night=night,
        now=now,
        run_id=run_id,
        max_failed_share=limits.max_failed_share,
        lookback_nights=limits.lookback_nights,
    )
    bundles = [str(bundle) for bundle in models_for(settings, settings_file)]
    scored = score(
        settings.lake,
        night=night,
        now=now,
        run_id=run_id,
        bundles=bundles,
        cluster=settings.cluster,
        rescore=rescore,
        min_ner_score=settings.scoring.min_ner_score,
        min_confidence=settings.scoring.min_confidence,
        backend=backend_of(settings),
    )
    validate_scores(settings.lake, night=night, now=now, max_failed_share=limits.max_failed_share)
    watch(settings.lake, night=night, now=now, monitors=alerting.monitors, model_digest=scored.model_digest)
    validate_alerts(settings.lake, night=night, now=now)
    published = publish(settings.lake, night=night, run_id=run_id)
    Lake.open(settings.lake).stage(night).clear()
    page = report(
        settings.lake,
        night=night,
        now=now,
        tracking_uri=settings.mlflow_uri,
        artifact_root=str(settings.home / "bundles"),
        bundles=bundles,
    )
    sent = notify(
        settings.lake,
        night=night,
        now=now,
        sinks=alerting.sinks,
        cooldown_hours=alerting.cooldown_hours,
        max_alerts=alerting.max_alerts,
        retry_nights=alerting.retry_nights,
    )
    show_night(settings.lake, night, published, sent, page)
    if sent.failed:
        reasons = "; ".join(f"{o.sink}: {o.failed} ({o.error})" for o in sent.sinks if o.failed)
        raise AlertsUndelivered(
            f"night {night} is published, but alerts did not reach every sink: {reasons}; this and the next nights' runs try them again"
        )
    return page


def models_for(settings: Settings, settings_file: str | None) -> list[Path]:
    """The bundles that score tonight, each once; fine-tunes champions on the shipped sample where the settings allow it.

    Raises:
        Fatal: a named model is not there, or there is no champion and none may be trained.
    """
    registry = Registry(settings.mlflow_uri, settings.home / "bundles")
    names = [name.strip() for name in settings.scoring.model.split(",")]
    missing = [task for task in NIGHT_TASKS if names == ["champion"] and registry.champion(task) is None]
    if missing and settings.scoring.train_if_missing:
        get_run_logger().warning(
            "no champion model for %s: fine-tuning one on the shipped sample %s", " and ".join(missing), SAMPLE_LABELLED
        )
        both = len(missing) == len(NIGHT_TASKS)
        finetune(task="all" if both else cast(Task, missing[0]), settings_file=settings_file)
    return registry.serving(names)
