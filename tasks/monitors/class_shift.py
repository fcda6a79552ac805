"""Raises an alert when the shares of negative, neutral and positive news differ strongly from those of the last nights.

In prose: each story counts once, by the label of its first article that did not abstain. Let p be tonight's shares and q the shares of all
stories of the last nights together. The size of the shift is the Jensen-Shannon distance, the square root of the mean of the two
Kullback-Leibler divergences (base 2) of p and q to their middle; it lies in [0, 1], is 0 for equal shares, and stays finite when a class is
empty (Lin 1991, "Divergence measures based on the Shannon entropy"). An alert is raised when it is at least `min_distance`, and the shift is
also no chance of a small night: the chi-squared test of both counts gives less than `max_p`.

The effect size decides and does not grow with the number of rows; the test alone would call every difference of a large enough night an
alarm (Lin, Lucas, Shmueli 2013, "Too big to fail: large samples and the p-value problem"). 0.15 is about Cohen's w = 0.35, a medium effect
(Cohen 1988): for instance from 20/50/30 to 35/42/23 percent. Not covered: whether the world or the model changed; the message says
when tonight's model is not that of the last nights.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from data_contracts.alerts import Alert
from data_contracts.labels import SENTIMENT
from tasks.monitors import ARTICLE_KEY, NightView, raised

ARTICLE_COLUMNS = (*ARTICLE_KEY, "story_id", "novelty_rank")
SCORE_COLUMNS = (*ARTICLE_KEY, "sentiment", "model_digest", "abstained")


@dataclass(frozen=True, kw_only=True)
class Config:
    """How large a shift is news.

    Attributes:
        nights: earlier nights that make the usual shares.
        min_nights: earlier nights without which nothing is raised.
        min_rows: stories tonight, and in the earlier nights together, without which nothing is raised.
        min_distance: least Jensen-Shannon distance, in [0, 1]; from twice this on the alert is critical.
        max_p: greatest p-value of the chi-squared test.
    """

    nights: int = 14
    min_nights: int = 3
    min_rows: int = 50
    min_distance: float = 0.15
    max_p: float = 0.001


def check(view: NightView, config: Config, now: dt.datetime) -> list[Alert]:
    """At most one alert, about the shares of the sentiment labels."""
    past = view.nights(config.nights)
    if len(past) < max(config.min_nights, 1):
        return []
    scores = view.tonight("scored_articles", SCORE_COLUMNS)
    earlier = view.history("scored_articles", config.nights, SCORE_COLUMNS)
    tonight = _counts(scores, view.tonight("articles", ARTICLE_COLUMNS))
    usual = _counts(earlier, view.history("articles", config.nights, ARTICLE_COLUMNS))
    if min(sum(tonight), sum(usual)) < max(config.min_rows, 1):
        return []
    distance = jensen_shannon_distance(tonight, usual)
    if distance < config.min_distance or chi_squared_p(tonight, usual) >= config.max_p:
        return []
    shares = ", ".join(
        f"{label} {count / sum(tonight):.0%} (usual {before / sum(usual):.0%})"
        for label, count, before in zip(SENTIMENT, tonight, usual, strict=True)
    )
    other = set(scores["model_digest"]) - set(earlier["model_digest"])
    message = (
        f"The shares of the sentiment classes shifted over {sum(tonight)} stories: {shares}; Jensen-Shannon distance {distance:.2f} "
        f"to the last {len(past)} nights ({sum(usual)} stories)" + ("; the model is not theirs." if other else ".")
    )
    return [
        raised(
            view,
            now,
            monitor="class_shift",
            subject="sentiment",
            severity="critical" if distance >= 2 * config.min_distance else "warning",
            message=message,
            value=distance,
            baseline=0.0,
            threshold=config.min_distance,
            of_model=True,
        )
    ]


def jensen_shannon_distance(one: Sequence[int], other: Sequence[int]) -> float:
    """The distance in [0, 1] of two distributions given as counts over the same classes."""
    p = [count / sum(one) for count in one]
    q = [count / sum(other) for count in other]
    divergence = 0.0
    for a, b in zip(p, q, strict=True):
        middle = (a + b) / 2
        divergence += sum(share * math.log2(share / middle) for share in (a, b) if share) / 2
    return math.sqrt(max(divergence, 0.0))


def chi_squared_p(one: Sequence[int], other: Sequence[int]) -> float:
    """The chance of a shift at least this large between two samples of one distribution over three classes.

    The statistic of two binned samples with unequal totals has two degrees of freedom for three classes, for which the tail of the
    chi-squared distribution is exp(-x / 2) exactly (Press et al. 2007, "Numerical Recipes", section 14.3).
    """
    ratio = math.sqrt(sum(other) / sum(one))
    statistic = sum((ratio * a - b / ratio) ** 2 / (a + b) for a, b in zip(one, other, strict=True) if a + b)
    return math.exp(-statistic / 2)


def _counts(scores: pl.DataFrame, articles: pl.DataFrame) -> list[int]:
    """Stories by label, in the order of SENTIMENT; a story that went on for nights counts once a night."""
    stories = articles.unique(ARTICLE_KEY)
    sure = scores.filter(~pl.col("abstained").fill_null(value=False))
    joined = sure.join(stories, on=ARTICLE_KEY, how="left")
    joined = joined.with_columns(story=pl.coalesce("story_id", "article_id")).sort(
        "run_date", "novelty_rank", "article_id", "version", nulls_last=True
    )
    firsts = joined.unique(["run_date", "story"], keep="first", maintain_order=True)
    by_label = dict(firsts.group_by("sentiment").len().iter_rows())
    return [by_label.get(label, 0) for label in SENTIMENT]
