"""Nights in groups: those of a group are read and judged one after the other, scored together, and finished one after the other.

What lies before scoring and after it looks at earlier nights, so it is done in the order of the nights; what is not published yet is seen by
the next night where it is staged. Scoring is the expensive part, depends on nothing but a night's articles, and is done for a whole group
together, on Ray where that is worth it or a cluster is named, while the next group is read and judged in a thread beside it. So no more than
two groups of nights are staged and locked at once. A source of which all nights of a group read the same files is read once for the group.

Alerts of nights longer ago than `alerting.retry_nights` are in the tables and reports alone: nobody is woken by a year of old news.

A night that fails is left to a later call. Nights judged after it in the belief that it would be published are judged again without it.

Not covered: which nights, and why (`flows.plan`).
"""

from __future__ import annotations

import contextvars
import datetime as dt
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from flows.locking import locked
from flows.nights import ONE_DAY, last_ended, window_of
from flows.plan import Todo
from flows.settings import Settings
from flows.steps import NightRun, refuse_nothing_read
from tasks.context import Cancelled, about, go_on, until
from tasks.deal import Dealt, deal
from tasks.ingest import Ingested
from tasks.lake import Lake
from tasks.pool import Pool
from tasks.score_nights import score_nights

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Prepared:
    """A night that is locked and whose articles are staged, or why it is not."""

    todo: Todo
    run: NightRun
    lock: ExitStack
    after: frozenset[dt.date]  # the nights whose staged articles it was judged after
    read: Ingested | None = None
    error: Exception | None = None
    gone: bool = False  # it turned out to be no published night
    published: bool = False
    changed: bool = False
    seconds: float = 0.0


class Filling:
    """The work on groups of nights; a context manager that leaves no night locked."""

    def __init__(
        self,
        settings: Settings,
        pool: Pool,
        *,
        run_id: str,
        by_time: bool,
        rescore: bool,
        keep: bool = False,
    ) -> None:
        """`by_time`: a row is the night's of its publication; `keep`: published nights are taken as they were read."""
        self._settings, self._pool, self._run_id = settings, pool, run_id
        self._by_time, self._rescore, self._keep = by_time, rescore, keep
        self._lake = Lake.open(settings.lake)
        self._locks = ExitStack()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prepare")
        self._stop = threading.Event()
        self._staged: set[dt.date] = set()
        self._lost: set[dt.date] = set()
        tonight = last_ended(self._lake.now(), settings.zone, settings.cutoff)
        self._told_from = tonight - ONE_DAY * settings.alerting.retry_nights

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop what is made ready after the step it is at, and free every night."""
        self._stop.set()
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._locks.close()

    def ahead(self, nights: Sequence[Todo]) -> Future[list[Prepared]]:
        """Prepare a group in the thread beside this one."""
        return self._thread.submit(contextvars.copy_context().run, self.prepare, nights)

    def prepare(self, nights: Sequence[Todo]) -> list[Prepared]:
        """Lock, read and judge nights in their order."""
        group: list[Prepared] = []
        with until(self._stop), suppress(Cancelled):
            go_on()
            dealt = self._deal([todo.night for todo in nights if not self._keeps(todo)])
            for todo in nights:
                go_on()
                with about(night=todo.night):
                    group.append(self._prepare(todo, dealt))
        return group

    def score(self, group: Sequence[Prepared]) -> None:
        """Score what is staged for a group; a night that then lacks its scores is scored by itself, or fails there with the reason."""
        nights = [one.todo.night for one in group if one.error is None and not one.gone]
        if not nights:
            return
        again = {one.todo.night for one in group if one.todo.again}
        begun = time.monotonic()
        try:
            score_nights(
                self._settings.lake,
                nights=nights,
                pool=self._pool,
                rescore=[night for night in nights if self._rescore and night not in again],
            )
        except Exception:
            logger.exception("the nights %s to %s are scored one by one", nights[0], nights[-1])
            self._pool.close()
        for one in group:
            one.seconds += (time.monotonic() - begun) / len(group)

    def finish(self, group: Sequence[Prepared]) -> Iterator[Prepared]:
        """Publish nights in their order."""
        for one in group:
            begun = time.monotonic()
            with about(night=one.todo.night), one.lock:
                self._finish(one)
            one.seconds += time.monotonic() - begun
            yield one

    def _keeps(self, todo: Todo) -> bool:
        return todo.again or (self._keep and self._lake.published(todo.night))

    def _deal(self, nights: Sequence[dt.date]) -> Dealt | None:
        """One reading for all nights of the sources that are the same for each; None where every night has rows, which a night reads itself."""
        settings, there = self._settings, set(self._lake.nights("raw"))
        shared = [source for source in settings.sources if not source.own]
        if not self._by_time or not shared or all(night in there for night in nights):
            return None
        return deal(shared, {night: window_of(night, settings.zone, settings.cutoff) for night in nights})

    def _prepare(self, todo: Todo, dealt: Dealt | None) -> Prepared:
        begun, now = time.monotonic(), self._lake.now()
        run = NightRun(
            settings=self._settings, night=todo.night, now=now, run_id=f"{now:%Y%m%dT%H%M%S}-{self._run_id}", bundles=self._pool.bundles
        )  # fmt: skip
        one = Prepared(todo=todo, run=run, lock=self._locks.enter_context(ExitStack()), after=frozenset(self._staged))
        try:
            one.lock.enter_context(locked(self._lake, todo.night, run_id=run.run_id, given_up=self._stop))
            one.run = run = replace(run, now=self._lake.now())  # it may have waited
            if todo.again and not self._lake.published(todo.night):
                one.gone = True
                return one
            self._lake.stage(todo.night).clear(keep=("shards",))
            if self._keeps(todo):
                run.keep()
            else:
                one.read = self._ingest(run, dealt)
            go_on()
            run.validate(staged=one.after, anew=True)
            self._staged.add(todo.night)
        except Exception as error:
            one.error = error
        one.seconds = time.monotonic() - begun
        return one

    def _ingest(self, run: NightRun, dealt: Dealt | None) -> Ingested:
        window = window_of(run.night, self._settings.zone, self._settings.cutoff) if self._by_time else None
        return run.ingest(window=window, beside=self._by_time, dealt=dealt)

    def _finish(self, one: Prepared) -> None:
        night, run = one.todo.night, one.run
        try:
            if one.error is None and not one.gone:
                if one.after & self._lost:
                    run.validate(anew=True)
                if not one.todo.again or not run.restage():
                    run.score(rescore=self._rescore and not one.todo.again, whole=True, pool=self._pool)
                published = run.publish()
                one.published, one.changed = True, published.changed
                if published.changed or one.todo.cut_short or not one.todo.again:
                    run.tell(published, to_people=night >= self._told_from)
                self._lake.stage(night).clear()
                if one.read is not None:
                    refuse_nothing_read(night, one.read)
        except Exception as error:
            one.error = error
        if one.error is not None:
            logger.error("night %s failed", night, exc_info=one.error)
        if night in self._staged and not one.published:
            self._lost.add(night)
        self._staged.discard(night)
