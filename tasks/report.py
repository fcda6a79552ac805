"""The report: one self-contained HTML page a night, made from the published tables alone, so that it can be written again at any time.

What came in, what failed and why, sentiment by entity with its trend, the alerts with their articles, and the model. The page asks for no
outside asset and holds no script. A number on it is a number in the lake; nothing is computed from anything else.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from pathlib import Path

import jinja2
import polars as pl

from tasks import charts
from tasks.lake import Lake
from tasks.step import step

TREND_NIGHTS = 14
TOP_ENTITIES = 20
TRENDED_ENTITIES = 8
EXAMPLES = 5
TEMPLATE = Path(__file__).with_name("report.html.j2")


@dataclass(frozen=True, kw_only=True)
class Lead:
    """An article that an alert points to."""

    title: str
    url: str | None
    source: str
    published: str
    sentiment: str
    p_negative: float


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
            articles=tuple(_lead(articles[key]) for key in row["article_ids"] or [] if key in articles),
        )
        for row in night.alerts.iter_rows(named=True)
    ]
    return sorted(views, key=lambda a: (order.get(a.severity, 3), a.monitor, a.subject))


def _lead(row: dict[str, object]) -> Lead:
    published, probability = row["published_at"], row["p_negative"]
    assert isinstance(published, dt.datetime)
    assert isinstance(probability, float)
    url = str(row["url"]) if str(row["url"]).startswith(("http://", "https://")) else None
    return Lead(
        title=str(row["title"]),
        url=url,
        source=str(row["source"]),
        published=f"{published:%d %b %H:%M}",
        sentiment=str(row["sentiment"]),
        p_negative=probability,
    )


def drawings(night: Night) -> dict[str, str]:
    """The page's charts as SVG by name; a chart without rows is left out."""
    drawn: dict[str, str] = {}
    if night.shares.height:
        ranks = {"negative": 0, "neutral": 1, "positive": 2}
        shares = night.shares.select(
            pl.col("run_date").dt.to_string("%Y-%m-%d").alias("night"),
            pl.col("sentiment").alias("label"),
            pl.col("sentiment").replace_strict(ranks, default=1).alias("rank"),
            "share",
            "articles",
        ).sort("night", "rank")
        drawn["sentiment"] = charts.sentiment_by_night(shares)
    if night.daily.height:
        top = night.daily.head(TOP_ENTITIES).select(
            pl.format("{} ({})", "display_name", "articles").alias("label"), pl.col("mean_score").cast(pl.Float64)
        )
        drawn["entities"] = charts.entities_tonight(top)
        drawn["trends"] = charts.entity_trends(_trends(night))
    if night.scored.height:
        hours = (
            night.scored.group_by(pl.col("published_at").dt.truncate("1h").alias("hour"), "source")
            .len("articles")
            .sort("hour", "source")
        )
        drawn["arrivals"] = charts.arrivals(hours)
    return drawn


def _trends(night: Night) -> pl.DataFrame:
    """Articles about tonight's most written-about entities on each of the last nights, a night without any counted as zero."""
    top = (
        night.daily.unique("entity", keep="first", maintain_order=True)
        .head(TRENDED_ENTITIES)
        .select("entity", "display_name")
    )
    grid = top.with_row_index("place").join(night.shares.select("run_date").unique(), how="cross")
    counts = night.history.group_by("entity", "run_date").agg(pl.col("articles").sum(), pl.col("negative").sum())
    filled = (
        grid.join(counts, on=["entity", "run_date"], how="left")
        .with_columns(pl.col("articles", "negative").fill_null(0))
        .sort("place", "run_date")
    )
    shown = [pl.col("display_name").alias("entity"), pl.col("run_date").dt.to_string("%Y-%m-%d").alias("night")]
    other = filled.select(
        *shown,
        pl.lit("other").alias("kind"),
        (pl.col("articles") - pl.col("negative")).cast(pl.Int64).alias("articles"),
    )
    negative = filled.select(
        *shown, pl.lit("negative").alias("kind"), (-pl.col("negative").cast(pl.Int64)).alias("articles")
    )
    return pl.concat([other, negative])


def render(night: Night, models: list[dict[str, object]], *, now: dt.datetime) -> str:
    """The page as HTML."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    shares = dict(night.scored.group_by("sentiment").len().iter_rows())
    return template.render(
        night=night,
        shares={label: shares.get(label, 0) for label in ("negative", "neutral", "positive")},
        failures=failures(night),
        alerts=alert_views(night),
        charts=drawings(night),
        sources=list(night.sources.iter_rows(named=True)),
        entities=list(night.daily.head(TOP_ENTITIES).iter_rows(named=True)),
        worst=[
            _lead(row)
            for row in night.scored.sort("p_negative", "article_id", descending=[True, False])
            .head(10)
            .iter_rows(named=True)
        ],
        models=models,
        now=f"{now:%Y-%m-%d %H:%M} UTC",
    )


def models_of(lake: Lake, night: Night) -> list[dict[str, object]]:
    """What the lake remembers of each model that scored the night: its manifest, written when it was first used."""
    found: list[dict[str, object]] = []
    for digest, rows in night.scored.group_by("model_digest").len().sort("len", descending=True).iter_rows():
        text = lake.read_state(f"model-{digest}")
        found.append({"digest": digest, "rows": rows, "bundles": json.loads(text) if text else []})
    return found


@step("report")
def report(lake_url: str, *, night: dt.date, now: dt.datetime) -> str:
    """Write the night's page under `_reports/` in the lake; returns its path."""
    lake = Lake.open(lake_url)
    gathered = gather(lake, night)
    page = render(gathered, models_of(lake, gathered), now=now)
    return lake.write_file(f"_reports/{night}/report.html", page.encode())


def summary_markdown(lake_url: str, *, night: dt.date) -> str:
    """The page's summary as Markdown, for the run's page in the Prefect UI."""
    seen = gather(Lake.open(lake_url), night)
    shares = dict(seen.scored.group_by("sentiment").len().iter_rows())
    counted = ", ".join(f"{shares.get(label, 0)} {label}" for label in ("negative", "neutral", "positive"))
    lines = [
        f"# Night {night}",
        f"{seen.rows_read} rows came in, {seen.scored.height} articles were scored ({counted}), "
        f"{seen.quarantine.height} rows quarantined, {seen.repeats} exact repeats dropped.",
        "",
        "## Alerts",
        *([f"- **{a.severity}** {a.message}" for a in alert_views(seen)] or ["none"]),
        "",
        "## Most written about",
        "| entity | articles | negative | mean sentiment |",
        "| --- | --- | --- | --- |",
        *[
            f"| {_cell(r['display_name'])} | {r['articles']} | {r['negative']} | {r['mean_score']:+.2f} |"
            for r in seen.daily.head(10).iter_rows(named=True)
        ],
    ]
    if seen.quarantine.height:
        lines += [
            "",
            "## Quarantined",
            "| stage | reason | rows |",
            "| --- | --- | --- |",
            *[f"| {f.stage} | {_cell(f.reason)} | {f.rows} |" for f in failures(seen)],
        ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Text that cannot break a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")
