"""Scored articles turned into the two tables that are read most: one row a mention, and one row an entity and night.

Both are pure functions of `scored_articles`, so a re-run over the same scores gives the same bytes. A mention counts when its probability
is at least `min_ner_score`; the scored articles keep the others too. How names become one entity is said in `tasks.entities`.

`daily_entity_sentiment` counts articles, not mentions, and an article once: of several versions in one night the last. `mean_score` is the
mean of the articles' sentiment scores, each article weighing the same however often it names the entity. `display_name` is the most
frequent wording, the longer and then the alphabetically first among equals. `available_at` is the latest of the rows summed, and
`model_digest` names every model that scored them, joined by ";".

Labels are counted by the article's own sentiment; what is said of the entity in particular, where a model was asked, is averaged over its
mentions in an article and then over the articles (`mean_entity_score`).

An article that abstained (its label is less probable than the settings' `min_confidence`) is counted as such and not under its label; its score,
which an unsure label leaves near 0, stays in the mean.

Not covered: counting a syndicated story once (`articles.story_id` has it).
"""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from data_contracts.daily import CONTRACT as DAILY
from data_contracts.mentions import CONTRACT as MENTIONS
from tasks.entities import entity_key, shared_keys

ORDER = ("entity", "published_at", "article_id", "version", "mention_start", "mention_end", "mention_type")


def mentions_of(scored: pa.Table, *, min_ner_score: float) -> pa.Table:
    """`scored_articles` -> `entity_mentions`, sorted by entity, then time."""
    frame = pl.DataFrame(pl.from_arrow(scored.drop_columns([n for n in ("url", "title") if n in scored.column_names])))
    found = frame.explode("entities").filter(pl.col("entities").is_not_null()).unnest("entities")
    found = found.filter(pl.col("ner_score") >= min_ner_score)
    if found.is_empty():
        return MENTIONS.empty()
    keyed = found.with_columns(entity=pl.Series(_keys(found), dtype=pl.String))
    return MENTIONS.conform(keyed.select(MENTIONS.schema.names).sort(ORDER))


def daily_of(mentions: pa.Table) -> pa.Table:
    """`entity_mentions` of one or more nights -> `daily_entity_sentiment`, sorted by night, entity and type."""
    if mentions.num_rows == 0:
        return DAILY.empty()
    key = ["run_date", "entity", "mention_type"]
    frame = pl.DataFrame(pl.from_arrow(mentions))
    last = frame.filter(pl.col("version") == pl.col("version").max().over("article_id", "run_date"))
    towards = last.group_by([*key, "article_id"]).agg(towards=pl.col("entity_sentiment_score").cast(pl.Float64).mean())
    articles = last.unique([*key, "article_id"], keep="first", maintain_order=True).join(
        towards, on=[*key, "article_id"], maintain_order="left"
    )
    score = pl.col("sentiment_score").cast(pl.Float64).mean()
    sure = ~pl.col("abstained").fill_null(value=False)
    summed = articles.group_by(key).agg(
        articles=pl.len(),
        negative=((pl.col("sentiment") == "negative") & sure).sum(),
        neutral=((pl.col("sentiment") == "neutral") & sure).sum(),
        positive=((pl.col("sentiment") == "positive") & sure).sum(),
        abstained=(~sure).sum(),
        mean_score=score.clip(-1.0, 1.0),
        mean_entity_score=pl.col("towards").sort_by("article_id").mean().clip(-1.0, 1.0),
        available_at=pl.col("available_at").max(),
        model_digest=pl.col("model_digest").unique().sort().str.join(";"),
    )
    daily = summed.join(last.group_by(key).agg(mentions=pl.len()), on=key).join(_display_names(last, key), on=key)
    daily = daily.with_columns(negative_share=pl.col("negative") / pl.col("articles")).sort(key)
    return DAILY.conform(daily.select(DAILY.schema.names))


def _keys(found: pl.DataFrame) -> list[str]:
    """The entity of each mention, in the order given."""
    rows = list(found.select("article_id", "version", "mention_text", "mention_type").iter_rows())
    own = [(entity_key(text, kind), kind) for _, _, text, kind in rows]
    by_article: dict[tuple[str, int], set[tuple[str, str]]] = {}
    for (article, version, _, _), pair in zip(rows, own, strict=True):
        by_article.setdefault((article, version), set()).add(pair)
    shared = {article: shared_keys(pairs) for article, pairs in by_article.items()}
    return [shared[article, version][pair] for (article, version, _, _), pair in zip(rows, own, strict=True)]


def _display_names(mentions: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """The most frequent wording of each entity."""
    counted = mentions.group_by([*key, "mention_text"]).agg(times=pl.len())
    ranked = counted.with_columns(length=pl.col("mention_text").str.len_chars())
    ordered = ranked.sort(
        [*key, "times", "length", "mention_text"], descending=[False] * len(key) + [True, True, False]
    )
    return ordered.unique(key, keep="first", maintain_order=True).select(
        [*key, pl.col("mention_text").alias("display_name")]
    )
