"""The verb `notify`: sends a night's published alerts to every sink, each alert once a key and cooldown.

For each sink: what is due is claimed in its ledger, sent as one digest, then confirmed. A run killed between claim and confirmation may or may
not have delivered; the next run asks the sink (a file can be read). Where the sink cannot tell, the alert is not sent again: it is
logged and reported as uncertain. A sink that fails keeps its alerts unsent; the next run of the night, or of one within `retry_nights` after
it, tries them again; the other sinks go on. A second run of a night sends nothing twice, and an alert that a cooldown held back stays held
back; of two undelivered alerts of one monitor and subject the graver, else the later, is sent and stands for both.

Not covered: a service that takes a message and then fails to say so in time. That looks like a failure, and the message is sent again.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
)

from data_contracts.alerts import SEVERITIES, Alert
from data_contracts.errors import NightdeskError, Retriable
from tasks import plugins
from tasks.lake import Lake, NightLocked
from tasks.lake.waiting import PATIENCE, waited_for
from tasks.ledger import Ledger
from tasks.sinks import Digest, Sink
from tasks.step import step

log = logging.getLogger(__name__)

PACKAGE = "tasks.sinks"
LEDGER_LOCK = dt.date.min  # no night of news: runs of different nights share the ledgers


class LedgerBusy(Retriable):
    """Another run has been sending for a long time."""


@dataclass(frozen=True, kw_only=True)
class SinkOutcome:
    """What became of a night's alerts, and of those tried again, at one sink, counted in alerts.

    Attributes:
        sink: its name.
        sent: delivered now.
        already: dealt with by an earlier run.
        suppressed: held back now, within the cooldown of an alert of the same monitor and subject.
        uncertain: begun by a run that was killed; not sent again.
        failed: not delivered; the next run of the night, or of one soon after, tries again.
        error: why not, without secrets.
    """

    sink: str
    sent: int = 0
    already: int = 0
    suppressed: int = 0
    uncertain: int = 0
    failed: int = 0
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Notified:
    """What became of a night's alerts, by sink; the totals count an alert once a sink."""

    sinks: tuple[SinkOutcome, ...] = ()

    @property
    def sent(self) -> int:
        """Delivered now."""
        return sum(outcome.sent for outcome in self.sinks)

    @property
    def suppressed(self) -> int:
        """Held back now by a cooldown."""
        return sum(outcome.suppressed for outcome in self.sinks)

    @property
    def uncertain(self) -> int:
        """Possibly delivered by a run that was killed."""
        return sum(outcome.uncertain for outcome in self.sinks)

    @property
    def failed(self) -> int:
        """Not delivered."""
        return sum(outcome.failed for outcome in self.sinks)

    @property
    def said(self) -> str:
        """The counts in a line."""
        return f"alerts: {self.sent} sent, {self.suppressed} within their cooldown, {self.uncertain} uncertain, {self.failed} failed"


def prepare(sinks: Mapping[str, Mapping[str, object]], lake: Lake) -> list[Sink]:
    """The sinks of the settings by name, their own settings checked; raises `UnknownPlugin` or `PluginRefused`, opens nothing."""
    return [
        sink
        for name, given in sorted(sinks.items())
        for sink in plugins.resolve(PACKAGE, name, "connect")(plugins.configure(PACKAGE, name, given), lake)
    ]


@step("notify")
def notify(
    lake_url: str,
    *,
    night: dt.date,
    now: dt.datetime,
    sinks: Mapping[str, Mapping[str, object]],
    cooldown_hours: float,
    max_alerts: int = 50,
    tries: int = 3,
    pause_seconds: float = 2.0,
    retry_nights: int = 3,
) -> Notified:
    """Send the published alerts of `night` to `sinks` (name -> own settings).

    Args:
        lake_url: the lake.
        night: the night.
        now: the time of sending, UTC.
        sinks: secrets resolved already.
        cooldown_hours: an alert of one monitor and subject is not sent again for a night that ends less than so much after or before the
            one it was sent for, unless it is graver.
        max_alerts: a message for people spells out so many and counts the rest.
        tries: how often a failing sink is tried now.
        pause_seconds: before the second try; doubled after each.
        retry_nights: published alerts of so many days before the night, undelivered at a sink, are tried there again.
    """
    lake = Lake.open(lake_url)
    places = prepare(sinks, lake)
    if not places:
        return Notified()
    nights = [n for n in lake.nights("alerts") if 0 <= (night - n).days <= retry_nights]
    alerts = sorted((Alert(**row) for row in lake.read("alerts", nights=nights).to_pylist()), key=_urgency)
    retrying = Retrying(
        retry=retry_if_exception_type(Retriable),
        stop=stop_after_attempt(max(tries, 1)),
        wait=wait_exponential(multiplier=pause_seconds),
        reraise=True,
    )
    cooldown = dt.timedelta(hours=cooldown_hours)
    with alone(lake):
        return Notified(
            sinks=tuple(
                deliver(lake, sink, night, alerts, now=now, cooldown=cooldown, shown=max_alerts, retrying=retrying)
                for sink in places
            )
        )


def deliver(
    lake: Lake,
    sink: Sink,
    night: dt.date,
    alerts: Sequence[Alert],
    *,
    now: dt.datetime,
    cooldown: dt.timedelta,
    shown: int,
    retrying: Retrying,
    doubtful_again: bool = False,
) -> SinkOutcome:
    """Bring to one sink what is due of the night's `alerts` and what failed of those of nights before.

    The caller holds the lock of the ledgers and gives the alerts in their order. `doubtful_again`: what a killed run may have sent is sent again.
    """
    state = f"notified {sink.name}.json"
    try:
        ledger = Ledger.from_json(lake.read_state(state), where=f"state {state!r} of {lake.root}")
        uncertain, error = _settle(ledger, sink, doubtful_again=doubtful_again)
        unsettled = len(ledger.claimed())
        wanted = [alert for alert in alerts if alert.run_date == night or ledger.failed(alert)]
        new = [alert for alert in wanted if not ledger.knows(alert)]
        due, held = ledger.claim(new, now, cooldown)
        lake.write_state(state, ledger.to_json(now))
        if due and error is None:
            error = _sent(sink, Digest(night=night, alerts=tuple(due), shown=shown), retrying)
    except NightdeskError as broken:
        failed = sum(alert.run_date == night for alert in alerts)
        return SinkOutcome(sink=sink.name, failed=failed, error=str(broken))
    ledger.put(due, "sent" if error is None else "failed", now)
    if error is not None:  # what only these held back is as undelivered as they are
        freed = [alert for alert in held if not ledger.cools_down(alert, cooldown)]
        held = [alert for alert in held if alert not in freed]
        ledger.put(freed, "failed", now)
        due += freed
    if due:
        lake.write_state(state, ledger.to_json(now))
    return SinkOutcome(
        sink=sink.name,
        sent=len(due) if error is None else 0,
        already=len(wanted) - len(new),
        suppressed=len(held),
        uncertain=len(uncertain),
        failed=0 if error is None else len(due) + unsettled,
        error=error,
    )


def _urgency(alert: Alert) -> tuple[int, int, str, str]:
    """Sorts the gravest first, then the latest night."""
    return -SEVERITIES.index(alert.severity), -alert.run_date.toordinal(), alert.monitor, alert.subject


def _settle(ledger: Ledger, sink: Sink, *, doubtful_again: bool) -> tuple[list[str], str | None]:
    """Find out what became of the claims of a run that was killed: (the keys of which it cannot be known, why the sink failed to say)."""
    claimed = ledger.claimed()
    if not claimed:
        return [], None
    try:
        arrived = sink.arrived(claimed)
    except Exception as error:  # the claims stand until the sink can say
        log.warning("%s: cannot say what arrived of an earlier run; nothing is sent there", sink.name)
        return [], _reason(sink, error)
    if arrived is None and doubtful_again:
        arrived = frozenset()
    if arrived is None:
        for key in claimed:
            ledger.settle(key, "uncertain")
        log.warning(
            "%s: an earlier run was killed while sending; not sent again, but perhaps never arrived: %s",
            sink.name,
            claimed,
        )
        return claimed, None
    for key in claimed:
        ledger.settle(key, "sent" if key in arrived else "failed")
    return [], None


def _sent(sink: Sink, digest: Digest, retrying: Retrying) -> str | None:
    """None when the digest was delivered, else why not."""
    try:
        retrying.copy()(sink.send, digest)
    except Exception as error:  # whatever a sink raises, the others go on
        reason = _reason(sink, error)
        log.warning("%d alerts of night %s stay unsent: %s", len(digest.alerts), digest.night, reason)
        return reason
    return None


def _reason(sink: Sink, error: Exception) -> str:
    """Of an error of ours its text; of a sink's own mistake its type, since its text may hold a secret."""
    return str(error) if isinstance(error, NightdeskError) else f"{sink.name}: {type(error).__name__}"


@contextmanager
def alone(lake: Lake) -> Iterator[None]:
    """Wait until no other run is sending."""
    with ExitStack() as stack:
        try:
            stack.enter_context(waited_for(lake, LEDGER_LOCK, run_id="notify"))
        except NightLocked as error:
            raise LedgerBusy(f"another run has been sending alerts for {PATIENCE}: {error}") from error
        yield
