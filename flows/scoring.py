"""Score a JSONL file of one's own into two Parquet files, outside the lake.

A line that cannot be read or scored goes to `failures.jsonl` with its number and its reason; the others are scored. Half of a UTF-16 pair in
a title or a body is read as U+FFFD; in an id it fails the line, since the id could not be given back. Entities of every score are kept, and
`entity_sentiment_score` says of each what it says in the lake: p_positive - p_negative, null where no model was asked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts.errors import Skippable
from flows.settings import Settings
from flows.showing import bars
from flows.wiring import backend_of
from models.batching import drawn
from models.engine import Predictor
from tasks.backends import TEXTS, settle_backends
from tasks.registry import Registry

CHUNK_ROWS = 512
ALLOWED = 'allowed: {"id", "title", "body"}'


class NotAnArticle(Skippable):
    """A line is no article."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What scoring a file gave."""

    scored: int
    mentions: int
    failed: int


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the file, by its number from 1, and the article it holds."""

    number: int
    raw: bytes
    key: str
    title: str | None
    body: str | None


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A line that could not be scored, and why."""

    number: int
    raw: bytes
    error: str

    def to_json(self) -> str:
        """Its line in `failures.jsonl`."""
        return json.dumps({"line": self.number, "error": self.error, "row": self.raw.decode("utf-8", "replace")})


def score_file(source: Path, output: Path, model: str, settings: Settings, *, backend: str | None = None) -> Summary:
    """Score a JSONL file into `scored_articles.parquet` and `entity_mentions.parquet` in `output`, and failures beside them.

    Raises:
        OSError: the file cannot be read, or `output` cannot be written.
    """
    bundles = Registry(settings.mlflow_uri, settings.home / "bundles").serving(
        [one.strip() for one in model.split(",")]
    )
    output.mkdir(parents=True, exist_ok=True)
    lines, failures = read(source)
    config, token_budget = backend_of(settings, backend), settings.cluster.batch_tokens()
    if lines:
        texts = [f"{line.title or ''}\n{line.body or ''}" for line in drawn(lines, TEXTS)]
        settle_backends(bundles, config, texts=texts, rows=len(lines), token_budget=token_budget)
    predictor = Predictor(bundles, token_budget=token_budget, backend=config.name, cache=config.cache)
    empty = predictor.predict(_table([], 0))
    articles, mentions = [_named(empty.articles, lines)], [_named(empty.mentions, lines)]
    with bars() as progress:
        bar = progress.add_task("scoring", total=len(lines))
        tables = (_table(chunk, start) for start, chunk in _chunks(lines))
        for found in predictor.stream(batch for table in tables for batch in table.to_batches()):
            articles.append(_named(found.articles, lines))
            mentions.append(_named(found.mentions, lines))
            for position, error in zip(
                found.failures["id"].to_pylist(), found.failures["error"].to_pylist(), strict=True
            ):
                line = lines[int(position)]
                failures.append(Failure(number=line.number, raw=line.raw, error=error))
            progress.advance(bar, found.articles.num_rows + found.failures.num_rows)
    scored, named = pa.concat_tables(articles).drop_columns(["windows"]), pa.concat_tables(mentions)
    scored = scored.append_column("model_digest", pa.array([predictor.digest] * scored.num_rows, pa.string()))
    _write(output, scored, _with_score(named), sorted(failures, key=lambda failure: failure.number))
    return Summary(scored=scored.num_rows, mentions=named.num_rows, failed=len(failures))


def read(source: Path) -> tuple[list[Line], list[Failure]]:
    """The lines of a JSONL file that hold an article, and those that do not. Blank lines are passed over."""
    lines, failures = [], []
    with source.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if raw.strip():
                try:
                    lines.append(_line(number, raw.rstrip(b"\r\n")))
                except NotAnArticle as error:
                    failures.append(Failure(number=number, raw=raw.rstrip(b"\r\n"), error=str(error)))
    return lines, failures


def _line(number: int, raw: bytes) -> Line:
    """One line as an article.

    Raises:
        NotAnArticle: what is wrong with it.
    """
    try:
        row = json.loads(raw.decode("utf-8-sig"))
    except RecursionError as error:
        raise NotAnArticle("not JSON that can be read: nested too deeply") from error
    except ValueError as error:  # no JSON, no UTF-8, a number of thousands of digits
        raise NotAnArticle(f"not JSON that can be read: {error}") from error
    if not isinstance(row, dict) or not isinstance(row.get("id"), str | int) or isinstance(row.get("id"), bool):
        raise NotAnArticle(f'given a row without a text or number "id"; {ALLOWED}')
    key, title, body = str(row["id"]), row.get("title"), row.get("body")
    if key != _whole(key):
        raise NotAnArticle('"id" holds half of a UTF-16 pair; allowed is text that UTF-8 can hold')
    if not isinstance(title, str | None) or not isinstance(body, str | None):
        raise NotAnArticle("title and body must be text or null")
    if not (title or body):
        raise NotAnArticle("title and body are both empty")
    return Line(
        number=number,
        raw=raw,
        key=key,
        title=None if title is None else _whole(title),
        body=None if body is None else _whole(body),
    )


def _whole(text: str) -> str:
    """The text with each half of a UTF-16 pair replaced by U+FFFD, so that offsets stay."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _chunks(lines: list[Line]) -> Iterator[tuple[int, list[Line]]]:
    """Consecutive chunks with the position of their first line."""
    iterator = iter(lines)
    start = 0
    while chunk := list(islice(iterator, CHUNK_ROWS)):
        yield start, chunk
        start += len(chunk)


def _table(lines: list[Line], start: int) -> pa.Table:
    """Rows for the predictor, keyed by position, because a user's ids may repeat."""
    return pa.table(
        {
            "id": pa.array([str(start + i) for i in range(len(lines))], pa.string()),
            "title": pa.array([line.title for line in lines], pa.string()),
            "body": pa.array([line.body for line in lines], pa.string()),
        }
    )


def _named(table: pa.Table, lines: list[Line]) -> pa.Table:
    """The user's own ids put back."""
    ids = pa.array([lines[int(position)].key for position in table["id"].to_pylist()], pa.string())
    return table.set_column(table.schema.get_field_index("id"), "id", ids)


def _with_score(mentions: pa.Table) -> pa.Table:
    """Mentions with what is said of each as one number, -1 to 1 (float32), before their relevance."""
    positive, negative = (mentions[f"entity_p_{label}"].cast(pa.float64()) for label in ("positive", "negative"))
    score = pc.subtract(positive, negative).cast(pa.float32())
    return mentions.add_column(mentions.schema.get_field_index("relevance"), "entity_sentiment_score", score)


def _write(output: Path, scored: pa.Table, mentions: pa.Table, failures: list[Failure]) -> None:
    """All files under temporary names first, then each into its place; no file of failures when there is none."""
    drafts = {}
    try:
        for name, table in (("scored_articles.parquet", scored), ("entity_mentions.parquet", mentions)):
            drafts[name] = output / f".{name}.{os.getpid()}"
            pq.write_table(table, drafts[name])
        if failures:
            drafts["failures.jsonl"] = output / f".failures.jsonl.{os.getpid()}"
            drafts["failures.jsonl"].write_text("".join(f"{one.to_json()}\n" for one in failures), encoding="utf-8")
        for draft in drafts.values():
            with draft.open("rb") as file:
                os.fsync(file.fileno())
        for name, draft in drafts.items():
            draft.rename(output / name)
        if not failures:
            (output / "failures.jsonl").unlink(missing_ok=True)
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
