"""Labelled files to learn from, read line by line: JSON lines, UTF-8, one example a line, a format a task.

| task | a line |
| --- | --- |
| sentiment | `{"text", "label": "negative", "agreement": 75}`, or neutral, or positive; the agreement, in percent, may be missing |
| topics | `{"text", "topics": ["earnings", "deals"]}`; none is an answer too |
| ner | `{"tokens": [...], "tags": [...]}`, IOB2 |
| entity_sentiment | `{"text", "entities": [{"start", "end", "label"}]}`; characters of the text, end exclusive |
| summary | `{"text", "summary"}` |

A line that is no example is kept with its number, its reason and its text; how many are too many is for the caller. Exact repeats stay
examples and are reported. `labelled_check.py` holds the same examples against a Great Expectations contract.
"""

from dataclasses import dataclass
from pathlib import Path

from data_contracts.errors import Fatal
from data_contracts.labelled_examples import (
    EntitySentimentExample,
    EntitySpan,
    Example,
    NerExample,
    SentimentExample,
    SummaryExample,
    TopicsExample,
)
from data_contracts.labelled_lines import READERS, NotAnExample, iob2_breach, parse, shared_sentiment

__all__ = [
    "EntitySentimentExample",
    "EntitySpan",
    "Example",
    "Labelled",
    "NerExample",
    "NotAnExample",
    "Rejected",
    "SentimentExample",
    "SummaryExample",
    "TopicsExample",
    "UnknownTask",
    "iob2_breach",
    "read_labelled",
]

MAX_KEPT_CHARACTERS = 2000


class UnknownTask(Fatal):
    """No labelled format has that name."""


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A line that is no example: its number from 1, why, and its text (at most 2,000 characters)."""

    line: int
    reason: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """What a file held: examples with the line each came from, rejected lines, and the lines that repeat an earlier one exactly.

    `undecided` are the lines of entity_sentiment, read for sentiment, whose entities do not share one label; they are left out, not wrong.
    """

    task: str
    path: str
    examples: tuple[Example, ...]
    lines: tuple[int, ...]
    rejected: tuple[Rejected, ...]
    duplicates: tuple[int, ...]
    undecided: tuple[int, ...] = ()


def read_labelled(path: str | Path, task: str, *, entity_rows: bool = False) -> Labelled:
    """Read a UTF-8 JSON lines file of a task. Blank lines are passed over.

    With `entity_rows` a file of "sentiment" may hold lines of entity_sentiment too, each a sentence with the label that all its entities share:
    more to learn from, but never to be measured on.
    """
    if task not in READERS:
        raise UnknownTask(f"no labelled format is called {task!r}; allowed are {', '.join(READERS)}")
    examples: list[Example] = []
    lines: list[int] = []
    rejected: list[Rejected] = []
    undecided: list[int] = []
    first_seen: dict[Example, int] = {}
    duplicates: list[int] = []
    with Path(path).open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if not raw.strip():
                continue
            try:
                example = _example(raw, task, entity_rows=entity_rows)
            except NotAnExample as error:
                text = raw.decode("utf-8", errors="replace").strip()[:MAX_KEPT_CHARACTERS]
                rejected.append(Rejected(line=number, reason=str(error), text=text))
                continue
            if example is None:
                undecided.append(number)
                continue
            examples.append(example)
            lines.append(number)
            if first_seen.setdefault(example, number) != number:
                duplicates.append(number)
    return Labelled(
        task=task,
        path=str(path),
        examples=tuple(examples),
        lines=tuple(lines),
        rejected=tuple(rejected),
        duplicates=tuple(duplicates),
        undecided=tuple(undecided),
    )


def _example(raw: bytes, task: str, *, entity_rows: bool) -> Example | None:
    given = parse(raw)
    if entity_rows and task == "sentiment" and "entities" in given and "label" not in given:
        return shared_sentiment(given)
    return READERS[task](given)
