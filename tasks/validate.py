"""The gate of a night: raw rows become clean articles, scored rows are held to their contracts, and what fails is kept with its reason.

`validate` stages `articles`, `quarantine` and the completed `source_counts`; `validate_scores` and `validate_alerts` check what later
steps staged and move failures to the staged quarantine. Too large a failed share raises `ContractBroken`, after the page
(`_reports/<night>/contract.html`) and the staged quarantine are written; staged tables are not published, so nothing is.

Versions, repeats and stories look at strictly earlier published nights only, so what a night says never rests on its future: a night filled
in after later ones gets the articles it would have got before them. The price is that a later night, published already, keeps its own copy of
a text, and that two nights run out of order may both number an article's version alike; within a night the number is unique, across nights
join by `run_date` too. A backfill pays it back: it judges the later nights `anew`, as if they had not been published. The look-back bounds what
is read: an article that comes back later than that starts at version 1 again. Not covered: publishing (`tasks/publish.py`), and rows that broke
the model, which the scoring puts into the staged quarantine itself.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa

from data_contracts import summary
from data_contracts.alerts import CONTRACT as ALERTS
from data_contracts.article import CONTRACT as ARTICLES
from data_contracts.page import render_summaries
from data_contracts.summary import TableSummary, summarise
from data_contracts.validate import check
from tasks.judge import Judged, Past, counted, judge
from tasks.lake import Lake, Partition, Stage
from tasks.quarantine import Share, merged, quarantined, refuse_too_many
from tasks.scored import hold
from tasks.step import step
from tasks.times import keep_times

log = logging.getLogger(__name__)

TITLE = "Data contracts"


@dataclass(frozen=True, kw_only=True)
class Validated:
    """What a check staged: the checked tables by name, the quarantine, how many rows were checked and failed, and the page."""

    tables: Mapping[str, Partition]
    quarantine: Partition
    rows: int
    failed: int
    repeats: int
    page: str

    @property
    def said(self) -> str:
        """The counts in a line."""
        kept = [
            f"{part.rows} {name.replace('_', ' ')}" for name, part in self.tables.items() if name != "source_counts"
        ]
        repeats = [f"{self.repeats} repeats"] if self.repeats else []
        return f"{self.rows} rows: " + ", ".join([*kept, f"{self.failed} quarantined", *repeats])


@step("validate")
def validate(
    lake_url: str,
    *,
    night: date,
    now: datetime,
    run_id: str,
    max_failed_share: float,
    lookback_nights: int,
    staged: Collection[date] = (),
    anew: bool = False,
) -> Validated:
    """Hold the night's raw rows to their contract and stage its articles.

    Args:
        lake_url: the lake.
        night: the processing night.
        now: UTC; `available_at` and `quarantined_at` of rows that are new.
        run_id: for the log.
        max_failed_share: 0 to 1; more failed rows than that share raise `ContractBroken`.
        lookback_nights: how many days before the night are searched for versions, repeats and copies.
        staged: nights that will be published before this one and whose articles are still staged.
        anew: judge a published night as if it had not been; rows that come out the same keep their `available_at`.
    """
    lake = Lake.open(lake_url)
    stage = lake.stage(night)
    raw = lake.read("raw", nights=[night])
    published = lake.read("articles", nights=[night])
    past = Past(
        earlier=_earlier(lake, night, lookback_nights, staged), existing=ARTICLES.empty() if anew else published
    )
    judged = judge(raw, past, night=night, now=now)
    quarantine = stage.write(
        "quarantine", merged([judged.quarantine], published=lake.read("quarantine", nights=[night]))
    )
    page = _write_page(lake, night, [summarise(name, verdict) for name, verdict in judged.verdicts.items()])
    for name, verdict in judged.verdicts.items():
        refuse_too_many(Share.of(name, verdict), max_failed_share=max_failed_share, page=page, kept=quarantine.path)
    counts = counted(stage.read("source_counts"), raw, judged, lake.read("source_counts", nights=[night]), now=now)
    articles = judged.articles
    if anew:
        articles = keep_times(articles, published, key=("article_id", "version"), times=("available_at",))
    tables = {
        "articles": stage.write("articles", articles),
        "source_counts": stage.write("source_counts", counts),
    }
    repeats = sum(judged.repeats_by_source.values())
    _say(night, run_id, raw.num_rows, judged, repeats)
    return Validated(
        tables=tables,
        quarantine=quarantine,
        rows=raw.num_rows,
        failed=judged.quarantine.num_rows,
        repeats=repeats,
        page=page,
    )


@step("validate scores")
def validate_scores(lake_url: str, *, night: date, now: datetime, max_failed_share: float) -> Validated:
    """Hold the staged scored tables to their contracts; every staged article must be scored or quarantined.

    A quarantined article takes its mentions with it, and the daily table is summed again from what is left.

    Raises:
        RowsUnaccounted: an article is neither scored nor quarantined, or a scored row has no article.
        ContractBroken: too large a share of the articles was not scored, or of a table's rows failed.
    """
    lake = Lake.open(lake_url)
    stage = lake.stage(night)
    articles = stage.read("articles")
    held = hold(
        articles=articles,
        scored=stage.read("scored_articles"),
        mentions=stage.read("entity_mentions"),
        daily=stage.read("daily_entity_sentiment"),
        quarantine=stage.read("quarantine"),
        night=night,
        now=now,
    )
    quarantine = _stage_quarantine(lake, stage, [held.quarantine])
    page = _write_page(lake, night, held.summaries)
    for share in held.shares:
        refuse_too_many(share, max_failed_share=max_failed_share, page=page, kept=quarantine.path)
    tables = {name: stage.write(name, table) for name, table in held.tables.items()}
    return Validated(
        tables=tables,
        quarantine=quarantine,
        rows=articles.num_rows,
        failed=held.quarantine.num_rows,
        repeats=0,
        page=page,
    )


@step("validate alerts")
def validate_alerts(lake_url: str, *, night: date, now: datetime) -> Validated:
    """Hold the staged alerts to their contract; one bad alert goes to quarantine and never stops the others."""
    lake = Lake.open(lake_url)
    stage = lake.stage(night)
    verdict = check(stage.read("alerts"), ALERTS)
    failed = quarantined(verdict, ALERTS, night=night, now=now)
    quarantine = _stage_quarantine(lake, stage, [failed])
    page = _write_page(lake, night, [summarise(ALERTS.name, verdict)])
    return Validated(
        tables={ALERTS.name: stage.write(ALERTS.name, verdict.passed)},
        quarantine=quarantine,
        rows=verdict.passed.num_rows + verdict.failed.num_rows,
        failed=verdict.failed.num_rows,
        repeats=0,
        page=page,
    )


def _earlier(lake: Lake, night: date, lookback_nights: int, staged: Collection[date]) -> pa.Table:
    """The articles of the nights before, within the look-back."""
    near = [n for n in {*lake.nights("articles"), *staged} if 0 < (night - n).days <= lookback_nights]
    there = lake.read("articles", nights=[n for n in near if n not in staged])
    waiting = [lake.stage(n).read("articles") for n in sorted(near) if n in staged]
    return pa.concat_tables(ARTICLES.conform(part) for part in (there, *waiting))


def _stage_quarantine(lake: Lake, stage: Stage, failed: Sequence[pa.Table]) -> Partition:
    """Add failed rows to the staged quarantine, once however often the step runs."""
    published = lake.read("quarantine", nights=[stage.night])
    return stage.write("quarantine", merged([stage.read("quarantine"), *failed], published=published))


def _write_page(lake: Lake, night: date, found: Sequence[TableSummary]) -> str:
    """Put `found` into the night's contract page, in place of what earlier steps said of the same tables; returns its path."""
    state = f"contract-{night.isoformat()}"
    before = lake.read_state(state)
    kept = {entry.table: entry for entry in summary.load(before)} if before and found[0].table != "raw" else {}
    together = tuple((kept | {entry.table: entry for entry in found}).values())
    lake.write_state(state, summary.dump(together))
    html = render_summaries(together, night=night, title=TITLE)
    return lake.write_file(f"_reports/{night.isoformat()}/contract.html", html.encode())


def _say(night: date, run_id: str, rows: int, judged: Judged, repeats: int) -> None:
    log.info(
        "night %s, run %s: %d raw rows, %d articles, %d quarantined, %d exact repeats",
        night,
        run_id,
        rows,
        judged.articles.num_rows,
        judged.quarantine.num_rows,
        repeats,
    )
