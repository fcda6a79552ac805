"""What a sink is: a file of this folder with a frozen `Config` and a `connect` that opens the places where a night's alerts go.

A sink gets one `Digest` a night, the gravest alerts first, and either delivers all of it or raises `SinkFailed`, which is retried. It knows
nothing of cooldowns and remembers nothing: `tasks.notify` decides what is due and keeps the ledger. `docs/adding_a_sink.md` adds one step by
step. Not covered: sinks that answer back (acknowledging, silencing).
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from data_contracts.alerts import SEVERITIES, Alert
from data_contracts.errors import Retriable

if TYPE_CHECKING:
    from tasks.lake import Lake


class SinkFailed(Retriable):
    """A sink did not take the alerts; they stay unsent and may be sent again. The text holds no address and no secret."""


@dataclass(frozen=True, kw_only=True)
class Digest:
    """What a sink is handed once a night.

    Attributes:
        night: the night the alerts are about.
        alerts: all that is due, the gravest first, with those of nights before that did not get through then; a sink for machines takes all of them.
        shown: how many of them a message for people spells out; it counts the rest by monitor.
    """

    night: dt.date
    alerts: tuple[Alert, ...]
    shown: int

    @property
    def title(self) -> str:
        """One line: the night, and how many alerts of each severity."""
        counts = Counter(alert.severity for alert in self.alerts)
        parts = [f"{counts[severity]} {severity}" for severity in reversed(SEVERITIES) if counts[severity]]
        return f"nightdesk, night {self.night}: {', '.join(parts)}"

    @property
    def text(self) -> str:
        """A line an alert for the first `shown`, naming a night before; then how many more there are of each monitor."""
        lines = [f"[{alert.severity}] {self._dated(alert)}" for alert in self.alerts[: self.shown]]
        beyond = Counter(alert.monitor for alert in self.alerts[self.shown :])
        if beyond:
            listed = ", ".join(f"{monitor} {count}" for monitor, count in sorted(beyond.items()))
            lines.append(f"and {beyond.total()} more, listed in the night's report: {listed}")
        return "\n".join(lines)

    def _dated(self, alert: Alert) -> str:
        return alert.message if alert.run_date == self.night else f"(night {alert.run_date}) {alert.message}"


class Sink(Protocol):
    """One place where alerts go."""

    @property
    def name(self) -> str:
        """Under which the ledger remembers it: the file's name, `/` and a place where it has several. Never a secret."""

    def send(self, digest: Digest) -> None:
        """Deliver the whole digest.

        Raises:
            SinkFailed: it was not delivered.
        """

    def arrived(self, alert_keys: Collection[str]) -> frozenset[str] | None:
        """Which of these alerts certainly arrived in an earlier try; None from a sink that cannot look."""


class Connect(Protocol):
    """The one function of a sink's file; it opens no connection yet."""

    def __call__(self, config: Any, lake: Lake) -> list[Sink]:
        """The places of this sink."""
