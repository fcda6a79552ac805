"""Raises an alert when too many rows of a table fail their contract, or clearly more than usual.

In prose: the failed share of a stage on a night is its quarantined rows over all rows it judged. Judged are, for `raw`, the night's raw rows;
for `score`, the night's articles; for any other stage, its published rows and its quarantined rows together. An alert is raised

- when the share is above `max_share` (critical); this needs no history;
- or when it is at least `min_rise` above the usual share, that is the share of all rows of the last nights taken together, and the number
  of failed rows is also at least `min_z` standard deviations of a Poisson count above what the usual share would give (warning). The
  first condition keeps a large night from raising alarms about nothing, the second a small one. This needs `min_nights` nights.

Either asks for at least `min_failed` failed rows. Not covered: which rule failed; the contract page of the night shows that.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from data_contracts.alerts import Alert
from tasks.monitors import NightView, raised

TABLES = ("articles", "scored_articles", "entity_mentions", "daily_entity_sentiment", "source_counts", "alerts")
JUDGED = {"raw": "raw", "score": "articles"}  # stages that judge the rows of a table as it stands, failed ones included


@dataclass(frozen=True, kw_only=True)
class Config:
    """How many failures are too many.

    Attributes:
        max_share: greatest failed share, in [0, 1].
        min_failed: failed rows without which nothing is raised.
        nights: earlier nights that make the usual share.
        min_nights: earlier nights without which there is no usual share.
        min_rise: least rise above the usual share, in [0, 1].
        min_z: least standard deviations above the usual number.
    """

    max_share: float = 0.1
    min_failed: int = 5
    nights: int = 14
    min_nights: int = 3
    min_rise: float = 0.05
    min_z: float = 3.0


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """Failed and judged rows of one stage."""

    failed: int
    judged: int

    @property
    def share(self) -> float:
        return self.failed / self.judged if self.judged else 0.0


def check(view: NightView, config: Config, now: dt.datetime) -> list[Alert]:
    """One alert a stage whose failed share is too high, by stage."""
    quarantine = view.tonight("quarantine", ("stage", "reason"))
    failed = dict(quarantine.group_by("stage").len().sort("stage").iter_rows())
    enough = len(view.nights(config.nights)) >= max(config.min_nights, 1)
    alerts = []
    for stage, count in failed.items():
        tonight = _Stage(failed=count, judged=_judged(stage, count, _rows(view.tonight, stage)))
        usual = _usual(view, stage, config) if enough else None
        over, rising = tonight.share > config.max_share, usual is not None and _rises(tonight, usual, config)
        if count < config.min_failed or not (over or rising):
            continue
        reason = (
            quarantine.filter(pl.col("stage") == stage)["reason"]
            .value_counts()
            .sort("count", "reason", descending=[True, False])
        )
        known = f"; usual is {usual.share:.1%}" if usual is not None else ""
        alerts.append(
            raised(
                view,
                now,
                monitor="contract_failures",
                subject=stage,
                severity="critical" if over else "warning",
                message=(
                    f"{count} of {tonight.judged} rows ({tonight.share:.1%}) failed the contract of {stage} tonight{known}, the limit "
                    f"is {config.max_share:.1%}; the most frequent reason is {reason['reason'][0]} ({reason['count'][0]} rows)."
                ),
                value=tonight.share,
                baseline=None if usual is None else usual.share,
                threshold=config.max_share if over or usual is None else usual.share + config.min_rise,
            )
        )
    return alerts


def _rises(tonight: _Stage, usual: _Stage, config: Config) -> bool:
    expected = usual.share * tonight.judged
    clear = tonight.failed - expected >= config.min_z * math.sqrt(expected + 1)
    return clear and tonight.share - usual.share >= config.min_rise


def _usual(view: NightView, stage: str, config: Config) -> _Stage | None:
    """Failed and judged rows of the earlier nights together; None when they judged nothing."""
    failed = view.history("quarantine", config.nights, ("stage",)).filter(pl.col("stage") == stage).height
    judged = _judged(stage, failed, _rows(lambda table, columns: view.history(table, config.nights, columns), stage))
    return _Stage(failed=failed, judged=judged) if judged else None


def _judged(stage: str, failed: int, rows: int) -> int:
    return max(rows, failed) if stage in JUDGED else rows + failed


def _rows(read: Callable[[str, Sequence[str] | None], pl.DataFrame], stage: str) -> int:
    """Rows of the table that `stage` judges; 0 for a stage that has none."""
    table = JUDGED.get(stage, stage)
    return read(table, ("run_date",)).height if table == "raw" or table in TABLES else 0
