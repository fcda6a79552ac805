"""Scoring a night: staged articles in, the three scored tables staged, and no article lost on the way.

An article version that has a published score keeps it, to the byte, unless `rescore` is asked for; only the others are scored, by a pool
(`tasks.pool`). They are cut into shards, and a run that was stopped finds its finished shards and scores the rest; so it finds those that
were scored ahead, with other nights' (`tasks.score_nights`).

With `whole`, a night into which an article came, or from which one went, is scored again as far as the same models scored it: the last bit
of a score depends on what lies beside a text in its batch, and so the night is to the bit as if it had been scored at once. A row that says
what the published one says keeps its times.

An article that the model cannot score goes to the staged quarantine (stage "score") with the model's own words. Articles without a body are scored on
their title. Not covered: several models side by side (shadow scores), and keeping the scores that a rescore replaced other than in the
lake's history.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.quarantine import CONTRACT as QUARANTINE
from data_contracts.quarantine import QuarantineRow
from data_contracts.scores import CONTRACT as SCORES
from data_contracts.summary import as_json
from models.batching import drawn
from models.engine import Prediction
from models.prediction import nothing
from tasks.backends import FLOAT32, TEXTS, BackendConfig
from tasks.cluster import ClusterConfig
from tasks.daily import daily_of, mentions_of
from tasks.lake import Lake, Stage
from tasks.pool import Pool
from tasks.provenance import remember
from tasks.quarantine import SCORING, merged, quarantine_id
from tasks.shards import Shard, cut, gather
from tasks.step import step
from tasks.times import keep_times

logger = logging.getLogger(__name__)

REASON = "text.not_scored"
KEY = ["article_id", "version"]
ENTITY = {
    "mention_text": "text",
    "mention_type": "type",
    "ner_score": "score",
    "mention_start": "start",
    "mention_end": "end",
    "entity_sentiment": "entity_sentiment",
    "entity_sentiment_score": "entity_sentiment_score",
    "relevance": "relevance",
}


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What scoring a night did; `model_digest` names the models asked for, `where` is "nothing", "process" or "ray"."""

    new: int
    kept: int
    failed: int
    mentions: int
    model_digest: str
    where: str

    @property
    def said(self) -> str:
        """The counts in a line."""
        return (
            f"{self.new} scored ({self.where}), {self.kept} kept, {self.failed} failed, {self.mentions} entity mentions"
        )


@step("score")
def score(
    lake_url: str,
    *,
    night: date,
    now: datetime,
    run_id: str,
    bundles: Sequence[str],
    cluster: ClusterConfig,
    rescore: bool = False,
    whole: bool = False,
    pool: Pool | None = None,
    min_ner_score: float = 0.5,
    min_confidence: float = 0.0,
    backend: BackendConfig = FLOAT32,
) -> Scored:
    """Score the staged articles of a night and stage the scored tables.

    Args:
        lake_url: where the lake is.
        night: whose staged articles.
        now: `scored_at` and `available_at` of new rows, UTC; rows already published keep theirs.
        run_id: of the run, for the log.
        bundles: directories of the models; together they serve each task at most once, and sentiment in any case.
        cluster: how Ray is used, and from how many rows on.
        rescore: score again what has a published score.
        whole: score again what the same models scored, where an article came or went.
        pool: what scores, opened by the caller with the same bundles, cluster and backend; by default one of its own.
        min_ner_score: mentions below this probability (0 to 1) are left out of `entity_mentions` and the daily sums.
        min_confidence: articles whose label is less probable than this (0 to 1) abstain; scores already published keep what they say.
        backend: what computes the models, and what it has to agree on with float32 first.
    """
    lake = Lake.open(lake_url)
    stage = lake.stage(night)
    with ExitStack() as mine:
        if pool is None:
            pool = mine.enter_context(Pool(lake_url, bundles, cluster=cluster, backend=backend))
        work = Work.of(lake, night, pool.digest, rescore=rescore, whole=whole)
        prediction, where = nothing(pa.string()), "nothing"
        if len(work.todo):
            model = pool.model(work.sample, len(work.todo))
            shards = work.shards(stage, cluster)
            where = pool.finish(shards, model)
            prediction = gather(shards, stage, model)
        digest = pool.digest
    fresh = _scored(work.todo, prediction, night=night, now=now, digest=digest, min_confidence=min_confidence)
    order = work.articles.select(KEY).with_row_index("place")
    scored = pl.concat([work.kept, fresh]).join(order, on=KEY).sort("place").drop("place")
    table = SCORES.conform(scored.select(SCORES.schema.names))
    if whole:
        table = keep_times(
            table, lake.read("scored_articles", nights=[night]), key=KEY, times=("scored_at", "available_at")
        )
    mentions = mentions_of(table, min_ner_score=min_ner_score)
    failures = _failures(work.todo, prediction.failures, night=night, now=now)
    stage.write("daily_entity_sentiment", daily_of(mentions))
    stage.write("entity_mentions", mentions)
    _quarantine(lake, stage, failures)
    stage.write("scored_articles", table)
    if len(fresh):
        remember(lake, digest, bundles)
    kept = len(work.kept)
    logger.info("run %s: %d scored, %d kept, %d failed (%s)", run_id, len(fresh), kept, len(failures), where)
    return Scored(
        new=len(fresh),
        kept=kept,
        failed=len(failures),
        mentions=mentions.num_rows,
        model_digest=digest,
        where=where,
    )


@dataclass(frozen=True)
class Work:
    """A night's staged articles, the published scores that they keep, and what is left to score (with an `id`)."""

    articles: pl.DataFrame
    kept: pl.DataFrame
    todo: pl.DataFrame

    @staticmethod
    def of(lake: Lake, night: date, digest: str, *, rescore: bool, whole: bool) -> Work:
        """What `digest` has to do."""
        articles = pl.DataFrame(pl.from_arrow(lake.stage(night).read("articles")))
        published = pl.DataFrame(pl.from_arrow(lake.read("scored_articles", nights=[night])))
        kept = published.clear() if rescore else _as_now(published, articles)
        if whole:
            text = [*KEY, "content_hash"]
            before = pl.DataFrame(pl.from_arrow(lake.read("articles", nights=[night], columns=text)))
            same = articles.select(text).join(before, on=text, how="semi")
            kept = kept.join(same, on=KEY, how="semi")
            if not len(same) == len(articles) == len(before):
                kept = kept.filter(pl.col("model_digest") != digest)
        todo = articles.join(kept, on=KEY, how="anti").with_columns(id=pl.format("{}:{}", "article_id", "version"))
        return Work(articles, kept, todo)

    def shards(self, stage: Stage, cluster: ClusterConfig) -> list[Shard]:
        """What is left to score, cut and staged."""
        return cut(self.todo.select("id", "title", "body").to_arrow(), stage, rows_per_shard=cluster.rows_per_shard)

    def sample(self) -> list[str]:
        """Some of the texts left to score, evenly drawn, as the engine reads them."""
        rows = self.todo[drawn(range(len(self.todo)), TEXTS)]
        return [f"{title or ''}\n{body or ''}" for title, body in rows.select("title", "body").iter_rows()]


def _as_now(published: pl.DataFrame, articles: pl.DataFrame) -> pl.DataFrame:
    """The published scores of these articles: the same text, so the same score, with address and times as they may have been corrected."""
    shared = ["source", "url", "published_at", "first_seen_at"]
    return published.drop(shared).join(articles.select(*KEY, *shared), on=KEY).select(published.columns)


def _scored(
    todo: pl.DataFrame, prediction: Prediction, *, night: date, now: datetime, digest: str, min_confidence: float
) -> pl.DataFrame:
    """Articles and answers -> rows of `scored_articles`."""
    answers = pl.DataFrame(pl.from_arrow(prediction.articles))
    found = pl.DataFrame(pl.from_arrow(prediction.mentions)).sort("id", "start", "end", "type")
    towards = (pl.col("entity_p_positive") - pl.col("entity_p_negative")).clip(-1.0, 1.0)
    found = found.with_columns(entity_sentiment_score=towards.cast(pl.Float32))
    nested = found.group_by("id").agg(entities=pl.struct(pl.col(old).alias(new) for new, old in ENTITY.items()))
    joined = todo.join(answers, on="id").join(nested, on="id", how="left")
    rows = joined.with_columns(
        pl.col("entities").fill_null([]),
        run_date=pl.lit(night),
        scored_at=pl.lit(now),
        available_at=pl.lit(now),
        sentiment_score=(pl.col("p_positive") - pl.col("p_negative")).cast(pl.Float32),
        model_digest=pl.lit(digest),
        abstained=pl.max_horizontal("p_negative", "p_neutral", "p_positive") < min_confidence,
    )
    return pl.DataFrame(pl.from_arrow(SCORES.conform(rows.select(SCORES.schema.names))))


def _failures(todo: pl.DataFrame, failures: pa.Table, *, night: date, now: datetime) -> list[QuarantineRow]:
    """What could not be scored -> rows of `quarantine`."""
    joined = todo.join(pl.DataFrame(pl.from_arrow(failures)), on="id")
    return [
        QuarantineRow(
            quarantine_id=quarantine_id(SCORING, row["id"], REASON),
            run_date=night,
            stage=SCORING,
            source=row["source"],
            row_id=row["id"],
            reason=REASON,
            detail=row["error"] or "the model gave no reason",
            row=as_json({name: row[name] for name in todo.columns if name != "id"}),
            quarantined_at=now,
        )
        for row in joined.iter_rows(named=True)
    ]


def _quarantine(lake: Lake, stage: Stage, failures: Sequence[QuarantineRow]) -> None:
    """Put failures into the staged quarantine, in place of those of an earlier try; a row already published keeps its time."""
    staged = stage.read("quarantine") if stage.exists("quarantine") else QUARANTINE.empty()
    others = staged.filter(pc.not_equal(staged["stage"], SCORING))
    published = lake.read("quarantine", nights=[stage.night])
    stage.write("quarantine", merged([others, QUARANTINE.table(failures)], published=published))
