"""The Predictor: a table of articles in, three tables out, and no row lost on the way.

The text of an article is its title, a line break, its body; a missing title or body is read as empty. Every text with one token at least is
scored, emoji alone or a word of two million letters (one unknown token) included; a lone surrogate is read as U+FFFD. A text without
any token goes to the failures with that reason, and so does a row that a batch breaks on, once bisecting has found it.

Rows are taken in chunks, so memory does not grow with the table beyond its results; within a chunk windows are batched by length, and equal
windows are computed once. Does not cover: reduced precision and other runtimes; scores are float32 and do not depend on batch size, order
or neighbours (differences stay under 1e-5).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from data_contracts.errors import Fatal
from data_contracts.labels import SENTIMENT
from models.bundle import Bundle, BundleRefused, load
from models.extract import joined
from models.heads import EntityOpinion
from models.scoring import Scorer, TextScore

_CHUNK_ROWS = 512
_CHUNK_CHARACTERS = 2_000_000
_COLUMNS = ("id", "title", "body")


class TableRefused(Fatal):
    """The table has not the columns that are scored."""


@dataclass(frozen=True)
class Prediction:
    """What was found. articles: id, sentiment, p_negative, p_neutral, p_positive (float32), tokens_scored, tokens_total, windows (int32),
    topics (list of strings), summary (the sentences that carry the article).

    mentions: id, start, end (int32, characters of the text, end exclusive), text, type, score (float32), and what the text says of it:
    entity_sentiment, entity_p_negative, entity_p_neutral, entity_p_positive, relevance (float32). failures: id, error.
    Every id given stands either in articles or in failures, each in the order given; columns are null where no bundle serves their task.
    Where sentiment of entities is served and entities are not, its own spans are the mentions, of type MISC.
    """

    articles: pa.Table
    mentions: pa.Table
    failures: pa.Table


class Predictor:
    """Scores tables with one bundle, or with several that serve different tasks.

    `token_budget` bounds a batch (longest window x windows, in tokens). `threads` sets torch's threads for the whole process.
    `max_windows` caps a text's windows; what is left out shows as tokens_scored < tokens_total.
    """

    def __init__(
        self,
        bundles: Sequence[Path | str | Bundle],
        *,
        token_budget: int = 2048,
        threads: int | None = None,
        max_windows: int | None = None,
    ) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        loaded = [bundle if isinstance(bundle, Bundle) else load(bundle) for bundle in bundles]
        served = Counter(task for bundle in loaded for task in bundle.heads)
        twice = sorted(task for task, times in served.items() if times > 1)
        if not served or twice:
            given = ", ".join(f"{bundle.path} ({', '.join(bundle.heads)})" for bundle in loaded) or "none"
            raise BundleRefused(f"bundles given: {given}; allowed is one at least, and one a task (twice: {twice})")
        loaded.sort(key=lambda bundle: "sentiment" not in bundle.heads)
        self._scorers = [Scorer(bundle, token_budget=token_budget, max_windows=max_windows) for bundle in loaded]

    @property
    def digest(self) -> str:
        """The bundle's digest; of several, the sha256 of their sorted digests."""
        digests = sorted(scorer.bundle.digest for scorer in self._scorers)
        return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()

    @property
    def tasks(self) -> tuple[str, ...]:
        """What it answers, sorted."""
        return tuple(sorted(task for scorer in self._scorers for task in scorer.bundle.heads))

    def predict(self, table: pa.Table) -> Prediction:
        """Score a table with the columns id (of any type), title and body (strings)."""
        _check(table)
        parts = [self._chunk(chunk) for chunk in _chunks(table)] or [_Rows()]
        identity = table.schema.field("id").type
        built = [part.tables(identity) for part in parts]
        return Prediction(
            articles=pa.concat_tables([one.articles for one in built]),
            mentions=pa.concat_tables([one.mentions for one in built]),
            failures=pa.concat_tables([one.failures for one in built]),
        )

    def _chunk(self, rows: list[tuple[Any, str | Exception]]) -> _Rows:
        texts = ["" if isinstance(text, Exception) else text for _, text in rows]
        scores = [scorer.score(texts) for scorer in self._scorers]
        found = _Rows()
        for (identity, text), *said in zip(rows, *scores, strict=True):
            if isinstance(text, Exception):
                found.fail(identity, f"the text cannot be read: {type(text).__name__}: {text}")
            else:
                found.add(identity, said)
        return found


def _check(table: pa.Table) -> None:
    missing = [name for name in _COLUMNS if name not in table.column_names]
    if missing:
        raise TableRefused(f"the table to score has the columns {table.column_names}; it needs {', '.join(_COLUMNS)}")
    for name in ("title", "body"):
        kind = table.schema.field(name).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
            raise TableRefused(f"column {name} of the table to score is {kind}; allowed is string")


def _chunks(table: pa.Table) -> Iterator[list[tuple[Any, str | Exception]]]:
    """Rows as (id, text) in the table's order, so many that neither rows nor characters pass their bounds."""
    chunk: list[tuple[Any, str | Exception]] = []
    characters = 0
    for batch in table.select(_COLUMNS).to_batches(max_chunksize=_CHUNK_ROWS):
        for row in range(batch.num_rows):
            text = _text(batch, row)
            chunk.append((batch["id"][row].as_py(), text))
            characters += 0 if isinstance(text, Exception) else len(text)
            if len(chunk) >= _CHUNK_ROWS or characters >= _CHUNK_CHARACTERS:
                yield chunk
                chunk, characters = [], 0
    if chunk:
        yield chunk


def _text(batch: pa.RecordBatch, row: int) -> str | Exception:
    try:
        return f"{batch['title'][row].as_py() or ''}\n{batch['body'][row].as_py() or ''}"
    except UnicodeDecodeError as error:
        return error


@dataclass
class _Rows:
    """Results by column, as they grow."""

    articles: list[tuple[Any, ...]] = field(default_factory=list)
    mentions: list[tuple[Any, ...]] = field(default_factory=list)
    failures: list[tuple[Any, ...]] = field(default_factory=list)

    def fail(self, identity: Any, error: str) -> None:
        self.failures.append((identity, error))

    def add(self, identity: Any, said: Sequence[TextScore]) -> None:
        """A row from what each bundle says of it; it fails as a whole where one of them fails."""
        error = next((one.error for one in said if one.error is not None), None)
        if error is not None:
            self.fail(identity, error)
            return
        sentiment: tuple[Any, ...] = (None,) * (1 + len(SENTIMENT))
        for one in said:
            if "sentiment" in one.probabilities:
                probabilities = one.probabilities["sentiment"]
                sentiment = (SENTIMENT[int(probabilities.argmax())], *probabilities.tolist())
        self.mentions.extend((identity, *row) for row in _mentions(said))
        first = said[0]
        topics = next((list(one.topics) for one in said if one.topics is not None), None)
        summary = next((_summary(one) for one in said if one.extract is not None), None)
        self.articles.append(
            (identity, *sentiment, first.tokens_scored, first.tokens_total, first.windows, topics, summary)
        )

    def tables(self, identity: pa.DataType) -> Prediction:
        probabilities = [(f"p_{label}", pa.float32()) for label in SENTIMENT]
        counts = [(name, pa.int32()) for name in ("tokens_scored", "tokens_total", "windows")]
        more = [("topics", pa.list_(pa.string())), ("summary", pa.string())]
        places = [("start", pa.int32()), ("end", pa.int32()), ("text", pa.string())]
        found = [*places, ("type", pa.string()), ("score", pa.float32()), ("entity_sentiment", pa.string())]
        opinions = [(f"entity_{name}", kind) for name, kind in probabilities]
        return Prediction(
            articles=_table(
                self.articles, [("id", identity), ("sentiment", pa.string()), *probabilities, *counts, *more]
            ),
            mentions=_table(self.mentions, [("id", identity), *found, *opinions, ("relevance", pa.float32())]),
            failures=_table(self.failures, [("id", identity), ("error", pa.string())]),
        )


def _mentions(said: Sequence[TextScore]) -> Iterator[tuple[Any, ...]]:
    """Rows of `mentions` without their id: what an entity head found, with what is said of it where that is asked for."""
    asked = next((one for one in said if one.opine is not None), None)
    named = any(one.named for one in said)
    if not named and asked is not None and asked.opine is not None:
        for own in asked.opine(None):
            words = asked.text[own.start : own.end]
            yield (own.start, own.end, words, "MISC", own.score, *_opinion(own))
    for one in said:
        spans = [(mention.start, mention.end) for mention in one.mentions]
        opinions = asked.opine(spans) if asked is not None and asked.opine is not None else [None] * len(spans)
        for mention, opinion in zip(one.mentions, opinions, strict=True):
            words = one.text[mention.start : mention.end]
            yield (mention.start, mention.end, words, mention.type, mention.score, *_opinion(opinion))


def _summary(one: TextScore) -> str | None:
    """The sentences chosen, a line each; None for a text that has a title alone."""
    return joined(one.text, [(part.start, part.end) for part in one.extract or ()]) or None


def _opinion(one: EntityOpinion | None) -> tuple[Any, ...]:
    if one is None:
        return (None,) * (2 + len(SENTIMENT))
    return (one.sentiment, *(getattr(one, f"p_{label}") for label in SENTIMENT), one.relevance)


def _table(rows: list[tuple[Any, ...]], fields: list[tuple[str, pa.DataType]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(fields)
    arrays = [pa.array(column, type=kind) for column, (_, kind) in zip(columns, fields, strict=True)]
    return pa.table(arrays, schema=pa.schema(fields))
