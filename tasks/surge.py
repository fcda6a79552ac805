"""How many stories about each entity a night brought, which of these counts surge against the entity's own past, and the alerts about these.

In prose: the count of an entity on a night is the number of distinct stories (`story_id`, else the article itself) among that night's
articles that mention the entity and, where a sentiment is asked for, carry that sentiment and did not abstain. Six copies of one wire story
count once. The history is the counts of the last nights that exist; a night without a mention counts 0. An entity surges when its count is at least
`min_stories` and its robust z-score (`tasks.baseline`) is at least `min_z`.

Not covered: entities under two names (see `tasks.entities`), and stories that go on for nights: each night counts them anew.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from data_contracts.alerts import Alert
from tasks.baseline import Baseline
from tasks.monitors import ARTICLE_KEY, NightView, Severity, raised

MENTION_COLUMNS = (*ARTICLE_KEY, "entity", "mention_text", "sentiment", "sentiment_score", "abstained")
ARTICLE_COLUMNS = (*ARTICLE_KEY, "story_id", "novelty_rank")


@dataclass(frozen=True, kw_only=True)
class Surge:
    """One entity that surges tonight.

    Attributes:
        entity, display_name: the key, and how most mentions write it.
        stories: distinct stories tonight.
        articles: distinct articles tonight, copies included.
        z: robust z-score of `stories`.
        baseline: what is usual.
        article_ids: one article a story, the first of its story; by sentiment score ascending.
    """

    entity: str
    display_name: str
    stories: int
    articles: int
    z: float
    baseline: Baseline
    article_ids: tuple[str, ...]


class Limits(Protocol):
    """From where on a count is a surge: what the settings of a monitor of surges hold."""

    @property
    def nights(self) -> int:
        """Earlier nights that make the baseline."""

    @property
    def min_nights(self) -> int:
        """Earlier nights without which nothing surges."""

    @property
    def min_stories(self) -> int:
        """Stories tonight without which nothing surges."""

    @property
    def min_z(self) -> float:
        """Least robust z-score."""


def surge_alerts(
    view: NightView,
    limits: Limits,
    now: dt.datetime,
    *,
    monitor: str,
    sentiment: str | None,
    usual: Severity,
    grave: Severity,
) -> list[Alert]:
    """One alert for each entity that surges tonight, the strongest first; `grave` from twice the least z-score on."""
    found = surges(
        view,
        sentiment=sentiment,
        nights=limits.nights,
        min_nights=limits.min_nights,
        min_stories=limits.min_stories,
        min_z=limits.min_z,
    )
    past = len(view.nights(limits.nights))
    return [
        raised(
            view,
            now,
            monitor=monitor,
            subject=surge.entity,
            severity=grave if surge.z >= 2 * limits.min_z else usual,
            message=_message(surge, f"{sentiment} " if sentiment else "", past),
            value=float(surge.stories),
            baseline=surge.baseline.median,
            threshold=max(float(limits.min_stories), surge.baseline.count_at(limits.min_z)),
            article_ids=surge.article_ids,
            of_model=True,
        )
        for surge in found
    ]


def _message(surge: Surge, tone: str, past: int) -> str:
    return (
        f"{(tone + 'news').capitalize()} about {surge.display_name} surged: {surge.stories} {tone}stories ({surge.articles} articles) "
        f"tonight; the median of the last {past} night{'s' if past != 1 else ''} is {surge.baseline.median:g} "
        f"(robust z {surge.z:.1f})."
    )


def surges(
    view: NightView, *, sentiment: str | None, nights: int, min_nights: int, min_stories: int, min_z: float
) -> list[Surge]:
    """The entities that surge tonight, the largest z-score first; none with fewer than `min_nights` earlier nights."""
    past = view.nights(nights)
    if len(past) < max(min_nights, 1):
        return []
    tonight = _with_stories(
        view.tonight("entity_mentions", MENTION_COLUMNS), view.tonight("articles", ARTICLE_COLUMNS), sentiment
    )
    if tonight.is_empty():
        return []
    earlier = _with_stories(
        view.history("entity_mentions", nights, MENTION_COLUMNS),
        view.history("articles", nights, ARTICLE_COLUMNS),
        sentiment,
    )
    counts = earlier.group_by("entity", "run_date").agg(pl.col("story").n_unique())
    history: dict[str, list[int]] = {}
    for entity, count in counts.select("entity", "story").iter_rows():
        history.setdefault(entity, []).append(count)
    found = []
    loud = tonight.group_by("entity").agg(pl.col("story").n_unique()).filter(pl.col("story") >= min_stories)
    for entity, count in loud.iter_rows():
        seen = history.get(entity, [])
        baseline = Baseline.of(seen + [0] * (len(past) - len(seen)))
        if baseline.z(count) >= min_z:
            found.append(_surge(entity, count, baseline, tonight.filter(pl.col("entity") == entity)))
    return sorted(found, key=lambda surge: (-surge.z, surge.entity))


def _with_stories(mentions: pl.DataFrame, articles: pl.DataFrame, sentiment: str | None) -> pl.DataFrame:
    """Mentions of the sentiment asked for, and sure of it, with `story` and the article's rank in it."""
    if sentiment is not None:
        mentions = mentions.filter((pl.col("sentiment") == sentiment) & ~pl.col("abstained").fill_null(value=False))
    stories = articles.unique(ARTICLE_KEY)
    joined = mentions.join(stories, on=ARTICLE_KEY, how="left")
    return joined.with_columns(story=pl.coalesce("story_id", "article_id"))


def _surge(entity: str, count: int, baseline: Baseline, mentions: pl.DataFrame) -> Surge:
    names = mentions.group_by("mention_text").len().sort("len", "mention_text", descending=[True, False])
    firsts = mentions.sort("novelty_rank", "article_id", "version", nulls_last=True).unique(
        "story", keep="first", maintain_order=True
    )
    leads = firsts.sort("sentiment_score", "article_id")
    return Surge(
        entity=entity,
        display_name=names["mention_text"][0],
        stories=count,
        articles=mentions["article_id"].n_unique(),
        z=baseline.z(count),
        baseline=baseline,
        article_ids=tuple(leads["article_id"]),
    )
