"""Shadow scoring: what a candidate would have said of recent nights, beside what the champion says of the same articles.

Figures on labelled data say how good a model is on that data; they do not say what changes on the desk the morning it serves. So both models
score the same published articles of the lake's last nights, and nothing of it is published: the shares of the classes, how sure each is, and
every article on which they differ, the surest differences shown first. For entities, and for what is said of them, the same with mentions.

Not covered: topics and summaries; which of two answers is right, since nobody labelled these articles.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from data_contracts.labels import SENTIMENT
from models.engine import Prediction, Predictor
from tasks.lake import Lake
from tasks.narrow import narrowed
from tasks.step import step

logger = logging.getLogger(__name__)

EXAMPLES = 10


@dataclass(frozen=True, kw_only=True)
class Flip:
    """An article or mention of which the models say different things; confidences in [0, 1]."""

    text: str
    champion: str
    candidate: str
    champion_confidence: float
    candidate_confidence: float


@dataclass(frozen=True, kw_only=True)
class Shadow:
    """Two models on the same articles. Shares are of articles (sentiment) or of mentions (entities and their sentiment), in [0, 1].

    `flipped` is the share of articles whose class differs; for entities the share of mentions that only one of the models finds so.
    """

    task: str
    nights: int
    articles: int
    champion_shares: Mapping[str, float]
    candidate_shares: Mapping[str, float]
    champion_confidence: float
    candidate_confidence: float
    flipped: float
    flips: tuple[Flip, ...]

    @property
    def said(self) -> str:
        """The counts in a line."""
        return f"{self.flipped:.1%} differ on {self.articles} articles of {self.nights} nights"

    @property
    def shift(self) -> float:
        """The largest change of a class's share, in [0, 1]."""
        labels = {*self.champion_shares, *self.candidate_shares}
        return max(
            (abs(self.candidate_shares.get(label, 0.0) - self.champion_shares.get(label, 0.0)) for label in labels),
            default=0.0,
        )


@step("shadow")
def shadow(
    lake_url: str, *, task: str, champion: str, candidate: str, nights: int, max_articles: int, scratch: str
) -> Shadow | None:
    """Both models on the articles of the lake's last nights; None where the lake has none, or the task has no such comparison.

    Args:
        lake_url: where the lake is; it is only read.
        task: "sentiment", "ner" or "entity_sentiment"; others are not compared.
        champion: the bundle that serves.
        candidate: the bundle that would.
        nights: how many of the last published nights are looked at.
        max_articles: at most so many articles, chosen by a hash of their ids, the same for every run.
        scratch: a directory for copies of joint bundles with the task's head alone.
    """
    if task not in ("sentiment", "ner", "entity_sentiment"):
        return None
    lake = Lake.open(lake_url)
    recent = lake.nights("articles")[-nights:] if nights else []
    articles = _sample(lake, recent, max_articles) if recent else pl.DataFrame()
    if articles.is_empty():
        logger.info("shadow scoring of %s: the lake has no articles yet", task)
        return None
    texts = articles.select("id", "title", "body").to_arrow()
    said = [
        Predictor([narrowed(Path(bundle), (task,), Path(scratch))]).predict(texts) for bundle in (champion, candidate)
    ]
    if task == "sentiment":
        return _sentiment(articles, said[0], said[1], nights=len(recent))
    return _mentions(articles, said[0], said[1], task=task, nights=len(recent))


def _sample(lake: Lake, nights: Sequence[object], max_articles: int) -> pl.DataFrame:
    """Articles (id, title, body) of these nights, each text once: the story's first telling where that is known."""
    columns = ["article_id", "version", "title", "body", "is_canonical"]
    read = pl.DataFrame(pl.from_arrow(lake.read("articles", nights=list(nights), columns=columns)))  # type: ignore[arg-type]
    told = read.filter(pl.col("is_canonical").fill_null(value=True)).with_columns(
        id=pl.format("{}:{}", "article_id", "version")
    )
    order = [hashlib.sha256(one.encode()).hexdigest() for one in told["id"].to_list()]
    return told.with_columns(order=pl.Series(order, dtype=pl.String)).sort("order").head(max_articles)


def _sentiment(articles: pl.DataFrame, champion: Prediction, candidate: Prediction, *, nights: int) -> Shadow:
    sides = [
        pl.DataFrame(pl.from_arrow(one.articles)).select(
            "id", label="sentiment", sure=pl.max_horizontal(f"p_{label}" for label in SENTIMENT)
        )
        for one in (champion, candidate)
    ]
    both = sides[0].join(sides[1], on="id", suffix="_new").join(articles.select("id", "title"), on="id")
    differ = both.filter(pl.col("label") != pl.col("label_new"))
    surest = differ.sort(pl.min_horizontal("sure", "sure_new"), "id", descending=[True, False]).head(EXAMPLES)
    return Shadow(
        task="sentiment",
        nights=nights,
        articles=len(both),
        champion_shares=_shares(both["label"].to_list(), SENTIMENT),
        candidate_shares=_shares(both["label_new"].to_list(), SENTIMENT),
        champion_confidence=_mean(both["sure"]),
        candidate_confidence=_mean(both["sure_new"]),
        flipped=len(differ) / max(1, len(both)),
        flips=tuple(
            Flip(
                text=row["title"] or "",
                champion=row["label"],
                candidate=row["label_new"],
                champion_confidence=row["sure"],
                candidate_confidence=row["sure_new"],
            )
            for row in surest.to_dicts()
        ),
    )


def _mentions(articles: pl.DataFrame, champion: Prediction, candidate: Prediction, *, task: str, nights: int) -> Shadow:
    key = ["id", "start", "end", "type"]
    old, new = (pl.DataFrame(pl.from_arrow(one.mentions)) for one in (champion, candidate))
    if task == "entity_sentiment":
        said = {
            "type": pl.col("entity_sentiment"),
            "score": pl.max_horizontal(f"entity_p_{label}" for label in SENTIMENT),
        }
        old, new = old.with_columns(**said), new.with_columns(**said)
    lost, found = old.join(new, on=key, how="anti"), new.join(old, on=key, how="anti")
    flips = [_one_sided(row, gained=False) for row in lost.to_dicts()]
    flips += [_one_sided(row, gained=True) for row in found.to_dicts()]
    flips.sort(key=lambda one: (-max(one.champion_confidence, one.candidate_confidence), one.text))
    union = len(old) + len(found)
    types = sorted({*old["type"].to_list(), *new["type"].to_list()})
    return Shadow(
        task=task,
        nights=nights,
        articles=len(articles),
        champion_shares=_shares(old["type"].to_list(), types),
        candidate_shares=_shares(new["type"].to_list(), types),
        champion_confidence=_mean(old["score"]),
        candidate_confidence=_mean(new["score"]),
        flipped=(len(lost) + len(found)) / max(1, union),
        flips=tuple(flips[:EXAMPLES]),
    )


def _one_sided(row: Mapping[str, object], *, gained: bool) -> Flip:
    """A mention that only one of the models finds."""
    score, kind = float(str(row["score"])), str(row["type"])
    return Flip(
        text=str(row["text"]),
        champion="-" if gained else kind,
        candidate=kind if gained else "-",
        champion_confidence=0.0 if gained else score,
        candidate_confidence=score if gained else 0.0,
    )


def _shares(found: Sequence[str], labels: Sequence[str]) -> dict[str, float]:
    counts = Counter(found)
    return {label: counts[label] / max(1, len(found)) for label in labels}


def _mean(values: pl.Series) -> float:
    mean = values.mean()
    return float(mean) if isinstance(mean, int | float) else 0.0
