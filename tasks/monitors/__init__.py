"""What a monitor is: a file of this folder with a frozen `Config` and a `check` that looks at a night and says what is out of the ordinary.

A monitor reads through a `NightView` and returns alerts; it opens no file and knows no other monitor. A history holds earlier nights only
and only nights that exist. `docs/adding_a_monitor.md` adds one step by step. Sending alerts is the sinks' work.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import polars as pl

from data_contracts.alerts import Alert

Severity = Literal["info", "warning", "critical"]
MAX_ARTICLES = 10
ARTICLE_KEY = ("run_date", "article_id", "version")  # across nights; nights run out of order may number versions alike


class NightView(Protocol):
    """What a monitor may look at.

    Attributes:
        night: the night watched.
        model_digest: the model behind tonight's scores, None where there is none.
    """

    @property
    def night(self) -> dt.date:
        """The night watched."""

    @property
    def model_digest(self) -> str | None:
        """The model behind tonight's scores."""

    def tonight(self, table: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Tonight's rows of `table`."""

    def nights(self, count: int) -> list[dt.date]:
        """The last `count` published nights before tonight, in order; fewer where there are fewer."""

    def history(self, table: str, nights: int, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """The rows of `table` of the last `nights` published nights before tonight."""


class Check(Protocol):
    """The one function of a monitor's file."""

    def __call__(self, view: NightView, config: Any, now: dt.datetime) -> list[Alert]:
        """The alerts of the night; each with its own subject."""


def alert_key(monitor: str, subject: str, night: dt.date) -> str:
    """The key of the alert that `monitor` raises about `subject` on `night`."""
    return f"{monitor}:{subject}:{night.isoformat()}"


def raised(
    view: NightView,
    now: dt.datetime,
    *,
    monitor: str,
    subject: str,
    severity: Severity,
    message: str,
    value: float | None = None,
    baseline: float | None = None,
    threshold: float | None = None,
    article_ids: Sequence[str] = (),
    of_model: bool = False,
) -> Alert:
    """An alert of tonight.

    Args:
        view: the night.
        now: when it is raised, UTC.
        monitor, subject: who raises it about what; together with the night they are its key.
        severity: info, warning or critical.
        message: one sentence with the numbers in it.
        value, baseline, threshold: what was measured, what is usual, and from where on it is raised, in one unit.
        article_ids: the articles it rests on, the most telling first; cut at 10.
        of_model: whether it rests on the model's scores; then it carries the model's digest.
    """
    return Alert(
        alert_key=alert_key(monitor, subject, view.night),
        run_date=view.night,
        monitor=monitor,
        subject=subject,
        severity=severity,
        message=message,
        value=value,
        baseline=baseline,
        threshold=threshold,
        article_ids=list(article_ids)[:MAX_ARTICLES],
        created_at=now,
        available_at=now,
        model_digest=view.model_digest if of_model else None,
    )
