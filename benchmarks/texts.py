"""The texts that are measured on: public news and labelled sets of a directory that is never shipped, or the shipped sample's own.

The directory holds news/{reuters,guardian,cnbc}_headlines.csv (a date and a headline a line), news/crypto_news.json (an array of articles with title
and content) and labelled/TASK/NAME.{train,dev}.jsonl. Where it is not there, `Missing` says so. Does not cover: how texts become tables
(benchmarks.parquet).
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.figure import Missing
from data_contracts.labelled import read_labelled
from data_contracts.labels import TASKS

SAMPLE = Path(__file__).parents[1] / "flows" / "sample"
LABELLED = {"sentiment": "phrasebank", "ner": "finer_ord", "entity_sentiment": "sentfin"}
PAPERS = ("reuters", "guardian", "cnbc")

Article = tuple[str, str | None]  # a title and a body


def joined(article: Article) -> str:
    """An article as the text that is scored: title, line break, body."""
    title, body = article
    return f"{title}\n{body or ''}"


def headlines(data: Path | None, rows: int) -> list[Article]:
    """The first headlines of Reuters, as titles without bodies; the shipped sample's sentences without a directory."""
    if data is None:
        return _sample(rows)
    return [(title, None) for title in islice(_titles(data, "reuters"), rows)]


def articles(data: Path | None, rows: int) -> list[Article]:
    """Full articles of the crypto-market news, `rows` of them, all where that is 0."""
    if data is None:
        raise Missing(
            "the shipped sample has no full articles; name the directory of the public data sets with --data DIR"
        )
    file = _there(data / "news" / "crypto_news.json")
    found = [(one["title"] or "", one["content"] or None) for one in json.loads(file.read_text(encoding="utf-8"))]
    return found[:rows] if rows else found


def varied(data: Path | None, rows: int, *, seed: int = 0) -> Iterator[Article]:
    """As many headlines as wanted, drawn from all real ones, each with a number of its own, so that no two are equal."""
    titles = [title for name in PAPERS for title in _titles(data, name)] if data else [one[0] for one in _sample(1000)]
    draw = random.Random(seed)
    return ((f"{draw.choice(titles)} {number}", None) for number in range(rows))


def _sample(rows: int) -> list[Article]:
    """Texts of the shipped sample: its labelled sentences as headlines, again and again with a number where more are wanted."""
    parts = [SAMPLE / "labelled" / f"sentiment.{part}.jsonl" for part in ("train", "dev")]
    lines = [line for part in parts for line in part.read_text(encoding="utf-8").splitlines()]
    texts = [json.loads(line)["text"] for line in lines]
    return [
        (texts[row % len(texts)] + (f" {row // len(texts)}" if row >= len(texts) else ""), None) for row in range(rows)
    ]


def labelled(data: Path | None) -> Mapping[str, Path]:
    """A file of labelled examples a task: the shipped sample's dev parts, or, with a directory, the public sets' for the tasks of LABELLED."""
    shipped = {task: SAMPLE / "labelled" / f"{task}.dev.jsonl" for task in TASKS}
    public = {} if data is None else LABELLED
    return shipped | {
        task: _there(Path(data or "") / "labelled" / task / f"{name}.dev.jsonl") for task, name in public.items()
    }


def examples(files: Mapping[str, Path]) -> dict[str, Sequence[Any]]:
    """The labelled examples of each task's file."""
    return {task: read_labelled(file, task).examples for task, file in files.items()}


def paper(data: Path, name: str) -> Path:
    """The file of one of PAPERS."""
    return _there(data / "news" / f"{name}_headlines.csv")


def _titles(data: Path, name: str) -> Iterator[str]:
    with paper(data, name).open(encoding="utf-8", newline="") as file:
        yield from (row[1] for row in csv.reader(file) if len(row) > 1 and row != ["date", "headlines"])


def _there(path: Path) -> Path:
    if not path.is_file():
        raise Missing(f"{path} is not there; name the directory of the public data sets with --data DIR")
    return path
