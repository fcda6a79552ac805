"""Raises an alert for each source that could not be read tonight, with its own words for why.

It needs no history. All sources failing at once is critical, one of them a warning. Not covered: a source that was read and had nothing
(`source_silent`), or rows of a readable source that failed their contract (`contract_failures`).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import polars as pl

from data_contracts.alerts import Alert
from tasks.monitors import NightView, raised


@dataclass(frozen=True, kw_only=True)
class Config:
    """How much of an error is quoted.

    Attributes:
        max_error_characters: the error is cut after these.
    """

    max_error_characters: int = 300


def check(view: NightView, config: Config, now: dt.datetime) -> list[Alert]:
    """One alert a failed source, by name."""
    sources = view.tonight("source_counts", ("source", "kind", "failed", "error"))
    failed = sources.filter(pl.col("failed")).sort("source")
    return [
        raised(
            view,
            now,
            monitor="source_failed",
            subject=source,
            severity="critical" if failed.height == sources.height else "warning",
            message=(
                f"The source {source} ({kind}) could not be read tonight ({failed.height} of {sources.height} sources failed): "
                f"{(error or 'no reason was given')[: config.max_error_characters]}"
            ),
            value=float(failed.height),
            threshold=1.0,
        )
        for source, kind, error in failed.select("source", "kind", "error").iter_rows()
    ]
