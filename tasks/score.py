"""Scoring a night: staged articles in, the three scored tables staged, and no article lost on the way.

An article version that has a published score keeps it, to the byte, unless `rescore` is asked for; only the others are scored. They are cut
into shards, and a run that was stopped finds its finished shards and scores the rest. With few rows, and no cluster named, they are scored in this
process, since starting Ray costs seconds; else on Ray. Both score the same shards with the same function, so both give the same rows.

What a shard's results are named after is decided here: the models, and the backend that was settled for them on this machine. A worker on
a machine of another kind, where nothing was settled, computes in float32 PyTorch, which every backend has been held against.

An article that the model cannot score goes to the staged quarantine (stage "score") with the model's own words. Articles without a body are scored on
their title. Not covered: several models side by side (shadow scores), and keeping the scores that a rescore replaced other than in the
lake's history.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.errors import Fatal
from data_contracts.quarantine import CONTRACT as QUARANTINE
from data_contracts.quarantine import QuarantineRow
from data_contracts.scores import CONTRACT as SCORES
from data_contracts.summary import as_json
from models.batching import drawn
from models.bundle import load
from models.engine import Prediction, Predictor, digest_of
from models.prediction import nothing
from tasks.backends import FLOAT32, TEXTS, BackendConfig, settle_backends
from tasks.cluster import ClusterConfig, ScoringJob, score_on_ray, session
from tasks.daily import daily_of, mentions_of
from tasks.lake import Lake, Stage
from tasks.provenance import remember
from tasks.quarantine import SCORING, merged, quarantine_id
from tasks.shards import cut, gather, model_name, score_shards, unfinished
from tasks.step import step

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
        min_ner_score: mentions below this probability (0 to 1) are left out of `entity_mentions` and the daily sums.
        min_confidence: articles whose label is less probable than this (0 to 1) abstain; scores already published keep what they say.
        backend: what computes the models, and what it has to agree on with float32 first.
    """
    lake = Lake.open(lake_url)
    stage = lake.stage(night)
    articles = pl.DataFrame(pl.from_arrow(stage.read("articles")))
    published = pl.DataFrame(pl.from_arrow(lake.read("scored_articles", nights=[night])))
    kept = published.clear() if rescore else _as_now(published, articles)
    todo = articles.join(kept, on=KEY, how="anti").with_columns(id=pl.format("{}:{}", "article_id", "version"))
    loaded = [load(bundle) for bundle in bundles]
    digest, served = digest_of(loaded), sorted(task for bundle in loaded for task in bundle.heads)
    if "sentiment" not in served:
        raise Fatal(f"the models {', '.join(bundles)} serve {', '.join(served)}; scored articles need sentiment")
    prediction, where = nothing(pa.string()), "nothing"
    if len(todo):
        settled = settle_backends(
            bundles, backend, texts=_sample(todo), rows=len(todo), token_budget=cluster.batch_tokens()
        )
        model = model_name(digest, settled)
        prediction, where = _predict(todo, stage, lake_url, bundles, cluster, backend, model=model)
    fresh = _scored(todo, prediction, night=night, now=now, digest=digest, min_confidence=min_confidence)
    order = articles.select(KEY).with_row_index("place")
    scored = pl.concat([kept, fresh]).join(order, on=KEY).sort("place").drop("place")
    table = SCORES.conform(scored.select(SCORES.schema.names))
    mentions = mentions_of(table, min_ner_score=min_ner_score)
    failures = _failures(todo, prediction.failures, night=night, now=now)
    stage.write("daily_entity_sentiment", daily_of(mentions))
    stage.write("entity_mentions", mentions)
    _quarantine(lake, stage, failures)
    stage.write("scored_articles", table)
    if len(fresh):
        remember(lake, digest, bundles)
    logger.info("run %s: %d scored, %d kept, %d failed (%s)", run_id, len(fresh), len(kept), len(failures), where)
    return Scored(
        new=len(fresh),
        kept=len(kept),
        failed=len(failures),
        mentions=mentions.num_rows,
        model_digest=digest,
        where=where,
    )


def _as_now(published: pl.DataFrame, articles: pl.DataFrame) -> pl.DataFrame:
    """The published scores of these articles: the same text, so the same score, with address and times as they may have been corrected."""
    shared = ["source", "url", "published_at", "first_seen_at"]
    return published.drop(shared).join(articles.select(*KEY, *shared), on=KEY).select(published.columns)


def _predict(
    todo: pl.DataFrame,
    stage: Stage,
    lake_url: str,
    bundles: Sequence[str],
    cluster: ClusterConfig,
    backend: BackendConfig,
    *,
    model: str,
) -> tuple[Prediction, str]:
    """The model's answers for `todo`, and where they were found."""
    shards = cut(todo.select("id", "title", "body").to_arrow(), stage, rows_per_shard=cluster.rows_per_shard)
    left = unfinished(shards, stage, model)
    if len(left) < len(shards):
        logger.info("%d of %d shards are finished already", len(shards) - len(left), len(shards))
    on_ray = bool(left) and (not cluster.local or sum(shard.rows for shard in left) >= cluster.min_rows)
    with session(cluster) if on_ray else nullcontext():
        if on_ray:
            job = ScoringJob(
                bundles=tuple(bundles),
                lake_url=lake_url,
                night=stage.night,
                model=model,
                cluster=cluster,
                backend=backend,
            )
            scored = score_on_ray(left, job)
        elif left:
            scorer = Predictor(bundles, token_budget=cluster.batch_tokens(), backend=backend.name, cache=backend.cache)
            scored = score_shards(scorer, left, stage, model=model)
        else:
            scored = iter(())
        for number, (shard, failed) in enumerate(scored, start=1):
            logger.info("scored shard %d of %d (%d rows, %d failed)", number, len(left), shard.rows, failed)
    return gather(shards, stage, model), "ray" if on_ray else "process"


def _sample(todo: pl.DataFrame) -> list[str]:
    """Some of the texts about to be scored, evenly drawn, as the engine reads them."""
    rows = todo[drawn(range(len(todo)), TEXTS)]
    return [f"{title or ''}\n{body or ''}" for title, body in rows.select("title", "body").iter_rows()]


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
