"""The published tables as views of a DuckDB connection, for an analyst's own SQL.

    with connect("data/lake") as lake:
        lake.sql("SELECT entity, mean_score FROM daily_entity_sentiment WHERE night = '2026-11-20'").show()

Every view has the table's columns and `night` (DATE, from the folder's name). A view globs when it is queried, so nights
published later show up without connecting again; a table without any published night is a view without rows.

The connection is in memory and reaches no file but the published tables: other files, the network and extensions are
closed, and its settings are locked but for a few harmless ones. DuckDB cannot forbid `COPY ... TO` inside a folder it may
read; it would replace the published file, not the immutable one behind it, and the lake's `repair` puts that back.

Not covered: kept but unpublished nights and the past (`Lake.read(..., as_of=)`).
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import pyarrow as pa

from data_contracts.catalog import CONTRACTS
from tasks.lake import Lake

STILL_ALLOWED = ("threads", "memory_limit", "TimeZone", "enable_progress_bar")


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """One view and how many rows and nights it shows now."""

    name: str
    rows: int
    nights: int


def connect(lake_url: str) -> duckdb.DuckDBPyConnection:
    """A connection with every published table of the lake as a view, and access to nothing else."""
    lake = Lake.open(lake_url)
    connection = duckdb.connect()
    if "://" in lake.root:
        connection.register_filesystem(lake.filesystem)
    published = lake.tables()
    names = sorted({*CONTRACTS, *published})
    connection.execute("SET TimeZone = 'UTC'")
    for name in names:
        source = _files(f"{lake.root}/{name}") if name in published else _nothing(connection, CONTRACTS[name].schema)
        connection.execute(f'CREATE VIEW "{name}" AS {source}')
    folders = ", ".join(_quoted(f"{lake.root}/{name}/") for name in names)
    connection.execute(f"SET allowed_directories = [{folders}]")
    connection.execute(f"SET allowed_configs = [{', '.join(map(_quoted, STILL_ALLOWED))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def tables(connection: duckdb.DuckDBPyConnection) -> list[View]:
    """The views of a connection made by `connect`, by name, with what they show now."""
    found = connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal ORDER BY 1").fetchall()
    views = []
    for (name,) in found:
        counts = connection.execute(f'SELECT count(*), count(DISTINCT night) FROM "{name}"').fetchall()[0]
        views.append(View(name=name, rows=counts[0], nights=counts[1]))
    return views


def _files(folder: str) -> str:
    """SQL for all nights of a published table; a column that an older night lacks is null there."""
    glob = _quoted(f"{folder}/*/part-0.parquet")
    return (
        f"SELECT * FROM read_parquet({glob}, union_by_name = true, hive_partitioning = true, "
        "hive_types = {'night': DATE})"
    )


def _nothing(connection: duckdb.DuckDBPyConnection, schema: pa.Schema) -> str:
    """SQL for no rows, with the schema's columns and `night`."""
    empty = connection.from_arrow(schema.empty_table())
    columns = [f'CAST(NULL AS {kind}) AS "{name}"' for name, kind in zip(empty.columns, empty.types, strict=True)]
    return f"SELECT {', '.join(columns)}, CAST(NULL AS DATE) AS night WHERE false"


def _quoted(text: str) -> str:
    """`text` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"
