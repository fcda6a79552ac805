"""An example as units that may be moved, dropped or replaced without breaking a label, and back: tags and offsets are made anew.

A unit is one word, or one whole entity: the tokens under a B- tag and its I- tags, or the characters of a span with whatever spans lie in it. A
word is free to be changed if it is of letters alone (punctuation may stand around it), is no negation, and touches no neighbour: the "'s" of
"Oslo's" stays where it is. Does not cover: what a negation reaches, and words that mean a number.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from data_contracts.labelled import (
    EntitySentimentExample,
    EntitySpan,
    NerExample,
    SentimentExample,
    TopicsExample,
)

ANY = "entity"  # the type of an entity where the data names none
_NEGATIONS = frozenset(
    {"no", "not", "never", "none", "nor", "neither", "without", "cannot", "nothing", "hardly", "barely", "un", "non"}
)
_WORD = re.compile(r"\S+")
_LETTERS = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """Words that stay together, what stands before them, and, of an entity, its type; spans are offsets from the unit's own start."""

    words: tuple[str, ...]  # an example's tokens; of a text one, which may hold spaces
    before: str = " "
    type: str = ""
    spans: tuple[EntitySpan, ...] = ()
    free: bool = False

    @property
    def replaceable(self) -> bool:
        """True for an entity that holds no other."""
        return bool(self.type) and len(self.spans) <= 1


def units_of(example: Any) -> tuple[Unit, ...] | None:
    """The units of an example in order; None for a kind of example that is not changed."""
    if isinstance(example, NerExample):
        return tuple(_of_tags(example))
    if isinstance(example, EntitySentimentExample):
        return _marked(tuple(_of_text(example.text, example.entities)))
    if isinstance(example, SentimentExample | TopicsExample):
        return _marked(tuple(_of_text(example.text, ())))
    return None


def rebuilt(example: Any, units: Sequence[Unit]) -> Any:
    """An example of the same kind, with the same labels, of changed units."""
    if isinstance(example, NerExample):
        tags = [
            (f"{'I' if place else 'B'}-{unit.type}" if unit.type else "O")
            for unit in units
            for place in range(len(unit.words))
        ]
        return replace(example, tokens=tuple(word for unit in units for word in unit.words), tags=tuple(tags))
    text, spans = "", []
    for unit in units:
        text += unit.before if text else unit.before.lstrip()
        spans += [replace(span, start=span.start + len(text), end=span.end + len(text)) for span in unit.spans]
        text += unit.words[0]
    return replace(example, text=text, entities=tuple(spans)) if spans else replace(example, text=text)


def leaning(example: Any) -> str:
    """The one label that an example's words stand under, of topics the set of them; "" where it has none, or several."""
    if isinstance(example, SentimentExample):
        return example.label
    if isinstance(example, TopicsExample):
        return ", ".join(sorted(example.topics))
    labels = {span.label for span in example.entities} if isinstance(example, EntitySentimentExample) else set()
    return labels.pop() if len(labels) == 1 else ""


def contested(units: Sequence[Unit]) -> bool:
    """True where spans have several labels, so that a word near one of them may say the opposite of another."""
    return len({span.label for unit in units for span in unit.spans}) > 1


def free_word(word: str) -> bool:
    """True for a word of letters alone that denies nothing."""
    found = _LETTERS.search(word)
    bare = found.group().lower() if found else ""
    outside = word.lower().replace(bare, "", 1)
    denies = bare in _NEGATIONS or bare.endswith(("n't", "n’t")) or bare.startswith("non-")
    return bool(bare) and not denies and not any(letter.isalnum() for letter in outside)


def _of_tags(example: NerExample) -> Iterator[Unit]:
    begin = 0
    for place in range(1, len(example.tags) + 1):
        if place < len(example.tags) and example.tags[place].startswith("I-"):
            continue
        words, tag = example.tokens[begin:place], example.tags[begin]
        yield Unit(words=words, type=tag[2:], free=tag == "O" and free_word(words[0]))
        begin = place


def _of_text(text: str, spans: Sequence[EntitySpan]) -> Iterator[Unit]:
    done = 0
    for start, end, inside in _merged(spans):
        yield from _words(text, done, start)
        gap = text[done:start]
        held = tuple(replace(span, start=span.start - start, end=span.end - start) for span in inside)
        before = gap[len(gap.rstrip()) :]
        yield Unit(words=(text[start:end],), before=before, type=ANY, spans=held)
        done = end
    yield from _words(text, done, len(text))


def _words(text: str, start: int, end: int) -> Iterator[Unit]:
    done = start
    for found in _WORD.finditer(text, start, end):
        yield Unit(words=(found.group(),), before=text[done : found.start()], free=free_word(found.group()))
        done = found.end()


def _merged(spans: Sequence[EntitySpan]) -> Iterator[tuple[int, int, list[EntitySpan]]]:
    """Stretches of text that no span leaves, with the spans in each."""
    group: list[EntitySpan] = []
    for span in sorted(spans, key=lambda span: (span.start, span.end)):
        if group and span.start >= max(one.end for one in group):
            yield group[0].start, max(one.end for one in group), group
            group = []
        group.append(span)
    if group:
        yield group[0].start, max(one.end for one in group), group


def _marked(units: tuple[Unit, ...]) -> tuple[Unit, ...]:
    """The same, where no word that touches a neighbour is free."""
    after = itertools.chain(units[1:], [Unit(words=("",))])
    return tuple(
        replace(unit, free=unit.free and (not place or bool(unit.before)) and bool(following.before))
        for place, (unit, following) in enumerate(zip(units, after, strict=True))
    )
