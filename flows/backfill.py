"""Nights in a range over the files that hold them, the earliest first, skipping what is done; a failed night does not stop the others.

So many nights at once: they are read one after the other, scored together, and finished one after the other (`flows.filling`). Published nights
that come after one that is filled in are judged again (`flows.plan`). So the tables are the same in whatever order, in whatever groups and
however often interrupted nights are filled in, apart from the times of the runs. That holds by time of publication; `first_seen` gives a row to
the night that reads it first, and so depends on the order by its meaning. A source in which no row has a usable time has failed, and its nights
are not done before that is mended.

Not covered: two backfills of one lake at a time; the second is refused.
"""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import get_args
from uuid import uuid4

from prefect import flow, get_run_logger, runtime
from prefect.artifacts import create_table_artifact

from data_contracts.errors import Fatal
from flows.artifacts import concluded
from flows.filling import Filling, Prepared
from flows.forms import AtOnce, By, LakePlace, Night, form
from flows.locking import locked
from flows.nightly import complete, models_for
from flows.nights import refuse_not_begun, span
from flows.operate import logs
from flows.pace import Outcome, Page, State
from flows.plan import Plan, Todo
from flows.settings import Settings, load, quiet
from flows.wiring import backend_of, refuse_unknown_plugins
from tasks import watch
from tasks.lake import Lake, NightLocked
from tasks.pool import Pool
from tasks.secrecy import struck_out

BACKFILL_LOCK = dt.date.max  # no night of news


class NightsFailed(Fatal):
    """Some nights of a backfill failed; the others are published. `outcomes` has what became of each."""

    def __init__(self, message: str, outcomes: Sequence[Outcome] = ()) -> None:
        super().__init__(message)
        self.outcomes = tuple(outcomes)


class BackfillRunning(Fatal):
    """Another backfill is at work in this lake."""


def run_name() -> str:
    """The run's name on its page: what it does, and the range."""
    given = runtime.flow_run.parameters
    does = "rescore" if given.get("rescore") and not given.get("redo") else "backfill"
    return f"{does} {given.get('first')} to {given.get('last')}"


@form
@flow(name="backfill", flow_run_name=run_name)
def backfill(
    first: Night,
    last: Night,
    settings_file: str | None = None,
    lake: LakePlace | None = None,
    by: By = "published",
    redo: bool = False,
    rescore: bool = False,
    nights_at_once: AtOnce = 8,
) -> list[Outcome]:
    """Run every night from the first to the last over the sources' files.

    Args:
        first: The earliest night of the range.
        last: The latest night of the range.
        settings_file: A TOML settings file on the worker. Empty: NIGHTDESK_SETTINGS, nightdesk.toml, or the shipped sample's.
        lake: Where the tables are, a directory or a URL. Empty: as the settings say.
        by: published: an article belongs to the night in which it was published, and what stands in a file of one night alone to that
            night; a row without a usable time is quarantined with the row beside it. first_seen: to the night that reads it first.
        redo: Run nights again that are published already.
        rescore: Score published nights again with the models that serve now; what was read of them is kept, their sources are not asked.
            Nights that are not published yet are read. With redo all are.
        nights_at_once: So many nights are scored together while as many are made ready; more keep a cluster busier and take more memory.
    """
    quiet()
    settings = load(settings_file, lake=lake)
    logs.begin(settings.operate.log_format)
    with _alone(Lake.open(settings.lake)) as desk:
        refuse_unknown_plugins(settings)
        nights = span(first, last)
        refuse_not_begun(last, desk.now(), settings.zone, settings.cutoff)
        for partition in desk.repair():
            get_run_logger().info("repaired %s of night %s", partition.table, partition.night)
        pending = [night for night in nights if redo or rescore or not complete(desk, night)]
        plan = Plan(desk, nights, pending=pending, reach=reach(settings))
        page = Page(first, last, len(nights))
        told = {night: _skipped(night) for night in nights if night not in pending}
        if todo := plan.next(nights_at_once):
            bundles = [str(bundle) for bundle in models_for(settings, settings_file)]
            pool = Pool(settings.lake, bundles, cluster=settings.cluster, backend=backend_of(settings))
            with (
                Filling(
                    settings,
                    pool,
                    run_id=str(runtime.flow_run.id or uuid4())[:8],
                    by_time=by == "published",
                    rescore=rescore,
                    keep=rescore and not redo,
                ) as filling,
                pool,  # closed first, so that a cancelled run stops Ray at once
            ):
                for outcome in _fill(plan, todo, filling, nights_at_once, page, told):
                    told[outcome.night] = outcome
        return _conclude([told[night] for night in sorted(told)], same_again=redo or rescore)


def reach(settings: Settings) -> int:
    """How many nights back a night looks at most: for repeats, versions and copies, or in one of its monitors."""
    monitors = watch.prepare(settings.alerting.monitors)
    return max([settings.limits.lookback_nights, *(int(getattr(one.config, "nights", 0)) for one in monitors)])


@contextmanager
def _alone(desk: Lake) -> Iterator[Lake]:
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(desk, BACKFILL_LOCK, run_id="backfill"))
        except NightLocked as error:
            said = str(error).replace(f"night {BACKFILL_LOCK}", "the range")
            raise BackfillRunning(f"another backfill is at work in {desk.root}: {said}") from None
        yield desk


def _fill(
    plan: Plan, todo: Sequence[Todo], filling: Filling, at_once: int, page: Page, told: Mapping[dt.date, Outcome]
) -> Iterator[Outcome]:
    """Group after group, each made ready while the one before it is scored; what became of the nights that are worth a word."""
    group = filling.prepare(todo)
    while group:
        begun = time.monotonic()
        ahead = filling.ahead(plan.next(at_once))
        filling.score(group)
        following = ahead.result()
        plan.unsettle([one.todo.night for one in group if one.error is None and not one.gone])
        for one in filling.finish(group):
            plan.told(one.todo.night, changed=one.changed if one.published else None)
            if (outcome := _outcome(one)) is not None:
                yield outcome
                page.show(told, plan.left)
        page.paced(time.monotonic() - begun, len(group))
        page.show(told, plan.left)
        group = following or filling.prepare(plan.next(at_once))
    plan.settle()


def _skipped(night: dt.date) -> Outcome:
    return Outcome(night=night, state="skipped", reason="published already", minutes=0.0)


def _outcome(one: Prepared) -> Outcome | None:
    """None of a night that was looked at again and is as it was."""
    night, minutes = one.todo.night, round(one.seconds / 60, 2)
    if one.error is not None:
        reason = f"{type(one.error).__name__}: {struck_out(str(one.error))}"
        return Outcome(night=night, state="failed", reason=reason, minutes=minutes)
    if one.todo.again:
        reason = "published already; nights before it were filled in"
        return Outcome(night=night, state="refreshed", reason=reason, minutes=minutes) if one.changed else None
    return Outcome(night=night, state="done", reason="", minutes=minutes)


def _conclude(outcomes: list[Outcome], *, same_again: bool) -> list[Outcome]:
    """Show what became of each night; raise when one failed."""
    rows = [{"night": str(o.night), "state": o.state, "minutes": o.minutes, "reason": o.reason} for o in outcomes]
    create_table_artifact(table=rows, key="backfill-nights", description="what became of each night")
    counts = Counter(outcome.state for outcome in outcomes)
    said = f"{len(outcomes)} nights: " + ", ".join(f"{counts[state]} {state}" for state in get_args(State))
    get_run_logger().info(said)
    failed = [o for o in outcomes if o.state == "failed"]
    if failed:
        again = "run these again in the same way" if same_again else "run the same range again to redo only these"
        raise NightsFailed(
            f"{len(failed)} of {len(outcomes)} nights failed; {again}: "
            + "; ".join(f"{o.night}: {o.reason}" for o in failed),
            outcomes,
        )
    return concluded(outcomes, said)
