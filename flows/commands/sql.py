"""Ask the lake from the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands.options import LakeOption, SettingsOption
from flows.settings import load

EXAMPLES = 'Example:  nightdesk sql "SELECT entity, articles, mean_score FROM daily_entity_sentiment ORDER BY articles DESC LIMIT 10"'


def sql(
    query: Annotated[str, typer.Argument(help="A query over the published tables.")],
    lake: LakeOption = None,
    settings: SettingsOption = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated, for other programs.")] = False,
) -> None:
    """Run DuckDB with every published table as a view."""
    from flows.querying import query_lake

    query_lake(query, load(settings, lake=lake).lake, as_csv=as_csv)
