"""The verb `watch`: runs every monitor of the settings over a night and stages what they raise as the table `alerts`.

Monitors see the night's staged tables (else its published ones) and earlier published nights. One that crashes does not stop the others: it
becomes a critical alert about itself. All alerts are kept; how many of them people are sent is `notify`'s business. An alert that is
published for the night already keeps its `created_at`, and its `available_at` unless what it says changed, so a re-run with nothing new
stages equal bytes.

Not covered: earlier nights published after this one (a backfill that goes backwards): a night is judged by what lay before it then.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl
import pyarrow as pa

from data_contracts.alerts import CONTRACT, SEVERITIES, Alert
from data_contracts.errors import Retriable
from tasks import plugins
from tasks.lake import Lake, Partition
from tasks.monitors import Check, NightView, raised
from tasks.step import step

log = logging.getLogger(__name__)

PACKAGE = "tasks.monitors"


@dataclass(frozen=True)
class LakeView:
    """A `NightView` over a lake."""

    lake: Lake
    night: dt.date
    model_digest: str | None = None

    @cached_property
    def _earlier(self) -> list[dt.date]:
        return [night for night in self.lake.nights("articles") if night < self.night]

    def tonight(self, table: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Tonight's rows: staged, else published."""
        stage = self.lake.stage(self.night)
        if stage.exists(table):
            rows = stage.read(table)
            return _frame(rows.select(list(columns)) if columns is not None else rows)
        return _frame(self.lake.read(table, nights=[self.night], columns=columns))

    def nights(self, count: int) -> list[dt.date]:
        """The last `count` nights with published articles before tonight."""
        return self._earlier[-count:] if count > 0 else []

    def history(self, table: str, nights: int, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """The rows of those nights."""
        return _frame(self.lake.read(table, nights=self.nights(nights), columns=columns))


@dataclass(frozen=True)
class Monitor:
    """One monitor ready to run."""

    name: str
    check: Check
    config: Any


def prepare(monitors: Mapping[str, Mapping[str, object]]) -> list[Monitor]:
    """The monitors of the settings by name, their own settings checked; raises `UnknownPlugin` or `PluginRefused`."""
    return [
        Monitor(name, plugins.resolve(PACKAGE, name, "check"), plugins.configure(PACKAGE, name, given))
        for name, given in sorted(monitors.items())
    ]


@step("watch")
def watch(
    lake_url: str,
    *,
    night: dt.date,
    now: dt.datetime,
    monitors: Mapping[str, Mapping[str, object]],
    model_digest: str | None,
) -> Partition:
    """Run `monitors` (name -> own settings) over `night` and stage `alerts`.

    Raises:
        UnknownPlugin: a name has no file in tasks/monitors/.
        PluginRefused: a monitor's settings are not allowed.
    """
    lake = Lake.open(lake_url)
    found = run(LakeView(lake, night, model_digest), prepare(monitors), now)
    published = _rows(lake.read("alerts", nights=[night]))
    kept = [_as_published(alert, published) for alert in found]
    return lake.stage(night).write("alerts", CONTRACT.table(kept))


def run(view: NightView, monitors: Collection[Monitor], now: dt.datetime) -> list[Alert]:
    """What the monitors raise: the gravest first, then by monitor and subject; one alert a key."""
    found: dict[str, Alert] = {}
    for monitor in monitors:
        for alert in _checked(view, monitor, now):
            if found.setdefault(alert.alert_key, alert) is not alert:
                log.warning("monitor %s raised %s twice; the first is kept", monitor.name, alert.alert_key)
    return sorted(found.values(), key=lambda alert: (-SEVERITIES.index(alert.severity), alert.monitor, alert.subject))


def _checked(view: NightView, monitor: Monitor, now: dt.datetime) -> list[Alert]:
    try:
        return monitor.check(view, monitor.config, now)
    except Retriable:
        raise
    except Exception as error:
        log.exception("monitor %s failed", monitor.name)
        message = (
            f"The monitor {monitor.name} failed and watched nothing tonight: {type(error).__name__}: {str(error)[:300]}"
        )
        return [raised(view, now, monitor=monitor.name, subject=monitor.name, severity="critical", message=message)]


def _as_published(alert: Alert, published: Mapping[str, Alert]) -> Alert:
    """`alert` with the times under which it is published already."""
    before = published.get(alert.alert_key)
    if before is None:
        return alert
    same = alert.model_copy(update={"created_at": before.created_at, "available_at": before.available_at})
    return same if same == before else same.model_copy(update={"available_at": alert.available_at})


def _rows(table: pa.Table) -> dict[str, Alert]:
    return {row["alert_key"]: Alert(**row) for row in table.to_pylist()}


def _frame(table: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(table))
