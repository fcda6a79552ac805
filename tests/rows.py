"""Rows and small tables that tests of several files are built from; what matters to a test, the test gives itself."""

from datetime import datetime
from pathlib import Path

import pyarrow as pa

from data_contracts.scores import ScoredArticle, ScoredEntity
from tasks.lake import Lake


def entity(**given: object) -> ScoredEntity:
    fields: dict[str, object] = {
        "mention_text": "Acme",
        "mention_type": "ORG",
        "ner_score": 0.9,
        "mention_start": 0,
        "mention_end": 4,
    }
    return ScoredEntity(**(fields | given))  # type: ignore[arg-type]


def scored_article(at: datetime, **given: object) -> ScoredArticle:
    """A good row without entities, all of whose times are `at` and whose night is that day."""
    fields: dict[str, object] = {
        "article_id": "a",
        "version": 1,
        "run_date": at.date(),
        "source": "wire",
        "title": "Acme rises",
        "published_at": at,
        "first_seen_at": at,
        "scored_at": at,
        "available_at": at,
        "sentiment": "positive",
        "p_negative": 0.1,
        "p_neutral": 0.2,
        "p_positive": 0.7,
        "sentiment_score": 0.6,
        "tokens_scored": 3,
        "tokens_total": 3,
        "windows": 1,
        "entities": [],
        "model_digest": "d",
    }
    return ScoredArticle(**(fields | given))  # type: ignore[arg-type]


def ticks(*values: int) -> pa.Table:
    """A table of no contract: one row a value."""
    return pa.table({"article_id": [f"a{value}" for value in values], "value": pa.array(values, pa.int64())})


def files_below(lake: Lake, folder: str) -> set[str]:
    """Paths of the files under a folder of a local lake, relative to the lake."""
    base = Path(lake.root)
    return {path.relative_to(base).as_posix() for path in (base / folder).rglob("*") if path.is_file()}
