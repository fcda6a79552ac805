"""Many texts as tokens side by side, in flat arrays, so that what is done to tokens is done to those of all texts at once.

The tokens of text number i are [bounds[i], bounds[i + 1]), its words [word_bounds[i], word_bounds[i + 1]). Characters are counted within their own
text, or, where "places" are spoken of, through all texts, each of which takes one place more than it has characters. `Encoded` is one of the
texts, a view. Does not cover: what makes tokens of a text (models.encoder), windows (models.windows).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.sentences import sentence_ends


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoded:
    """A text as tokens, without special tokens. Offsets are characters of `text`, end exclusive."""

    text: str
    ids: NDArray[np.int64]  # (tokens,)
    starts: NDArray[np.int64]  # (tokens,)
    ends: NDArray[np.int64]  # (tokens,)
    word_of: NDArray[np.int64]  # (tokens,) number of the word a token belongs to, from 0
    first: NDArray[np.int64]  # (words,) the first token of each word
    shapes: NDArray[np.int64]  # (tokens,) the shape of the token's word, see models.shapes
    breaks: NDArray[np.bool_]  # (words,) whether a line break, or nothing, stands between a word and the one before

    @property
    def tokens(self) -> int:
        """How many tokens the whole text has."""
        return len(self.ids)

    def word_starts(self) -> NDArray[np.int64]:
        """(words,) the first character of each word."""
        return self.starts[self.first]

    def word_ends(self) -> NDArray[np.int64]:
        """(words,) one past the last character of each word."""
        last = np.append(self.first[1:], self.tokens) - 1
        return self.ends[last] if self.tokens else self.ends

    def alone(self) -> Tokens:
        """The text as the only one of its kind."""
        return Tokens(
            texts=(self.text,),
            ids=self.ids,
            starts=self.starts,
            ends=self.ends,
            shapes=self.shapes,
            first=self.first,
            breaks=self.breaks,
            bounds=np.asarray([0, self.tokens]),
        )


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Texts as tokens, without special tokens. Offsets are characters of a token's own text, end exclusive."""

    texts: Sequence[str]
    ids: NDArray[np.int64]  # (tokens,)
    starts: NDArray[np.int64]  # (tokens,)
    ends: NDArray[np.int64]  # (tokens,)
    shapes: NDArray[np.int64]  # (tokens,) the shape of the token's word, see models.shapes
    first: NDArray[np.int64]  # (words,) the first token of each word
    breaks: NDArray[np.bool_]  # (words,) whether a line break, or nothing of the same text, stands before it
    bounds: NDArray[np.int64]  # (texts + 1,)

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, number: int) -> Encoded:
        """One text."""
        start, stop = self.bounds[number], self.bounds[number + 1]
        words = slice(self.word_bounds[number], self.word_bounds[number + 1])
        opens = np.zeros(stop - start, dtype=np.int64)
        opens[self.first[words] - start] = 1
        return Encoded(
            text=self.texts[number],
            ids=self.ids[start:stop],
            starts=self.starts[start:stop],
            ends=self.ends[start:stop],
            word_of=np.cumsum(opens) - 1,
            first=self.first[words] - start,
            shapes=self.shapes[start:stop],
            breaks=self.breaks[words],
        )

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """(texts,) how many tokens each text has."""
        return np.diff(self.bounds)

    @cached_property
    def word_bounds(self) -> NDArray[np.int64]:
        """(texts + 1,) where each text's words begin."""
        return np.searchsorted(self.first, self.bounds).astype(np.int64)

    @cached_property
    def bases(self) -> NDArray[np.int64]:
        """(texts,) the place of each text's first character."""
        return bases(self.texts)

    @cached_property
    def word_starts(self) -> NDArray[np.int64]:
        """(words,) the first character of each word."""
        return self.starts[self.first]

    @cached_property
    def word_ends(self) -> NDArray[np.int64]:
        """(words,) one past the last character of each word."""
        return self.ends[np.append(self.first[1:], len(self.ids)) - 1] if len(self.ids) else self.ends

    @cached_property
    def word_texts(self) -> NDArray[np.int64]:
        """(words,) the text each word stands in."""
        return np.repeat(np.arange(len(self)), np.diff(self.word_bounds))

    @cached_property
    def sentence_places(self) -> NDArray[np.int64]:
        """(sentences,) one past the last place of each sentence of each text, rising."""
        based = zip(self.texts, self.bases.tolist(), strict=True)
        return np.asarray([base + end for text, base in based for end in sentence_ends(text)], dtype=np.int64)

    @cached_property
    def sentences(self) -> NDArray[np.int64]:
        """(sentences,) the first token of each sentence that has a token, rising."""
        places = self.ends + np.repeat(self.bases, self.counts)
        behind = np.searchsorted(places, self.sentence_places, side="right")
        begins = np.unique(np.concatenate([self.bounds[:-1], behind]))
        return begins[begins < len(self.ids)]


def bases(texts: Sequence[str]) -> NDArray[np.int64]:
    """(texts,) the place of each text's first character, where texts stand side by side with one place between them."""
    taken = np.asarray([len(text) + 1 for text in texts], dtype=np.int64)
    return np.cumsum(taken) - taken


def ranges(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers starts[i], starts[i] + 1, ... of each range i, `counts[i]` of them, side by side; and the range each belongs to."""
    owner = np.repeat(np.arange(len(starts)), counts)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    return starts[owner] + within, owner
