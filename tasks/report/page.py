"""The report's page: a night's tables as one HTML file without script or outside asset, its charts drawn as SVG."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path

import jinja2
import polars as pl

from tasks.report import charts
from tasks.report.drivers import Drivers
from tasks.report.night import Night, alert_views, failures, lead

TOP_ENTITIES = 20
TRENDED_ENTITIES = 8
WORST_ARTICLES = 10
TEMPLATE = Path(__file__).with_name("page.html.j2")


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
    shown = [
        pl.col("display_name").alias("entity"),
        pl.col("run_date").dt.to_string("%Y-%m-%d").alias("night"),
    ]
    other = filled.select(
        *shown,
        pl.lit("other").alias("kind"),
        (pl.col("articles") - pl.col("negative")).cast(pl.Int64).alias("articles"),
    )
    negative = filled.select(
        *shown, pl.lit("negative").alias("kind"), (-pl.col("negative").cast(pl.Int64)).alias("articles")
    )
    return pl.concat([other, negative])


def render(
    night: Night, models: list[dict[str, object]], *, now: dt.datetime, drivers: Mapping[str, Drivers] | None = None
) -> str:
    """The page as HTML; `drivers` say by article id what drove its score."""
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
            lead(row)
            for row in night.scored.sort("p_negative", "article_id", descending=[True, False])
            .head(WORST_ARTICLES)
            .iter_rows(named=True)
        ],
        models=models,
        drivers=drivers or {},
        unsure=int(night.scored["abstained"].fill_null(value=False).sum()),
        now=f"{now:%Y-%m-%d %H:%M} UTC",
    )
