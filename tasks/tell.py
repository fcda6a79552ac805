"""Sends alerts that stand in no table: those about the pipeline itself, to the same sinks as a night's, each once a sink.

The memory is a ledger as that of `tasks.notify`, in a small lake of its own: what is wrong may be the desk's lake. Twice is better than never:
where the memory cannot be written either (its disk is full), alerts are sent all the same and remembered by this process alone, and what one
that was killed may have sent is sent again where the sink cannot say. A sink that
fails may have taken the message, so it is tried again after a minute, then after twice that, up to an hour; the others do not wait for it.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence
from itertools import groupby

from tenacity import Retrying, stop_after_attempt

from data_contracts.alerts import Alert
from data_contracts.errors import NightdeskError
from tasks.lake import Lake
from tasks.notify import SinkOutcome, alone, deliver
from tasks.sinks import Digest, Sink

log = logging.getLogger(__name__)

SHOWN = 50  # spelt out in one message
FIRST_PAUSE = dt.timedelta(minutes=1)
LONGEST_PAUSE = dt.timedelta(hours=1)
NEVER_HELD_BACK = dt.timedelta(0)
ONE_TRY = Retrying(stop=stop_after_attempt(1), reraise=True)


class Teller:
    """Tells each alert once; one a process, since it remembers what is done with."""

    def __init__(self, sinks: Sequence[Sink], memory: Lake) -> None:
        self._sinks = tuple(sinks)
        self._memory = memory
        self._done: set[str] = set()
        self._unwritten: set[tuple[str, str]] = set()
        self._failing: dict[
            str, tuple[dt.datetime, dt.timedelta]
        ] = {}  # sink -> (when it failed last, how long it is left alone)

    def tell(self, alerts: Sequence[Alert], now: dt.datetime) -> list[SinkOutcome]:
        """Send what was not sent yet, but to no sink that failed a moment ago; returns what became of it, by sink and night."""
        new = sorted((alert for alert in alerts if alert.alert_key not in self._done), key=lambda alert: alert.run_date)
        sinks = [sink for sink in self._sinks if not self._pausing(sink, now)]
        if not new or not sinks:
            return []
        outcomes = self._remembered(new, sinks, now) if self._remembers(now) else self._unremembered(new, sinks)
        for sink in sinks:
            self._note(sink, failed=any(one.failed for one in outcomes if one.sink == sink.name), now=now)
        return outcomes

    def _remembered(self, new: Sequence[Alert], sinks: Sequence[Sink], now: dt.datetime) -> list[SinkOutcome]:
        """Send what the ledgers do not know yet."""
        outcomes = []
        with alone(self._memory):
            for night, found in groupby(new, key=lambda alert: alert.run_date):
                of_night = list(found)
                told = [self._deliver(sink, night, of_night, now) for sink in sinks]
                outcomes += [outcome for outcome in told if outcome is not None]
                failed = any(outcome is not None and outcome.failed for outcome in told)
                if len(sinks) == len(self._sinks) and not failed:
                    self._done |= {alert.alert_key for alert in of_night}
        return outcomes

    def _deliver(self, sink: Sink, night: dt.date, alerts: Sequence[Alert], now: dt.datetime) -> SinkOutcome | None:
        """To one sink, what this process has not sent there without a memory."""
        left = [alert for alert in alerts if (sink.name, alert.alert_key) not in self._unwritten]
        if not left:
            return None
        return deliver(
            self._memory,
            sink,
            night,
            left,
            now=now,
            cooldown=NEVER_HELD_BACK,
            shown=SHOWN,
            retrying=ONE_TRY,
            doubtful_again=True,
        )

    def _pausing(self, sink: Sink, now: dt.datetime) -> bool:
        """True while a sink that failed is left alone; never for longer than that where the clock was set back."""
        since, pause = self._failing.get(sink.name, (now, dt.timedelta(0)))
        return dt.timedelta(0) <= now - since < pause

    def _note(self, sink: Sink, *, failed: bool, now: dt.datetime) -> None:
        """Leave a sink alone for twice as long as the last time it failed, and no more once it works."""
        _, before = self._failing.pop(sink.name, (now, dt.timedelta(0)))
        if failed:
            self._failing[sink.name] = (now, min(max(2 * before, FIRST_PAUSE), LONGEST_PAUSE))

    def _remembers(self, now: dt.datetime) -> bool:
        """Whether what is sent can be kept in mind."""
        try:
            self._memory.write_state("watchdog", now.isoformat())
        except (NightdeskError, OSError) as error:
            log.warning("what is told cannot be remembered: %s", error)
            return False
        return True

    def _unremembered(self, alerts: Sequence[Alert], sinks: Sequence[Sink]) -> list[SinkOutcome]:
        """Send what this process has not sent yet."""
        outcomes = []
        for sink in sinks:
            due = [alert for alert in alerts if (sink.name, alert.alert_key) not in self._unwritten]
            if not due:
                continue
            try:
                sink.send(Digest(night=due[-1].run_date, alerts=tuple(due), shown=SHOWN))
            except Exception as error:  # whatever a sink raises, the others go on
                reason = str(error) if isinstance(error, NightdeskError) else f"{sink.name}: {type(error).__name__}"
                outcomes.append(SinkOutcome(sink=sink.name, failed=len(due), error=reason))
            else:
                self._unwritten |= {(sink.name, alert.alert_key) for alert in due}
                outcomes.append(SinkOutcome(sink=sink.name, sent=len(due)))
        return outcomes
