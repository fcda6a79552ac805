"""Spans of characters as words of a text: which words, what they say together, how much of the text they stand in.

What scoring asks is answered for the spans of many texts at once (`Words`, `Spans`). Does not cover: finding spans (models.tagging), or what is
said of them (the heads).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from models.tokens import Encoded, Tokens, ranges

_BEGINS = 1  # the tag B among O, B, I


@dataclass(frozen=True, kw_only=True)
class Spans:
    """Characters [start, end) of texts, (spans,) each, in any order."""

    texts: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, bounds: Sequence[tuple[int, int]], *, text: int = 0) -> Spans:
        """Of one text, by its number."""
        starts, ends = np.asarray(bounds, dtype=np.int64).reshape(-1, 2).T
        return cls(texts=np.full(len(starts), text), starts=starts, ends=ends)

    def where(self, chosen: NDArray[np.bool_]) -> Spans:
        """Those that are chosen (spans,)."""
        return Spans(texts=self.texts[chosen], starts=self.starts[chosen], ends=self.ends[chosen])

    def __len__(self) -> int:
        return len(self.texts)

    def strings(self, texts: Sequence[str]) -> list[str]:
        """The characters themselves."""
        bounds = zip(self.texts.tolist(), self.starts.tolist(), self.ends.tolist(), strict=True)
        return [texts[text][start:end] for text, start, end in bounds]


@dataclass(frozen=True, kw_only=True)
class Words:
    """The words of texts that were read, side by side: of each text the first of its words, up to bounds[i + 1] - bounds[i]."""

    tokens: Tokens
    bounds: NDArray[np.int64]  # (texts + 1,)

    @classmethod
    def of(cls, encoded: Encoded, read: int) -> Words:
        """The first `read` words of one text."""
        return cls(tokens=encoded.alone(), bounds=np.asarray([0, min(read, len(encoded.first))]))

    def __len__(self) -> int:
        return int(self.bounds[-1])

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """(texts,) how many words of each text."""
        return np.diff(self.bounds)

    @cached_property
    def index(self) -> NDArray[np.int64]:
        """(words,) the number of each among all words of the texts."""
        return ranges(self.tokens.word_bounds[:-1], self.counts)[0]

    @cached_property
    def texts(self) -> NDArray[np.int64]:
        """(words,) the text each stands in."""
        return self.tokens.word_texts[self.index]

    @cached_property
    def breaks(self) -> NDArray[np.bool_]:
        """(words,) whether a line break, or nothing of the same text, stands before it."""
        return self.tokens.breaks[self.index]

    @cached_property
    def sentences(self) -> NDArray[np.int64]:
        """The words with which a sentence begins, rising."""
        first = self.tokens.first[self.index]
        return np.searchsorted(first, self.tokens.sentences)

    def spans(self, found: NDArray[np.int64]) -> Spans:
        """The characters from the first to the last of words (spans, 2)."""
        first, last = self.index[found.T]
        return Spans(
            texts=self.texts[found[:, 0]], starts=self.tokens.word_starts[first], ends=self.tokens.word_ends[last]
        )


def words_of(encoded: Encoded, start: int, end: int) -> NDArray[np.int64]:
    """The numbers of the words that have half of their characters or more in [start, end), rising; else of those that have any.

    None where only space or unread marks lie there. In some public sets offsets are a character or two beside the name: "m Apple In".
    """
    return words_in(encoded.alone(), Spans.of([(start, end)]))[0]


def words_in(tokens: Tokens, spans: Spans) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The words (n,) of all spans as `words_of` finds them, numbered through all texts, and the span each belongs to (n,)."""
    base = tokens.bases[tokens.word_texts]
    starts, ends = tokens.word_starts + base, tokens.word_ends + base
    begin, stop = spans.starts + tokens.bases[spans.texts], spans.ends + tokens.bases[spans.texts]
    first = np.searchsorted(ends, begin, side="right")
    behind = np.maximum(first, np.searchsorted(starts, stop, side="left"))
    words, owner = ranges(first, behind - first)
    shared = np.minimum(ends[words], stop[owner]) - np.maximum(starts[words], begin[owner])
    most = 2 * shared >= (ends - starts)[words]
    kept = most | ~np.isin(owner, owner[most])
    return words[kept], owner[kept]


def means(words: Words, rows: NDArray[np.float64], spans: Spans) -> NDArray[np.float64]:
    """(spans, n) the mean of the rows (words, n) of each span's words; where none was read of all its text's, 0 where that has none."""
    found, owner = words_in(words.tokens, spans)
    text = spans.texts[owner]
    number = found - words.tokens.word_bounds[text]
    read = number < words.counts[text]
    place, owner = (number + words.bounds[text])[read], owner[read]
    bare = np.flatnonzero(np.bincount(owner, minlength=len(spans)) == 0)
    places, owners = ranges(words.bounds[spans.texts[bare]], words.counts[spans.texts[bare]])
    place, owner = np.concatenate([place, places]), np.concatenate([owner, bare[owners]])
    counts = np.bincount(owner, minlength=len(spans))
    sums = [np.bincount(owner, weights=column[place], minlength=len(spans)) for column in rows.T]
    mean: NDArray[np.float64] = np.stack(sums, axis=1) / np.maximum(counts, 1)[:, None]
    return mean


def span_means(
    logits: torch.Tensor, tags: torch.Tensor, labels: torch.Tensor, *, ignored: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean logits (spans, n) of the words of each span, and the spans' labels (spans,).

    Logits (windows, tokens, n), tags and labels (windows, tokens), `ignored` where no word begins and, of labels, outside of spans. A
    span begins at a B; what a window has of a span that began before it is one of its own.
    """
    windows, tokens = tags.shape
    number = (tags == _BEGINS).cumsum(dim=1) + torch.arange(windows, device=tags.device).unsqueeze(1) * (tokens + 1)
    inside = labels != ignored
    _, span = torch.unique(number[inside], return_inverse=True)
    spans = int(span.max()) + 1 if len(span) else 0
    sums = logits.new_zeros(spans, logits.shape[-1]).index_add(0, span, logits[inside])
    counts = torch.bincount(span, minlength=spans).clamp(min=1).unsqueeze(1)
    gold = labels.new_zeros(spans).index_copy(0, span, labels[inside])
    return sums / counts, gold


def relevance(words: Words, spans: Spans) -> NDArray[np.float64]:
    """(spans,) how much of what was read each entity stands in, in [0, 1]: the weight of the sentences that hold a span of the same words.

    Sentences weigh 1/rank as windows do. Spans name the same entity where their characters are equal but for case and space; one that stands
    only behind what was read has 0.
    """
    tokens, read = words.tokens, words.counts > 0
    places, begins = tokens.sentence_places, np.searchsorted(tokens.sentence_places, tokens.bases, side="right")
    last_word = tokens.word_starts[tokens.word_bounds[:-1][read] + words.counts[read] - 1]
    sentences = np.zeros(len(tokens), dtype=np.int64)  # how many of each text were read
    sentences[read] = np.searchsorted(places, last_word + tokens.bases[read], side="right") - begins[read] + 1
    weights = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, max(2, int(sentences.max(initial=0)) + 1)))])
    rank = np.searchsorted(places, spans.starts + tokens.bases[spans.texts], side="right") - begins[spans.texts] + 1
    names: dict[tuple[int, str], int] = {}
    strings = zip(spans.texts.tolist(), spans.strings(tokens.texts), strict=True)
    name = [names.setdefault((text, " ".join(said.split()).casefold()), len(names)) for text, said in strings]
    held = np.stack([np.asarray(name, dtype=np.int64), rank], axis=1)[rank <= sentences[spans.texts]]
    held = np.unique(held, axis=0)
    shares = np.bincount(held[:, 0], weights=1.0 / held[:, 1], minlength=len(names))
    found: NDArray[np.float64] = (
        shares[name] / np.maximum(weights[sentences[spans.texts]], 1.0) if len(spans) else np.zeros(0)
    )
    return found
