"""Raises an alert when a source that usually brings articles brings none tonight.

In prose: a source is usually heard when, among the last `nights` nights, it was asked on at least `min_nights` and brought at least one clean
article on a share of at least `min_heard_share` of those. It is silent when it brought none tonight: read and empty, or, with
`failed_too`, failed, or no longer asked at all, which is for information only. A weekly source is not usually heard and so never silent.

By default a source that failed is left to `source_failed`: one event, one alert. Not covered: a source that brings less than usual.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import polars as pl

from data_contracts.alerts import Alert
from tasks.monitors import NightView, raised

COLUMNS = ("run_date", "source", "articles", "failed")


@dataclass(frozen=True, kw_only=True)
class Config:
    """When silence is news.

    Attributes:
        nights: earlier nights looked at.
        min_nights: earlier nights on which the source must have been asked.
        min_heard_share: share of those, in [0, 1], on which it must have brought an article.
        failed_too: also raise it for a source that failed tonight, for a desk without `source_failed`.
    """

    nights: int = 7
    min_nights: int = 3
    min_heard_share: float = 0.8
    failed_too: bool = False


def check(view: NightView, config: Config, now: dt.datetime) -> list[Alert]:
    """One alert a silent source, by name."""
    usual = (
        view.history("source_counts", config.nights, COLUMNS)
        .group_by("source")
        .agg(asked=pl.len(), heard=(pl.col("articles") > 0).sum(), usual=pl.col("articles").median())
        .filter(pl.col("asked") >= config.min_nights, pl.col("heard") >= config.min_heard_share * pl.col("asked"))
        .sort("source")
    )
    tonight = {
        row[0]: (row[1], row[2]) for row in view.tonight("source_counts", ("source", "articles", "failed")).iter_rows()
    }
    alerts = []
    for source, asked, heard, median in usual.iter_rows():
        articles, failed = tonight.get(source, (0, False))
        if articles or (failed and not config.failed_too):
            continue
        how = "was not asked" if source not in tonight else "failed" if failed else "was read and brought no article"
        alerts.append(
            raised(
                view,
                now,
                monitor="source_silent",
                subject=source,
                severity="warning" if source in tonight else "info",
                message=(
                    f"The source {source} is silent: tonight it {how}; it had articles on {heard} of the last {asked} nights "
                    f"(median {median:g})."
                ),
                value=0.0,
                baseline=median,
                threshold=1.0,
            )
        )
    return alerts
