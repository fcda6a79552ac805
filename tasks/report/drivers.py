"""Which words drove the score of an alert's lead article: the sentence that speaks most for its label, with the weight of each word.

Computed when the page is written, with the very bundle that scored the article, found by its digest among the bundles named, the registered
versions and the narrowed ones. Where it is there no longer, or cannot be explained, the page says so instead. Kept cheap: the first article
of each alert that rests on the model's scores, at most ten a night, three sentences each. What a weight is, models.explain says.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from tasks.lake import Lake
from tasks.provenance import recall
from tasks.registry import Registry
from tasks.report.night import Night

if TYPE_CHECKING:
    from models.bundle import Bundle
    from models.explain import Explainer
    from models.explanation import Explanation

logger = logging.getLogger(__name__)

MOST_ARTICLES = 10
SENTENCES = 3  # an article, those that moved it most; the one that speaks most for the label is shown
TASK = "sentiment"


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A stretch of the sentence; `strength` in [0, 1] is how loudly it speaks, `speaks_for` whether for the label."""

    text: str
    strength: float
    speaks_for: bool


@dataclass(frozen=True, kw_only=True)
class Drivers:
    """Why an article has its label: the pieces of one sentence, or the `reason` why that is not shown."""

    label: str = ""
    pieces: tuple[Piece, ...] = ()
    reason: str = ""


def drivers_of(lake: Lake, night: Night, registry: Registry, bundles: Iterable[str] = ()) -> dict[str, Drivers]:
    """By article id, for the lead article of each alert of the night that rests on a model."""
    leads = _leads(night)
    if leads.is_empty():
        return {}
    texts = pl.DataFrame(
        pl.from_arrow(lake.read("articles", nights=[night.night], columns=["article_id", "version", "title", "body"]))
    )
    asked = leads.join(texts, on=["article_id", "version"], how="left")
    found: dict[str, Drivers] = {}
    for (digest,), rows in asked.group_by("model_digest", maintain_order=True):
        explainer = _explainer(lake, str(digest), registry, bundles)
        for row in rows.iter_rows(named=True):
            found[row["article_id"]] = _drivers(
                explainer, f"{row['title'] or ''}\n{row['body'] or ''}", row["sentiment"]
            )
    return found


def _leads(night: Night) -> pl.DataFrame:
    """The last version of the first article of each alert that rests on a model."""
    first = [
        row["article_ids"][0]
        for row in night.alerts.sort("alert_key").iter_rows(named=True)
        if row["model_digest"] and row["article_ids"]
    ]
    kept = list(dict.fromkeys(first))[:MOST_ARTICLES]
    scored = night.scored.filter(pl.col("article_id").is_in(kept)).sort("article_id", "version")
    return scored.unique("article_id", keep="last", maintain_order=True).select(
        "article_id", "version", "sentiment", "model_digest"
    )


def _explainer(lake: Lake, digest: str, registry: Registry, bundles: Iterable[str]) -> Explainer | str:
    """What explains scores of a digest, or why nothing can."""
    from models.explain import Explainer

    wanted = {str(one["digest"]) for one in recall(lake, digest) if TASK in one.get("labels", {})} or {digest}
    try:
        for bundle in _known(registry, bundles):
            if bundle.digest in wanted and TASK in bundle.heads:
                return Explainer(bundle, most_windows=SENTENCES)
    except Exception as error:  # a damaged bundle must not cost the night its report
        logger.exception("no explanation with the model %s", digest)
        return f"the model {digest[:16]} cannot be read: {error}"
    return f"the model {digest[:16]} that scored it is not in the registry"


def _known(registry: Registry, bundles: Iterable[str]) -> Iterator[Bundle]:
    """The bundles named, the registered versions, the newest first, and those cut down to some of their heads."""
    from models.bundle import MANIFEST, load

    narrowed = (path.parent for path in registry.artifact_root.glob(f"narrowed/*/{MANIFEST}"))
    registered = (version.path for version in reversed(registry.candidates(TASK)))
    for path in (*map(Path, bundles), *registered, *narrowed):
        if (path / MANIFEST).is_file():
            yield load(path)


def _drivers(explainer: Explainer | str, text: str, label: str) -> Drivers:
    if isinstance(explainer, str):
        return Drivers(reason=explainer)
    try:
        return Drivers(label=label, pieces=tuple(_pieces(explainer.sentiment(text, label=label))))
    except Exception as error:  # whatever a model or a text does, the page goes on
        logger.exception("an article could not be explained")
        return Drivers(reason=f"it could not be explained: {error}")


def _pieces(found: Explanation) -> Iterator[Piece]:
    """The explained passage cut at its words, what stands between them with no strength."""
    passage = max((one for one in found.passages if one.words), key=lambda one: one.margin)
    loudest = max((abs(word.weight) for word in passage.words), default=0.0) or 1.0
    at = passage.start
    for word in passage.words:
        if word.start > at:
            yield Piece(text=found.text[at : word.start], strength=0.0, speaks_for=True)
        yield Piece(text=word.text, strength=abs(word.weight) / loudest, speaks_for=word.weight > 0)
        at = word.end
