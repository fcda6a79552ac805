"""One line of a labelled file, as JSON, becomes one example of its task, or an error that says why it is none.

Nothing is repaired: IOB2 tags where an I- does not continue an entity of its own type are refused, and so are spans that leave the text and
spans labelled twice (a name within a longer name is fine). Reading files is the business of `labelled.py`.
"""

import json
from collections.abc import Callable, Mapping

from data_contracts.errors import Skippable
from data_contracts.labelled_examples import (
    EntitySentimentExample,
    EntitySpan,
    Example,
    NerExample,
    SentimentExample,
    SummaryExample,
    TopicsExample,
)
from data_contracts.labels import NER_TAGS, SENTIMENT

MAX_TOPIC_CHARACTERS = 60


class NotAnExample(Skippable):
    """A line is no example of its task; `read_labelled` turns it into a `Rejected`."""


def iob2_breach(tags: tuple[str, ...]) -> str | None:
    """Why `tags` are no IOB2 sequence: an I- that does not follow a B- or I- of its own type. None when they are one."""
    before = "O"
    for position, tag in enumerate(tags):
        if tag.startswith("I-") and before[2:] != tag[2:]:
            return f"tag {position} is {tag} after {before}; allowed after B-{tag[2:]} or I-{tag[2:]} only"
        before = tag
    return None


def parse(raw: bytes) -> Mapping[str, object]:
    """The JSON object of a line."""
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


def _topics(given: Mapping[str, object]) -> TopicsExample:
    topics = _words(given, "topics")
    odd = [topic for topic in topics if not topic or topic != topic.strip() or len(topic) > MAX_TOPIC_CHARACTERS]
    if odd:
        raise NotAnExample(
            f"topic {odd[0][:80]!r}; allowed are 1 to {MAX_TOPIC_CHARACTERS} characters without space around them"
        )
    if len(set(topics)) < len(topics):
        raise NotAnExample(f"topics {', '.join(topics)}; allowed is each once")
    return TopicsExample(text=_text(given), topics=tuple(sorted(topics)))


def _summary(given: Mapping[str, object]) -> SummaryExample:
    return SummaryExample(text=_text(given), summary=_text(given, "summary"))


def shared_sentiment(given: Mapping[str, object]) -> SentimentExample | None:
    """A line of entity_sentiment as a sentence with the one label that all its entities have; None where they differ or there are none."""
    example = _entity_sentiment(given)
    labels = {span.label for span in example.entities}
    return SentimentExample(text=example.text, label=labels.pop()) if len(labels) == 1 else None


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


def _text(given: Mapping[str, object], name: str = "text") -> str:
    text = _field(given, name)
    if not isinstance(text, str) or not text.strip():
        raise NotAnExample(f"{name} is empty or no string; allowed is text")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise NotAnExample(f"{name} holds half of a UTF-16 pair; allowed is text that UTF-8 can hold")
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
    "topics": _topics,
    "ner": _ner,
    "entity_sentiment": _entity_sentiment,
    "summary": _summary,
}
