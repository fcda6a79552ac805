"""One night, from feed to alert: ingest, contract, score, watch, publish, report, notify.

The order is the promise. What the feeds gave is kept first, because a feed may not say it twice; nothing else is visible until every table
of the night is published in one commit; alerts are sent last, about what readers can look up. The flow may be killed anywhere and run again.
A night that another run is writing is waited for or refused (`flows.locking`). Backfills over files take the same steps (`flows.steps`) with
several nights at once.

Each night is run exactly once, whenever runs come. A run that is given no night is for the last one that had ended when it was scheduled. It
first makes up for nights before it that are missing in the lake or were cut short, the earliest first, each as a run of its own; one that fails
is told after tonight is done. Which rows belong to a night that is run late: of a feed, those published within the night; of a source with a
place of its own for each night (`{night}`), all but what the file of the night of its publication has too. What feeds deliver that belongs to no
night run late (rows without a time, rows dated before) is taken by the newest night, which takes whatever no other has: so nothing is lost,
nothing is doubled, and the order of late runs changes no night's rows. What later nights say of them (repeats, versions, stories, baselines) is
judged again by the next backfill. A feed that has dropped a night's rows by then has lost them. A late run whose night is done only sends what
is undelivered.

Not covered: which of its runs Prefect books a missed night on when a run is tried again: it counts such runs and does not know their nights, so
after one that is done by then the next may be shown on the page of another night's run. The tables are right all the same.
"""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import cast
from uuid import uuid4

from prefect import flow, get_run_logger, runtime

from data_contracts.errors import Fatal
from data_contracts.labels import NIGHT_TASKS
from flows.artifacts import concluded, totals
from flows.finetune import SAMPLE_LABELLED, Task, finetune
from flows.forms import LakePlace, Night, NightBy, form
from flows.locking import locked
from flows.nights import ONE_DAY, earlier, last_ended, refuse_not_begun, window_of
from flows.operate import logs
from flows.plan import forget, remember
from flows.settings import Settings, load, quiet
from flows.steps import NightRun, refuse_nothing_read, refuse_undelivered, send
from flows.wiring import refuse_unknown_plugins
from tasks.context import about
from tasks.lake import Lake, NightLocked
from tasks.publish import Published
from tasks.registry import Registry


class MissedNightsFailed(Fatal):
    """Tonight is published; nights that had been missed before it could not be made up for."""


def night_asked_for(night: dt.date | None, settings: Settings, now: dt.datetime) -> dt.date:
    """The night given, else the last one ended at the run's scheduled start; a late run still gets its own night."""
    scheduled = runtime.flow_run.scheduled_start_time or now
    return night or last_ended(dt.datetime.fromtimestamp(scheduled.timestamp(), dt.UTC), settings.zone, settings.cutoff)


def run_name() -> str:
    """The run's name on its page: the flow and the night. Settings that cannot be read are for the run itself to refuse."""
    given = runtime.flow_run.parameters
    night = given.get("night")
    if night is None:
        with suppress(Fatal):
            night = night_asked_for(None, load(given.get("settings_file")), dt.datetime.now(dt.UTC))
    return f"nightly {night or 'of unreadable settings'}"


@form
@flow(name="nightly", flow_run_name=run_name)
def nightly(
    night: Night | None = None,
    settings_file: str | None = None,
    lake: LakePlace | None = None,
    by: NightBy = "first_seen",
    take_undated: bool = True,
    rescore: bool = False,
) -> str:
    """Read a night's news, hold it to its contracts, score it, raise alerts, and publish.

    Args:
        night: The night to run, named by the date it ends on. Empty: the last night whose cut-off has passed when the run was scheduled.
        settings_file: A TOML settings file on the worker. Empty: NIGHTDESK_SETTINGS, nightdesk.toml, or the shipped sample's.
        lake: Where the tables are, a directory or a URL. Empty: as the settings say.
        by: first_seen: what no other night has seen belongs to this one (live feeds). published: what was published within it, and what
            only the night's own file has (backfills). late: the same, of nights that were missed; rows without a time stay for tonight.
        take_undated: With published: whether rows without a usable time are quarantined on this night.
        rescore: Score a published night again, for instance with a new champion; its sources are not asked, what was read is kept.
    """
    quiet()
    settings = load(settings_file, lake=lake)
    logs.begin(settings.operate.log_format)
    refuse_unknown_plugins(settings)
    desk = Lake.open(settings.lake)
    now = desk.now(at_most_behind=ONE_DAY if night is None else None)
    tonight = night_asked_for(night, settings, now)
    refuse_not_begun(tonight, now, settings.zone, settings.cutoff)
    failed: list[str] = []
    if night is None and by == "first_seen":
        failed = _make_up_before(tonight, desk, settings, settings_file, lake)
        if tonight < last_ended(now, settings.zone, settings.cutoff):
            by = "late"
    if night is None and by == "late" and finished(desk, tonight) and complete(desk, tonight):
        page, said = _only_send(settings, tonight), "was done before this late run; no table was touched"
    else:
        page = _run(settings, settings_file, tonight, desk, by=by, take_undated=take_undated, rescore=rescore)
        said = totals(desk, tonight)
    if failed:
        raise MissedNightsFailed(
            f"night {tonight} is published, but of the nights missed before it failed: {'; '.join(failed)}"
        )
    return concluded(page, f"night {tonight}: {said}")


def finished(lake: Lake, night: dt.date) -> bool:
    """True when a night is published and its bench is cleared, which is done last: no run of it was cut short."""
    return lake.published(night) and not lake.stage(night).names()


def complete(lake: Lake, night: dt.date) -> bool:
    """True when a night is published and every source that failed has brought it rows all the same (one bad file of many)."""
    if not lake.published(night):
        return False
    counts = lake.read("source_counts", nights=[night], columns=["failed", "rows_new"]).to_pylist()
    return all(count["rows_new"] for count in counts if count["failed"])


def _make_up_before(
    tonight: dt.date, desk: Lake, settings: Settings, settings_file: str | None, lake: str | None
) -> list[str]:
    """Run the nights before `tonight` that are not finished, as far back as the settings say; what became of those that failed.

    Runs of missed nights get file and lake as this one was given them, since Prefect keeps parameters and a resolved URL may hold a secret.
    """
    failed = []
    first = min(desk.published_nights(), default=tonight)
    for night in earlier(tonight, first=first, at_most=settings.operate.catch_up_nights):
        if finished(desk, night):
            continue
        get_run_logger().warning("night %s was missed or cut short: it is run before %s", night, tonight)
        try:
            nightly(night=night, settings_file=settings_file, lake=lake, by="late")
        except NightLocked as error:
            get_run_logger().warning("night %s is left to the run that is at it: %s", night, error)
        except Exception as error:
            failed.append(f"{night}: {type(error).__name__}: {error}")
    return failed


def _run(
    settings: Settings,
    settings_file: str | None,
    night: dt.date,
    desk: Lake,
    *,
    by: str,
    take_undated: bool,
    rescore: bool,
) -> str:
    """One night under its lock; returns the report's path."""
    window = None if by == "first_seen" else window_of(night, settings.zone, settings.cutoff)
    run_id = f"{desk.now():%Y%m%dT%H%M%S}-{str(runtime.flow_run.id or uuid4())[:8]}"
    with about(night=night), locked(desk, night, run_id=run_id):
        for partition in desk.repair():
            with about(night=partition.night, table=partition.table):
                get_run_logger().info("repaired %s of night %s", partition.table, partition.night)
        desk.stage(night).clear(keep=("shards",))
        tonight = NightRun(settings=settings, night=night, now=desk.now(), run_id=run_id)  # it may have waited
        read = None
        if rescore and desk.published(night):
            tonight.keep()
        else:
            read = tonight.ingest(window=window, take_undated=take_undated and by != "late")
        tonight.validate()
        tonight = replace(tonight, bundles=[str(bundle) for bundle in models_for(settings, settings_file)])
        tonight.score(rescore=rescore)
        page = tonight.tell(_published(tonight, desk))
    if read is not None:
        refuse_nothing_read(night, read)
    return page


def _published(run: NightRun, desk: Lake) -> Published:
    """Publish; where later nights are published that were judged without this one, that is kept for the next backfill to mend, and said."""
    affected = remember(desk, [run.night])
    published = run.publish()
    if not published.changed:
        forget(desk, affected)
    elif affected:
        get_run_logger().warning(
            "nights after %s were judged without it: `nightdesk backfill --first %s --last %s` judges them again",
            *[run.night] * 3,
        )
    return published


def _only_send(settings: Settings, night: dt.date) -> str:
    """Send what a sink did not take of a finished night; returns the report's path."""
    get_run_logger().info("night %s is done already; what alerts a sink did not take are tried again", night)
    refuse_undelivered(night, send(settings, night, now=Lake.open(settings.lake).now()))
    return f"{settings.lake}/_reports/{night}/report.html"


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
