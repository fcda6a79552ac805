"""Ask the lake at the command line: a query over the published tables, and a night's report written again."""

from __future__ import annotations

import csv
import datetime as dt
import sys

import duckdb
from rich.table import Table

from data_contracts.errors import Fatal
from flows.settings import Settings
from flows.showing import plain, show
from tasks.lake import Lake
from tasks.query import connect
from tasks.report import report


def query_lake(query: str, lake: str, *, as_csv: bool) -> None:
    """Run a query over the published tables and print its rows.

    Raises:
        Fatal: DuckDB refuses the query, in its own words, or there is none.
    """
    with connect(lake) as connection:
        try:
            result = connection.execute(query)
            if result is None:  # DuckDB's answer to a query without a statement, whatever its stubs say
                raise Fatal(f"given the query {query!r}, which holds no statement; allowed is SQL such as SELECT 1")
            names = [column[0] for column in result.description or []]
            rows = result.fetchall() if names else []
        except duckdb.Error as error:
            raise Fatal(f"DuckDB refused the query: {error}") from error
    if as_csv:
        csv.writer(sys.stdout).writerows([names, *rows])
        return
    table = Table()
    for name in plain(*names):
        table.add_column(name)
    for row in rows:
        table.add_row(*plain(*row))
    show(table)


def write_report(night: dt.date | None, settings: Settings) -> str:
    """Write the report of a published night again; the last one by default.

    Raises:
        Fatal: no such night is published.
    """
    lake_url = settings.lake
    nights = Lake.open(lake_url).nights("scored_articles")
    if not nights:
        asked = f"given the night {night}; " if night else ""
        raise Fatal(f"{asked}no night is published yet in {lake_url}; run `nightdesk run`")
    wanted = night or nights[-1]
    if wanted not in nights:
        raise Fatal(f"given the night {wanted}; published in {lake_url}: {', '.join(map(str, nights))}")
    page: str = report.fn(
        lake_url,
        night=wanted,
        now=dt.datetime.now(dt.UTC),
        tracking_uri=settings.mlflow_uri,
        artifact_root=str(settings.home / "bundles"),
    )
    return page
