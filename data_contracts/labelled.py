"""Labelled examples to learn from: what one is, and how the JSON lines of each task are read, line by line.

A line that is no example is kept with its number, its reason and its text; how many are too many is for the caller. Nothing is
repaired: IOB2 tags where an I- does not continue an entity of its own type are rejected, and so are spans that leave the text and spans
labelled twice (a name within a longer name is fine). Exact repeats stay examples and are reported. Kept free of pydantic and Arrow, so that
a training worker reads its data with little
installed; `labelled_check.py` holds the same examples against a Great Expectations contract.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from data_contracts.errors import Fatal, Skippable
from data_contracts.labels import NER_TAGS, SENTIMENT

MAX_KEPT_CHARACTERS = 2000


class NotAnExample(Skippable):
    """A line is no example of its task; `read_labelled` turns it into a `Rejected`."""


class UnknownTask(Fatal):
    """No labelled format has that name."""


@dataclass(frozen=True, kw_only=True)
class SentimentExample:
    """A sentence and its sentiment; `agreement` is the share of annotators that agreed, in percent, where it is known."""

    text: str
    label: str
    agreement: int | None = None


@dataclass(frozen=True, kw_only=True)
class NerExample:
    """Words and their IOB2 tags, as many of one as of the other."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class EntitySpan:
    """Characters start (inclusive) to end (exclusive) of the text, and the sentiment about what they name."""

    start: int
    end: int
    label: str


@dataclass(frozen=True, kw_only=True)
class EntitySentimentExample:
    """A text and the sentiment about each entity in it."""

    text: str
    entities: tuple[EntitySpan, ...]


Example = SentimentExample | NerExample | EntitySentimentExample


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A line that is no example: its number from 1, why, and its text (at most 2,000 characters)."""

    line: int
    reason: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """What a file held: examples with the line each came from, rejected lines, and the lines that repeat an earlier one exactly."""

    task: str
    path: str
    examples: tuple[Example, ...]
    lines: tuple[int, ...]
    rejected: tuple[Rejected, ...]
    duplicates: tuple[int, ...]


def read_labelled(path: str | Path, task: str) -> Labelled:
    """Read a UTF-8 JSON lines file of `task`: "sentiment", "ner" or "entity_sentiment". Blank lines are passed over."""
    if task not in READERS:
        raise UnknownTask(f"no labelled format is called {task!r}; allowed are {', '.join(READERS)}")
    examples: list[Example] = []
    lines: list[int] = []
    rejected: list[Rejected] = []
    first_seen: dict[Example, int] = {}
    duplicates: list[int] = []
    with Path(path).open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if not raw.strip():
                continue
            try:
                example = READERS[task](_object(raw))
            except NotAnExample as error:
                text = raw.decode("utf-8", errors="replace").strip()[:MAX_KEPT_CHARACTERS]
                rejected.append(Rejected(line=number, reason=str(error), text=text))
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
    )


def iob2_breach(tags: tuple[str, ...]) -> str | None:
    """Why `tags` are no IOB2 sequence: an I- that does not follow a B- or I- of its own type. None when they are one."""
    before = "O"
    for position, tag in enumerate(tags):
        if tag.startswith("I-") and before[2:] != tag[2:]:
            return f"tag {position} is {tag} after {before}; allowed after B-{tag[2:]} or I-{tag[2:]} only"
        before = tag
    return None


def _object(raw: bytes) -> Mapping[str, object]:
    try:
        found = json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise NotAnExample(f"not UTF-8: {error.reason} at byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise NotAnExample(f"bad JSON: {error}") from error
    if not isinstance(found, dict):
        raise NotAnExample(f"given a JSON {type(found).__name__}, allowed is an object")
    return found


def _sentiment(given: Mapping[str, object]) -> SentimentExample:
    agreement = given.get("agreement")
    if agreement is not None and (
        isinstance(agreement, bool) or not isinstance(agreement, int) or not 0 <= agreement <= 100
    ):
        raise NotAnExample(f"agreement: given {agreement!r}, allowed are whole percents from 0 to 100")
    return SentimentExample(text=_text(given), label=_label(given), agreement=agreement)


def _ner(given: Mapping[str, object]) -> NerExample:
    tokens, tags = _words(given, "tokens"), _words(given, "tags")
    if len(tokens) != len(tags):
        raise NotAnExample(f"{len(tokens)} tokens and {len(tags)} tags; allowed is one tag a token")
    if not tokens:
        raise NotAnExample("no tokens; allowed is at least one")
    empty = [position for position, token in enumerate(tokens) if not token.strip()]
    if empty:
        raise NotAnExample(f"token {empty[0]} is empty; allowed is text")
    unknown = sorted(set(tags) - set(NER_TAGS))
    if unknown:
        raise NotAnExample(f"unknown tags {', '.join(map(repr, unknown))}; allowed are {', '.join(NER_TAGS)}")
    breach = iob2_breach(tags)
    if breach:
        raise NotAnExample(breach)
    return NerExample(tokens=tokens, tags=tags)


def _entity_sentiment(given: Mapping[str, object]) -> EntitySentimentExample:
    text = _text(given)
    entities = _field(given, "entities")
    if not isinstance(entities, list):
        raise NotAnExample(f"entities: given {type(entities).__name__}, allowed is a list")
    spans = tuple(_span(entity, len(text)) for entity in entities)
    places = [(span.start, span.end) for span in spans]
    twice = next((place for place in places if places.count(place) > 1), None)
    if twice:
        raise NotAnExample(
            f"the entity from {twice[0]} to {twice[1]} is given twice; allowed is one label a span (spans may overlap)"
        )
    return EntitySentimentExample(text=text, entities=spans)


def _span(given: object, length: int) -> EntitySpan:
    if not isinstance(given, dict):
        raise NotAnExample(f"entities: given an item of type {type(given).__name__}, allowed are objects")
    start, end = _field(given, "start"), _field(given, "end")
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= length:
        raise NotAnExample(
            f"entity from {start!r} to {end!r}; allowed are whole numbers 0 <= start < end <= {length} (the text's length)"
        )
    return EntitySpan(start=start, end=end, label=_label(given))


def _field(given: Mapping[str, object], name: str) -> object:
    if given.get(name) is None:
        raise NotAnExample(f"missing field {name!r}; given {', '.join(map(repr, given)) or 'none'}")
    return given[name]


def _text(given: Mapping[str, object]) -> str:
    text = _field(given, "text")
    if not isinstance(text, str) or not text.strip():
        raise NotAnExample("text is empty or no string; allowed is text")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise NotAnExample("text holds half of a UTF-16 pair; allowed is text that UTF-8 can hold")
    return text


def _label(given: Mapping[str, object]) -> str:
    label = _field(given, "label")
    if not isinstance(label, str) or label not in SENTIMENT:
        raise NotAnExample(f"unknown label {label!r}; allowed are {', '.join(SENTIMENT)}")
    return label


def _words(given: Mapping[str, object], name: str) -> tuple[str, ...]:
    words = _field(given, name)
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise NotAnExample(f"{name}: allowed is a list of strings")
    if any("\ud800" <= character <= "\udfff" for word in words for character in word):
        raise NotAnExample(f"{name}: half of a UTF-16 pair; allowed is text that UTF-8 can hold")
    return tuple(words)


READERS: dict[str, Callable[[Mapping[str, object]], Example]] = {
    "sentiment": _sentiment,
    "ner": _ner,
    "entity_sentiment": _entity_sentiment,
}
