"""The one moment at which a night becomes visible: every staged table of it in a single commit.

A night whose staged tables equal what is published is left as it is, so that a re-run leaves no trace. What is new is available from this
moment on, and not from the run's begin, long before scoring: a back-test that goes by `available_at` knows nothing sooner than readers did.

What it does not do: decide whether a night may be published; a broken contract has raised before.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tasks.lake import Lake, Partition
from tasks.step import step

STAGED = (
    "articles",
    "quarantine",
    "scored_articles",
    "entity_mentions",
    "daily_entity_sentiment",
    "source_counts",
    "alerts",
)


@dataclass(frozen=True, kw_only=True)
class Published:
    """What a night's publishing did."""

    partitions: tuple[Partition, ...]
    changed: bool

    @property
    def said(self) -> str:
        """The counts in a line."""
        rows = ", ".join(f"{part.rows} {part.table.replace('_', ' ')}" for part in self.partitions)
        return f"{'published' if self.changed else 'unchanged'}: {rows}"


@step("publish")
def publish(lake_url: str, *, night: dt.date, run_id: str, now: dt.datetime) -> Published:
    """Publish the night's raw rows and all staged tables in one commit, unless they are what is published already.

    Args:
        lake_url: the lake.
        night: whose tables are staged.
        run_id: names the commit.
        now: what this run wrote as `available_at` of its rows, UTC.
    """
    lake = Lake.open(lake_url)
    stage = lake.stage(night)
    tables: dict[str, pa.Table] = {"raw": lake.read("raw", nights=[night])}
    tables |= {name: stage.read(name) for name in STAGED}
    changed = not lake.shows("raw", night) or any(
        not table.equals(lake.read(name, nights=[night])) for name, table in tables.items()
    )
    if changed:
        moment = max(now, lake.now())
        tables = {name: _available(table, since=now, moment=moment) for name, table in tables.items()}
        return Published(partitions=tuple(lake.commit(tables, night=night, run_id=run_id)), changed=True)
    partitions = [
        Partition(table=name, night=night, path=lake.files(name, nights=[night])[0], rows=t.num_rows)
        for name, t in tables.items()
    ]
    return Published(partitions=tuple(partitions), changed=False)


def _available(table: pa.Table, *, since: dt.datetime, moment: dt.datetime) -> pa.Table:
    """With `moment` for `available_at` of the rows that this run, begun at `since`, wrote."""
    if "available_at" not in table.column_names:
        return table
    at = table.column("available_at")
    number = table.column_names.index("available_at")
    stamped = pc.if_else(pc.equal(at, pa.scalar(since, at.type)), pa.scalar(moment, at.type), at)
    return table.set_column(number, table.schema.field(number), stamped)
