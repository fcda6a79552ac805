"""What scoring found, as tables: a row an article, a row a mention, a row a failure.

Does not cover: what is scored how (models.scoring), and when (models.engine).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from data_contracts.labels import SENTIMENT
from models.extract import joined
from models.findings import Found, Judgements
from models.scoring import Answered
from models.spans import Spans

_CHANCES = [(f"p_{label}", pa.float32()) for label in SENTIMENT]
_ARTICLES = [
    ("sentiment", pa.string()),
    *_CHANCES,
    *((name, pa.int32()) for name in ("tokens_scored", "tokens_total", "windows")),
    ("topics", pa.list_(pa.string())),
    ("summary", pa.string()),
]
_MENTIONS = [
    ("start", pa.int32()),
    ("end", pa.int32()),
    ("text", pa.string()),
    ("type", pa.string()),
    ("score", pa.float32()),
    ("entity_sentiment", pa.string()),
    *((f"entity_{name}", kind) for name, kind in _CHANCES),
    ("relevance", pa.float32()),
]


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


def joined_tables(parts: Sequence[Prediction]) -> Prediction:
    """Several as one; one at least."""
    return Prediction(
        articles=pa.concat_tables([one.articles for one in parts]),
        mentions=pa.concat_tables([one.mentions for one in parts]),
        failures=pa.concat_tables([one.failures for one in parts]),
    )


def nothing(identity: pa.DataType) -> Prediction:
    """Of no row whose id is of that type."""
    ids = pa.chunked_array([], type=identity)
    return predicted(ids, [], {})


def predicted(ids: pa.ChunkedArray, answered: Sequence[Answered], unread: Mapping[int, str]) -> Prediction:
    """The tables of texts with these ids (texts,), from what each bundle says of them; `unread` says why some could not be read at all.

    A text fails as a whole where one of the bundles has nothing to say of it.
    """
    errors: dict[int, str] = {}
    for one in (*reversed(answered),):
        errors.update(one.errors)
    errors.update(unread)
    failed = np.isin(np.arange(len(ids)), list(errors))
    kept, lost = np.flatnonzero(~failed), np.flatnonzero(failed)
    return Prediction(
        articles=_table(ids, kept, _articles(answered, kept), _ARTICLES),
        mentions=_mentions(ids, answered, failed),
        failures=_table(ids, lost, {"error": [errors[row] for row in lost.tolist()]}, [("error", pa.string())]),
    )


def _articles(answered: Sequence[Answered], kept: np.ndarray) -> dict[str, object]:
    columns: dict[str, object] = {}
    for one in answered:
        if "sentiment" in one.probabilities:
            rows = one.probabilities["sentiment"][kept]
            columns["sentiment"] = np.asarray(SENTIMENT, dtype=object)[rows.argmax(axis=1)]
            columns |= {f"p_{label}": rows[:, number].astype(np.float32) for number, label in enumerate(SENTIMENT)}
        if one.topics is not None:
            columns["topics"] = [list(one.topics[row]) for row in kept.tolist()]
        if one.extracts is not None:
            parts = {row: [(part.start, part.end) for part in one.extracts[row]] for row in kept.tolist()}
            columns["summary"] = [joined(one.texts[row], some) or None for row, some in parts.items()]
    for one in answered[:1]:
        counts = {"tokens_scored": one.tokens_scored, "tokens_total": one.tokens_total, "windows": one.windows}
        columns |= {name: values[kept].astype(np.int32) for name, values in counts.items()}
    return columns


def _mentions(ids: pa.ChunkedArray, answered: Sequence[Answered], failed: np.ndarray) -> pa.Table:
    """What an entity head found, with what is said of it where that is asked for; else what is said of what its own head finds."""
    asked = next((one for one in answered if one.judge is not None), None)
    named = next((one for one in answered if one.found is not None), None)
    said: Judgements | None = None
    if named is not None and named.found is not None:
        found = named.found.where(~failed[named.found.spans.texts])
        said = None if asked is None or asked.judge is None else asked.judge(found.spans)
        return _mention_rows(ids, found, named.texts, said)
    if asked is not None and asked.judge is not None:
        own = asked.judge(None)
        own = own.where(~failed[own.spans.texts])
        found = Found(spans=own.spans, types=["MISC"] * len(own.spans), scores=own.scores)
        return _mention_rows(ids, found, asked.texts, own)
    return _table(ids, np.zeros(0, dtype=np.int64), {}, _MENTIONS)


def _mention_rows(ids: pa.ChunkedArray, found: Found, texts: Sequence[str], said: Judgements | None) -> pa.Table:
    spans: Spans = found.spans
    columns: dict[str, object] = {
        "start": spans.starts.astype(np.int32),
        "end": spans.ends.astype(np.int32),
        "text": spans.strings(texts),
        "type": found.types,
        "score": found.scores.astype(np.float32),
    }
    if said is not None:
        columns["entity_sentiment"] = np.asarray(SENTIMENT, dtype=object)[said.chances.argmax(axis=1)]
        columns["relevance"] = said.relevance.astype(np.float32)
        columns |= {
            f"entity_p_{label}": said.chances[:, number].astype(np.float32) for number, label in enumerate(SENTIMENT)
        }
    return _table(ids, spans.texts, columns, _MENTIONS)


def _table(
    ids: pa.ChunkedArray, rows: np.ndarray, columns: Mapping[str, object], fields: Sequence[tuple[str, pa.DataType]]
) -> pa.Table:
    """The ids of some rows and their columns, null where a column is not given."""
    nulls = pa.nulls(len(rows))
    arrays = [pa.array(columns[name], type=kind) if name in columns else nulls.cast(kind) for name, kind in fields]
    schema = pa.schema([("id", ids.type), *fields])
    return pa.table([ids.take(pa.array(rows, type=pa.int64())), *arrays], schema=schema)
