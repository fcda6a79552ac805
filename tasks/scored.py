"""The staged scored tables held to their contracts, without touching the lake; no article may go missing between articles and scores.

What goes with what: a scored article that fails takes its mentions out of `entity_mentions` (its kept row has them nested), and when
anything was taken out, `daily_entity_sentiment` is summed again from the mentions that are left. Articles that broke the model are in
the staged quarantine already (stage "score", row_id "article_id:version"); they count as failed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.daily import CONTRACT as DAILY
from data_contracts.mentions import CONTRACT as MENTIONS
from data_contracts.quarantine import CONTRACT as QUARANTINE
from data_contracts.schema import Contract
from data_contracts.scores import CONTRACT as SCORES
from data_contracts.summary import MAX_EXAMPLES, MAX_ROW_CHARACTERS, ExampleRow, TableSummary, summarise, top_reasons
from data_contracts.validate import Verdict, check
from tasks.daily import daily_of
from tasks.judge import RowsUnaccounted
from tasks.quarantine import SCORING, Share, quarantined

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Held:
    """Tables to stage by name, quarantine rows to add, summaries for the page, and the failed shares to hold to the limit."""

    tables: Mapping[str, pa.Table]
    quarantine: pa.Table
    summaries: tuple[TableSummary, ...]
    shares: tuple[Share, ...]


def hold(
    *,
    articles: pa.Table,
    scored: pa.Table,
    mentions: pa.Table,
    daily: pa.Table,
    quarantine: pa.Table,
    night: date,
    now: datetime,
) -> Held:
    """Check the three scored tables of a night against their contracts and against its articles.

    Raises:
        RowsUnaccounted: an article is neither scored nor quarantined, or a scored row or mention belongs to no article.
    """
    score_verdict = check(scored, SCORES)
    newly_failed = quarantined(score_verdict, SCORES, night=night, now=now)
    broke = _of_stages(quarantine, SCORING)
    out = _of_stages(pa.concat_tables([quarantine, newly_failed]), SCORING, SCORES.name)
    _account(articles, score_verdict.passed, out, mentions)

    with_article = _with_article(mentions, score_verdict.passed)
    mention_verdict = check(with_article, MENTIONS)
    taken_out = mentions.num_rows - mention_verdict.passed.num_rows
    if taken_out:
        log.warning(
            "night %s: %d mentions went out with their articles or failed; summing entities again", night, taken_out
        )
        daily = daily_of(mention_verdict.passed)
    daily_verdict = check(daily, DAILY)
    checked: tuple[tuple[Contract, Verdict], ...] = (
        (SCORES, score_verdict),
        (MENTIONS, mention_verdict),
        (DAILY, daily_verdict),
    )
    return Held(
        tables={contract.name: verdict.passed for contract, verdict in checked},
        quarantine=pa.concat_tables([quarantined(v, contract, night=night, now=now) for contract, v in checked]),
        summaries=(
            _model_summary(articles, broke),
            *(summarise(contract.name, verdict) for contract, verdict in checked),
        ),
        shares=(
            Share(table="articles to score", rows=articles.num_rows, reasons=tuple(out.column("reason").to_pylist())),
            *(Share.of(contract.name, verdict) for contract, verdict in checked[1:]),
        ),
    )


def _account(articles: pa.Table, scored: pa.Table, quarantine: pa.Table, mentions: pa.Table) -> None:
    """Ids in == ids out + quarantined, each once; and no mention without an article."""
    given, came = _keys(articles), _keys(scored)
    failed = set(quarantine.column("row_id").to_pylist())
    missing = sorted(set(given) - set(came) - failed)
    extra = sorted(set(came) - set(given))
    stray = sorted(set(_keys(mentions)) - set(given))
    if missing or extra or stray or len(came) != len(set(came)):
        raise RowsUnaccounted(
            f"{len(given)} articles were to be scored, {len(came)} are, {len(failed)} are in quarantine: "
            f"{len(missing)} are in neither {missing[:3]}, {len(extra)} scored rows have no article {extra[:3]}, "
            f"{len(stray)} articles named by mentions are none of the night's {stray[:3]}; allowed is none of each"
        )


def _keys(table: pa.Table) -> list[str]:
    pairs = zip(table.column("article_id").to_pylist(), table.column("version").to_pylist(), strict=True)
    return [f"{article}:{version}" for article, version in pairs]


def _with_article(mentions: pa.Table, scored: pa.Table) -> pa.Table:
    kept = set(_keys(scored))
    return mentions.filter(pa.array([key in kept for key in _keys(mentions)], type=pa.bool_()))


def _of_stages(quarantine: pa.Table, *stages: str) -> pa.Table:
    return QUARANTINE.conform(quarantine.filter(pc.is_in(quarantine.column("stage"), pa.array(stages))))


def _model_summary(articles: pa.Table, broke: pa.Table) -> TableSummary:
    """What the model could not score, as the page shows it."""
    rows = broke.to_pylist()
    return TableSummary(
        table=SCORING,
        rows=articles.num_rows,
        passed=articles.num_rows - len(rows),
        quarantined=len(rows),
        results=(),
        reasons=top_reasons([row["reason"] for row in rows]),
        examples=tuple(
            ExampleRow(reason=row["reason"], detail=row["detail"], row=row["row"][:MAX_ROW_CHARACTERS])
            for row in rows[:MAX_EXAMPLES]
        ),
    )
