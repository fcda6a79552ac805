"""What a person sees on a run's page in the Prefect UI: a night's counts by source, its tables, its summary, and where everything lies.

Nothing here holds a secret: counts, names, paths and addresses on this machine, and texts that are published anyway. What stands in the last
state of a run is said here too (`concluded`). Progress is drawn by the steps themselves (tasks.step).
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar, cast

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.context import FlowRunContext
from prefect.states import Completed

from flows.operate import places
from flows.settings import Settings
from tasks.hosts import redacted
from tasks.lake import Lake
from tasks.notify import Notified
from tasks.publish import Published
from tasks.report import summary_markdown
from tasks.shadow import Shadow
from tasks.step import said_of

T = TypeVar("T")

COUNTS = {
    "rows in": "rows_read",
    "of other nights": "rows_outside",
    "repeated": "rows_repeated",
    "quarantined": "rows_quarantined",
    "kept": "articles",
}


def concluded(value: T, said: str | None = None) -> T:
    """What a flow returns so that its last state says `said`, or what the value says itself; its caller gets the value."""
    line = said or said_of(value)
    if line is None or FlowRunContext.get() is None:
        return value
    return cast(T, Completed(message=line, data=value))


def show_night(settings: Settings, night: dt.date, published: Published, sent: Notified, page: str) -> None:
    """Write the night's artifacts: its counts by source, its tables, the report's summary, and links to what holds more."""
    create_table_artifact(
        table=by_source(Lake.open(settings.lake), night),
        key=f"night-{night}-sources",
        description="What came in by source and what became of it. An alert counts for each source it rests on, and once for all.",
    )
    report, mlflow = page_link(settings, page), mlflow_link(settings)
    rows: list[dict[str, Any]] = [
        *({"table": part.table, "rows": part.rows, "path": redacted(part.path)} for part in published.partitions),
        {"table": "(report)", "rows": None, "path": report},
        *([{"table": "(MLflow)", "rows": None, "path": mlflow}] if mlflow else []),
    ]
    state = "published" if published.changed else "published before, unchanged"
    create_table_artifact(
        table=rows, key=f"night-{night}-tables", description=f"Parquet, report and MLflow of the night: {state}"
    )
    links = [f"[Report]({report})", f"Parquet: `{redacted(settings.lake)}/*/night={night}/*.parquet`"]
    said = [
        " | ".join([*links, f"[MLflow]({mlflow})"] if mlflow else links),
        f"{sent.said.capitalize()}.",
        summary_markdown(settings.lake, night=night),
    ]
    create_markdown_artifact(markdown="\n\n".join(said), key=f"night-{night}-summary", description=f"Night {night}")
    create_link_artifact(link=report, key=f"night-{night}-report", link_text=f"report of night {night}")


def by_source(lake: Lake, night: dt.date) -> list[dict[str, str | int]]:
    """A row a source of a published night, and one for all: rows in, what was left out and why, kept, scored, alerts."""
    scored = lake.read("scored_articles", nights=[night], columns=["article_id", "source"])
    source_of = dict(zip(scored["article_id"].to_pylist(), scored["source"].to_pylist(), strict=True))
    scores = Counter(scored["source"].to_pylist())
    counts = lake.read("source_counts", nights=[night]).sort_by("source").to_pylist()
    alerts = lake.read("alerts", nights=[night], columns=["subject", "article_ids"]).to_pylist()
    names = {row["source"] for row in counts}
    rests_on = Counter(
        name
        for alert in alerts
        for name in {alert["subject"], *map(source_of.get, alert["article_ids"])} & names
    )  # fmt: skip
    rows: list[dict[str, str | int]] = [
        {
            "source": row["source"] + (" (failed)" if row["failed"] else ""),
            **{title: row[column] for title, column in COUNTS.items()},
            "scored": scores[row["source"]],
            "alerts": rests_on[row["source"]],
        }
        for row in counts
    ]
    sums = {title: sum(row[column] for row in counts) for title, column in COUNTS.items()}
    return [*rows, {"source": "all", **sums, "scored": scored.num_rows, "alerts": len(alerts)}]


def totals(lake: Lake, night: dt.date) -> str:
    """What a published night holds, in a line."""
    counts = lake.read("source_counts", nights=[night], columns=["rows_read", "articles", "failed"])
    failed = sum(counts["failed"].to_pylist())
    sources = f"{counts.num_rows} sources" + (f" ({failed} failed)" if failed else "")
    held = {
        name: lake.read(table, nights=[night], columns=["run_date"]).num_rows
        for table, name in (
            ("scored_articles", "scored"),
            ("entity_mentions", "entity mentions"),
            ("quarantine", "quarantined"),
            ("alerts", "alerts"),
        )
    }
    return (
        f"{sum(counts['rows_read'].to_pylist())} rows from {sources}, {sum(counts['articles'].to_pylist())} articles, "
        + ", ".join(f"{number} {name}" for name, number in held.items())
    )


def page_link(settings: Settings, page: str) -> str:
    """A page of the lake's `_reports`: on the page server while that runs, since a browser opens no file from a site; else where it lies."""
    own = places.running(settings.home)
    if own is not None and own.lake == redacted(settings.lake):
        return f"{own.pages_url}/reports/{'/'.join(Path(page).parts[-2:])}"
    return redacted(page) if "://" in page else Path(page).as_uri()


def mlflow_link(settings: Settings) -> str | None:
    """The MLflow UI of this machine while it runs, or a tracking server of the settings."""
    own = places.running(settings.home)
    url = own.mlflow_url if own is not None else settings.mlflow_uri
    return redacted(url) if url.startswith("http") else None


def show_shadow(found: Shadow) -> None:
    """Write how a candidate differs from the champion on recent nights: shares, confidence, and the surest differences."""
    lines = [
        f"{found.flipped:.1%} differ on {found.articles} articles of {found.nights} nights; mean confidence "
        f"{found.champion_confidence:.3f} (champion), {found.candidate_confidence:.3f} (candidate).",
        "",
        "| class | champion | candidate |",
        "| --- | ---: | ---: |",
        *(
            f"| {label} | {share:.1%} | {found.candidate_shares.get(label, 0.0):.1%} |"
            for label, share in found.champion_shares.items()
        ),
    ]
    key = f"shadow-{found.task.replace('_', '-')}"
    create_markdown_artifact("\n".join(lines), key=key, description=f"{found.task}: candidate beside champion")
    create_table_artifact(
        [asdict(flip) for flip in found.flips], key=f"{key}-flips", description="the surest differences"
    )
