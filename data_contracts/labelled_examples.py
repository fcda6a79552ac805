"""What a labelled example is, one class a task. Frozen, so that equal examples can be told by comparing them.

Kept free of pydantic and Arrow, so that a training worker reads its data with little installed. How they are read from files stands in
`labelled.py`, which is where others import them from.
"""

from dataclasses import dataclass


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


@dataclass(frozen=True, kw_only=True)
class TopicsExample:
    """A text and what it is about, sorted, each topic once; none is an answer too."""

    text: str
    topics: tuple[str, ...]

    def labels(self) -> tuple[str, ...]:
        """Its topics: a training set's topics together are the label set."""
        return self.topics


@dataclass(frozen=True, kw_only=True)
class SummaryExample:
    """An article and a summary of it that people wrote."""

    text: str
    summary: str


Example = SentimentExample | NerExample | EntitySentimentExample | TopicsExample | SummaryExample
