"""Has a model been trained on the texts it is measured with? Hashes of the training texts answer that without keeping the texts.

A text is hashed without its spaces and in lower case, since one corpus tokenises the sentences another quotes. It counts as learnt whatever
task it was learnt for: a trunk that saw a sentence with its entities has seen the sentence. Does not cover paraphrases, sentences quoted
inside a longer text, or what a trunk read without labels in its pre-training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from data_contracts.errors import Fatal

SHOWN = 10  # places named in a refusal


class LearntTexts(Fatal):
    """A model was to be measured on texts that it was trained on."""


@dataclass(frozen=True, kw_only=True)
class Parted:
    """Positions, from 0, of texts that a model has not learnt, and of those that it has."""

    fresh: tuple[int, ...]
    learnt: tuple[int, ...]


def text_hash(text: str) -> str:
    """32 hex digits that stand for a text, whatever its spaces and case."""
    return hashlib.sha256("".join(text.split()).casefold().encode("utf-8", "replace")).hexdigest()[:32]


def text_hashes(texts: Iterable[str]) -> frozenset[str]:
    """The hashes of many texts."""
    return frozenset(text_hash(text) for text in texts)


def part(texts: Sequence[str], known: Collection[str]) -> Parted:
    """Which of some texts have their hash among `known`."""
    learnt = {place for place, text in enumerate(texts) if text_hash(text) in known}
    return Parted(
        fresh=tuple(place for place in range(len(texts)) if place not in learnt), learnt=tuple(sorted(learnt))
    )


def refuse(texts: Sequence[str], learnt: Sequence[int], *, model: str, places: Sequence[str] | None = None) -> None:
    """Raise `LearntTexts` where any text is learnt; `places` says where each stands, else its number from 1 does."""
    if not learnt:
        return
    named = [f"{places[at] if places else f'example {at + 1}'} ({text_hash(texts[at])[:8]})" for at in learnt[:SHOWN]]
    more = f" and {len(learnt) - SHOWN} more" if len(learnt) > SHOWN else ""
    raise LearntTexts(
        f"{len(learnt)} of {len(texts)} texts are among those that {model} was trained on: {', '.join(named)}{more}. Figures on them say "
        "nothing about other texts: leave them out (--exclude-seen), or insist (--allow-overlap)"
    )
