"""What comes in and what goes out, held against the world: each source's first row, each sink's readiness. Part of `nightdesk doctor`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import httpx

from data_contracts.alerts import Alert
from data_contracts.errors import NightdeskError
from flows.doctor_clock import Witness, witness
from flows.findings import Finding
from flows.operate.blocks import urls_of
from flows.settings import Settings
from tasks import notify
from tasks.fetch import Fetcher, Limits
from tasks.hosts import redacted
from tasks.lake import Lake
from tasks.sinks import Digest, Sink
from tasks.sources import Delivered, reader

TEST_MESSAGE = "This is a test: nightdesk doctor --send-test asks whether its alerts arrive here. Nothing has happened, nothing is to be done."


class _Dated(httpx.HTTPTransport):
    """HTTP as ever, that notes what each server's clock says."""

    def __init__(self, witnesses: list[Witness]) -> None:
        super().__init__()
        self._witnesses = witnesses

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        response = super().handle_request(request)
        self._witnesses.extend(witness(request.headers["host"], response.headers))
        return response


def sources(settings: Settings, night: dt.date, witnesses: list[Witness]) -> Iterator[Finding]:
    """Ask each source for its first row, as a night would."""
    for source in settings.sources_of(night):
        limits = Limits(
            timeout_seconds=source.timeout_seconds, max_bytes=source.max_bytes, allow_private=source.allow_private
        )
        fetcher = Fetcher(limits, transport=_Dated(witnesses))
        try:
            first = next(iter(reader(source.kind)(source, fetcher)), None)
            good = isinstance(first, Delivered) and first.parse_error is None
            why = getattr(first, "error", None) or getattr(first, "parse_error", None) or "is empty"
            found = "delivers" if good else str(why)
        except Exception as error:  # whatever a reader raises is what was found
            good, found = False, str(error) if isinstance(error, NightdeskError) else type(error).__name__
        finally:
            fetcher.close()
        yield Finding(
            what=f"source {source.name}",
            good=good,
            found=f"{redacted(source.location)}: {found.replace(source.location, redacted(source.location))}",
            remedy="" if good else "a night goes on without it, and says so",
            needed=False,
        )


def sinks(settings: Settings, night: dt.date, now: dt.datetime, *, send_test: bool) -> Iterator[Finding]:
    """Whether each sink takes its settings; with `send_test`, whether it takes a message."""
    try:
        places = notify.prepare(settings.alerting.sinks, Lake.open(settings.lake))
    except Exception as error:  # a lake that cannot be opened is told of as such; the sinks cannot be asked then
        found = f"{type(error).__name__}: {error}"
        yield Finding(what="sinks", good=False, found=found, remedy="mend the lake or [alerting.sinks]")
        return
    if not places:
        remedy = "name a sink in [alerting.sinks], else alerts are only in the lake and the report"
        yield Finding(what="sinks", good=False, found="none is named", remedy=remedy, needed=False)
    for place in places:
        if send_test:
            yield _tested(place, night, now)
        else:
            found = "ready; --send-test sends it a message"
            yield Finding(what=f"sink {place.name}", good=True, found=found)
    if places and not urls_of(settings):
        yield _told_to_nobody(sorted(settings.alerting.sinks))


def _told_to_nobody(sinks: list[str]) -> Finding:
    """A file tells nobody by itself, and of the watchdog's own death the server tells, which knows the places of Apprise alone."""
    silent = "nobody is told of a watchdog that died"
    file_alone = (
        "; alerts, those about the pipeline too, stand in a file until somebody looks" if sinks == ["jsonl"] else ""
    )
    return Finding(
        what="people",
        good=False,
        found=f"given {', '.join(sinks)}, no place of apprise: {silent}{file_alone}",
        remedy="name a place such as a mail address in [alerting.sinks.apprise], then `nightdesk deploy`",
        needed=False,
    )


def _tested(place: Sink, night: dt.date, now: dt.datetime) -> Finding:
    """Send one message that says what it is, past the ledger: a test is not remembered and holds no alert back."""
    what = f"sink {place.name}"
    alert = Alert(
        alert_key=f"doctor:test:{now.isoformat()}",
        run_date=night,
        monitor="doctor",
        subject="test",
        severity="info",
        message=TEST_MESSAGE,
        article_ids=[],
        created_at=now,
        available_at=now,
    )
    try:
        place.send(Digest(night=night, alerts=(alert,), shown=1))
        return Finding(what=what, good=True, found="took a test message")
    except Exception as error:  # of a mistake of a sink's own only the type, since its text may hold a secret
        said = str(error) if isinstance(error, NightdeskError) else type(error).__name__
        return Finding(what=what, good=False, found=said, remedy="mend its address, or ask whoever runs it")
