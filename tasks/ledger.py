"""What one sink was sent: the memory behind "once a key and cooldown", a JSON text in the lake's state.

An alert (its key names monitor, subject and night) is claimed before it is sent and confirmed after. So a run that is killed in between
leaves a claim, and the next run knows that the alert may have gone out. One that certainly did not go out is "failed": it is due again,
and so can be told from one that was never tried. The cooldown is by monitor and subject: a surge that goes on for nights is sent once in a
cooldown, two subjects never silence each other, and an alert graver than the one sent breaks it. It is measured from night to night and not
by the clock, so that neither a run some seconds early nor nights that are filled in late decide what is held back.

Not covered: two writers at once; `tasks.notify` holds a lock. Entries older than 400 days are forgotten, so a re-run of a night that far
back would send again.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Literal

from data_contracts.alerts import SEVERITIES, Alert
from data_contracts.errors import Fatal

State = Literal["claimed", "sent", "suppressed", "uncertain", "failed"]
FORGET_AFTER = dt.timedelta(days=400)


class LedgerDamaged(Fatal):
    """A ledger cannot be read; sending without it could send everything again."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One alert and what became of it; `at` is when, UTC; `night` is the one it is about (else the day of `at`)."""

    monitor: str
    subject: str
    severity: str
    state: State
    at: dt.datetime
    night: dt.date


class Ledger:
    """The entries of one sink by alert key."""

    def __init__(self, entries: dict[str, Entry] | None = None) -> None:
        self._entries = entries or {}

    @classmethod
    def from_json(cls, text: str | None, *, where: str) -> Ledger:
        """The ledger that `to_json` wrote; an empty one for None."""
        try:
            rows = {} if text is None else json.loads(text)
            return cls({key: _entry(key, row) for key, row in rows.items()})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise LedgerDamaged(
                f"the ledger {where} is not one of ours: {error}; restore it, or remove it and accept that alerts are sent again"
            ) from error

    def to_json(self, now: dt.datetime) -> str:
        """As text, without what is long past."""
        kept = {key: entry for key, entry in self._entries.items() if entry.at > now - FORGET_AFTER}
        rows = {
            key: asdict(entry) | {"at": entry.at.isoformat(), "night": entry.night.isoformat()}
            for key, entry in sorted(kept.items())
        }
        return json.dumps(rows, indent=0, ensure_ascii=False)

    def knows(self, alert: Alert) -> bool:
        """True when the alert was sent, suppressed, or may have been sent."""
        entry = self._entries.get(alert.alert_key)
        return entry is not None and entry.state != "failed"

    def failed(self, alert: Alert) -> bool:
        """True when the alert was tried and certainly not delivered."""
        entry = self._entries.get(alert.alert_key)
        return entry is not None and entry.state == "failed"

    def claimed(self) -> list[str]:
        """The keys whose sending was begun and never confirmed."""
        return [key for key, entry in self._entries.items() if entry.state == "claimed"]

    def claim(
        self, alerts: Iterable[Alert], now: dt.datetime, cooldown: dt.timedelta
    ) -> tuple[list[Alert], list[Alert]]:
        """Split alerts, the gravest first, into those claimed now and those held back by a cooldown, of a claim before them too."""
        due: list[Alert] = []
        held: list[Alert] = []
        for alert in alerts:
            cooling = self.cools_down(alert, cooldown)
            (held if cooling else due).append(alert)
            self.put([alert], "suppressed" if cooling else "claimed", now)
        return due, held

    def cools_down(self, alert: Alert, cooldown: dt.timedelta) -> bool:
        """True when an alert of this monitor about this subject, at least as grave, of a night nearer than the cooldown went out or is claimed."""
        return any(
            entry.state in ("claimed", "sent", "uncertain")
            and (entry.monitor, entry.subject) == (alert.monitor, alert.subject)
            and abs(entry.night - alert.run_date) < cooldown
            and SEVERITIES.index(entry.severity) >= SEVERITIES.index(alert.severity)
            for entry in self._entries.values()
        )

    def put(self, alerts: Iterable[Alert], state: State, now: dt.datetime) -> None:
        """Remember what became of alerts."""
        for alert in alerts:
            self._entries[alert.alert_key] = Entry(
                monitor=alert.monitor,
                subject=alert.subject,
                severity=alert.severity,
                state=state,
                at=now,
                night=alert.run_date,
            )

    def settle(self, key: str, state: State) -> None:
        """Say what became of a claim; the time stays that of the claim."""
        self._entries[key] = replace(self._entries[key], state=state)


def _entry(key: str, row: dict[str, str]) -> Entry:
    at = dt.datetime.fromisoformat(row["at"])
    night = at.date()
    with suppress(ValueError):  # an older ledger has it only where the key ends in it
        night = dt.date.fromisoformat(row.get("night", key[-10:]))
    return Entry(**(row | {"at": at, "night": night}))  # type: ignore[arg-type]
