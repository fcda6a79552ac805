"""What a night's report is made from: its published tables, gathered and put into the order in which the page tells them.

Only published tables are read, so that a report can be written again at any time; no article's body is read here.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import polars as pl

from tasks.lake import Lake
from tasks.provenance import recall

TREND_NIGHTS = 14
EXAMPLES = 5


@dataclass(frozen=True, kw_only=True)
class Lead:
    """An article that an alert points to; `unsure`: its label is less probable than the settings ask for."""

    article_id: str
    title: str
    url: str | None
    source: str
    published: str
    sentiment: str
    p_negative: float
    unsure: bool


@dataclass(frozen=True, kw_only=True)
class AlertView:
    """An alert with the articles behind it."""

    severity: str
    monitor: str
    subject: str
    message: str
    articles: tuple[Lead, ...]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A reason why rows were quarantined, how many, and some of them."""

    stage: str
    reason: str
    rows: int
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Night:
    """Everything the page shows, as it is published."""

    night: dt.date
    sources: pl.DataFrame
    quarantine: pl.DataFrame
    articles: pl.DataFrame
    scored: pl.DataFrame
    daily: pl.DataFrame
    history: pl.DataFrame
    shares: pl.DataFrame
    alerts: pl.DataFrame

    @property
    def rows_read(self) -> int:
        """Rows that belong to this night."""
        return int(self.sources["rows_new"].sum())

    @property
    def repeats(self) -> int:
        """Exact repeats dropped."""
        return int(self.sources["rows_repeated"].sum())


def gather(lake: Lake, night: dt.date) -> Night:
    """Read the night's published tables and the last nights' aggregates; no body is read."""
    nights = [n for n in lake.nights("scored_articles") if n <= night][-TREND_NIGHTS:]

    def tonight(table: str, columns: list[str] | None = None) -> pl.DataFrame:
        return _frame(lake.read(table, nights=[night], columns=columns))

    past = _frame(lake.read("scored_articles", nights=nights, columns=["run_date", "sentiment"]))
    scored = [
        "article_id",
        "version",
        "source",
        "url",
        "title",
        "published_at",
        "sentiment",
        "sentiment_score",
        "p_negative",
        "abstained",
    ]
    return Night(
        night=night,
        sources=tonight("source_counts").sort("source"),
        quarantine=tonight("quarantine"),
        articles=tonight("articles", ["article_id", "version", "story_id", "is_canonical", "published_at", "source"]),
        scored=tonight("scored_articles", [*scored, "tokens_scored", "tokens_total", "windows", "model_digest"]),
        daily=tonight("daily_entity_sentiment").sort(["articles", "entity"], descending=[True, False]),
        history=_frame(lake.read("daily_entity_sentiment", nights=nights)),
        shares=past.group_by("run_date", "sentiment")
        .len("articles")
        .with_columns(share=pl.col("articles") / pl.col("articles").sum().over("run_date")),
        alerts=tonight("alerts"),
    )


def _frame(table: object) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def failures(night: Night) -> list[Failure]:
    """Quarantined rows by stage and reason, the most frequent first, with a few of them."""
    found = []
    for (stage, reason), rows in night.quarantine.sort("quarantine_id").group_by(
        "stage", "reason", maintain_order=True
    ):
        shown = rows.head(EXAMPLES)
        examples = tuple(zip(shown["detail"].to_list(), (str(row)[:300] for row in shown["row"]), strict=True))
        found.append(Failure(stage=str(stage), reason=str(reason), rows=rows.height, examples=examples))
    return sorted(found, key=lambda f: (-f.rows, f.stage, f.reason))


def alert_views(night: Night) -> list[AlertView]:
    """The alerts, the worst first, with their articles in the order the monitor gave."""
    order = {"critical": 0, "warning": 1, "info": 2}
    articles = {row["article_id"]: row for row in night.scored.sort("version").iter_rows(named=True)}
    views = [
        AlertView(
            severity=row["severity"],
            monitor=row["monitor"],
            subject=row["subject"],
            message=row["message"],
            articles=tuple(lead(articles[key]) for key in row["article_ids"] or [] if key in articles),
        )
        for row in night.alerts.iter_rows(named=True)
    ]
    return sorted(views, key=lambda a: (order.get(a.severity, 3), a.monitor, a.subject))


def lead(row: dict[str, object]) -> Lead:
    """An article's row as the page shows it; only web addresses become links."""
    published, probability = row["published_at"], row["p_negative"]
    assert isinstance(published, dt.datetime)
    assert isinstance(probability, float)
    url = str(row["url"]) if str(row["url"]).startswith(("http://", "https://")) else None
    return Lead(
        article_id=str(row["article_id"]),
        title=str(row["title"]),
        url=url,
        source=str(row["source"]),
        published=f"{published:%d %b %H:%M}",
        sentiment=str(row["sentiment"]),
        p_negative=probability,
        unsure=bool(row["abstained"]),
    )


def models_of(lake: Lake, night: Night) -> list[dict[str, object]]:
    """The models that scored the night, the one with most articles first, with what the lake remembers of each."""
    counts = night.scored.group_by("model_digest").len().sort("len", "model_digest", descending=[True, False])
    return [{"digest": digest, "rows": rows, "bundles": recall(lake, digest)} for digest, rows in counts.iter_rows()]
