"""The one moment at which a night becomes visible: every staged table of it in a single commit.

A night whose staged tables equal what is published is left as it is, so that a re-run leaves no trace. What it does not do: decide whether
a night may be published; a broken contract has raised before.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import pyarrow as pa

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


@step("publish")
def publish(lake_url: str, *, night: dt.date, run_id: str) -> Published:
    """Publish the night's raw rows and all staged tables in one commit, unless they are what is published already."""
    lake = Lake.open(lake_url)
    stage = lake.stage(night)
    tables: dict[str, pa.Table] = {"raw": lake.read("raw", nights=[night])}
    tables |= {name: stage.read(name) for name in STAGED}
    changed = not lake.shows("raw", night) or any(
        not table.equals(lake.read(name, nights=[night])) for name, table in tables.items()
    )
    if changed:
        return Published(partitions=tuple(lake.commit(tables, night=night, run_id=run_id)), changed=True)
    partitions = [
        Partition(table=name, night=night, path=lake.files(name, nights=[night])[0], rows=t.num_rows)
        for name, t in tables.items()
    ]
    return Published(partitions=tuple(partitions), changed=False)
