"""Labelled examples to learn from: what one is, and how the JSON lines of each task are read.

Kept free of pydantic so that a training worker can read its data with little installed. See `labelled_check.py` for the contract.
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
