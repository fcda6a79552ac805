"""A text as windows of tokens, so that nothing is cut off unseen, and what the windows say put together again.

Read as "sentences", a text has a window for each sentence (models.sentences), the title first: heads that learnt from single sentences get
single sentences in use, and neighbours do not colour one another. Read as "whole", it is one run of tokens. Either is cut where it is longer
than a window: a window holds at most `size` tokens of the text (the trunk's special tokens come on top); the next begins `size - overlap`
tokens later; the last is moved back so that it is full.

A text-level head's logits are averaged, the sentence of rank r (the first has 1) weighing 1/r, whatever its length: news tells the most
important first (the inverted pyramid of newswriting), so a title weighs as much as the next two or three sentences together, and what stands
far down can tip a balance but not make one. A sentence's windows share its weight by their tokens, and so do the windows of a whole text. A
word-level head's logits for a word come from the one window in which the word's first token stands farthest from a border made by cutting
(the text's own ends are no such border). docs/log.md has the figures.

Does not cover: weights that are learnt, or that look at what a sentence says.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.encoder import Encoder
from models.sentences import sentence_ends
from models.tokens import Encoded

Reading: TypeAlias = Literal["sentences", "whole"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Tokens [start, stop) of a text, with the special tokens around them: `ids` and `shapes` are (prefix + stop - start + suffix,)."""

    start: int
    stop: int
    offset: int  # where in ids the text's tokens begin
    ids: NDArray[np.int64]
    shapes: NDArray[np.int64]
    weight: float = 1.0  # in the mean over the text's windows; above 0

    @property
    def key(self) -> bytes:
        """Equal for windows that a network cannot tell apart."""
        return self.ids.tobytes() + self.shapes.tobytes()


def spans(total: int, *, size: int, overlap: int, max_windows: int | None = None) -> list[tuple[int, int]]:
    """Token ranges [start, stop) of at most `size` that cover all of [0, total), or its beginning where `max_windows` caps them."""
    if size < 1 or not 0 <= overlap < size:
        raise ValueError(
            f"windows of {size} tokens overlapping by {overlap}: allowed are size >= 1 and 0 <= overlap < size"
        )
    if total <= size:
        return [(0, total)] if total else []
    step = size - overlap
    count = -(-(total - size) // step) + 1
    ranges = [(number * step, number * step + size) for number in range(count - 1)] + [(total - size, total)]
    if max_windows is not None and count > max_windows:
        ranges = [(number * step, number * step + size) for number in range(max_windows)]
    return ranges


def window_size(encoder: Encoder, max_length: int) -> int:
    """How many tokens of a text fit into a window of `max_length` with the special tokens, and never more than the trunk has positions."""
    return min(max_length, encoder.positions) - len(encoder.prefix) - len(encoder.suffix)


def parts(encoded: Encoded, reading: Reading) -> list[tuple[int, int]]:
    """Token ranges [start, stop), none empty, that are read apart from one another and cover the text."""
    if reading == "whole":
        return [(0, encoded.tokens)]
    borders = np.searchsorted(encoded.ends, sentence_ends(encoded.text)[:-1], side="right").tolist()
    return [(start, stop) for start, stop in itertools.pairwise([0, *borders, encoded.tokens]) if start < stop]


def sentence_bounds(encoded: Encoded) -> list[tuple[int, int]]:
    """The first and one past the last character of each sentence that has a token, in order, without the space around it."""
    return [(int(encoded.starts[start]), int(encoded.ends[stop - 1])) for start, stop in parts(encoded, "sentences")]


def sentence_of(encoded: Encoded, windows: Sequence[Window]) -> NDArray[np.int64]:
    """(windows,) the number of the sentence, among those with a token, that each window begins in."""
    begins = np.asarray([start for start, _ in parts(encoded, "sentences")], dtype=np.int64)
    return np.searchsorted(begins, np.asarray([window.start for window in windows], dtype=np.int64), side="right") - 1


def cut(
    encoded: Encoded,
    encoder: Encoder,
    *,
    max_length: int,
    overlap: int,
    reading: Reading,
    max_windows: int | None = None,
) -> list[Window]:
    """The windows of a text; `max_length` counts the special tokens, and is never above the trunk's positions."""
    prefix, suffix = np.asarray(encoder.prefix, dtype=np.int64), np.asarray(encoder.suffix, dtype=np.int64)
    size = window_size(encoder, max_length)
    before, after = np.zeros_like(prefix), np.zeros_like(suffix)
    windows: list[Window] = []
    for rank, (begin, end) in enumerate(parts(encoded, reading), start=1):
        left = None if max_windows is None else max_windows - len(windows)
        if left == 0:
            break
        ranges = spans(end - begin, size=size, overlap=min(overlap, size - 1), max_windows=left)
        held = sum(stop - start for start, stop in ranges)
        windows += [
            Window(
                start=begin + start,
                stop=begin + stop,
                offset=len(prefix),
                ids=np.concatenate([prefix, encoded.ids[begin + start : begin + stop], suffix]),
                shapes=np.concatenate([before, encoded.shapes[begin + start : begin + stop], after]),
                weight=(stop - start) / held / rank,
            )
            for start, stop in ranges
        ]
    return windows


def covered(windows: Sequence[Window]) -> int:
    """How many tokens of the text at least one window holds; the windows are in order and leave no gap."""
    return windows[-1].stop if windows else 0


def pool(windows: Sequence[Window], logits: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """One text's logits (labels,) from its windows' (labels,): their mean by the windows' weights."""
    weights = np.asarray([window.weight for window in windows], dtype=np.float64)
    mean: NDArray[np.float64] = np.average(np.stack(logits).astype(np.float64), axis=0, weights=weights)
    return mean


def owners(windows: Sequence[Window], positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """(positions,) for each token position the window in which it stands farthest from a border; -1 where no window holds it."""
    best = np.full(len(positions), -1, dtype=np.int64)
    margin = np.full(len(positions), -1.0)
    last = windows[-1].stop if windows else 0
    for number, window in enumerate(windows):
        left = positions - window.start if window.start else np.full(len(positions), np.inf)
        right = window.stop - 1 - positions if window.stop < last else np.full(len(positions), np.inf)
        held = (positions >= window.start) & (positions < window.stop)
        here = np.where(held, np.minimum(left, right), -1.0)
        better = here > margin
        best[better], margin[better] = number, here[better]
    return best


def stitch(encoded: Encoded, windows: Sequence[Window], logits: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The words' logits (words held by a window, labels) of a text from its windows' token logits (tokens of the window, labels)."""
    first = encoded.first[encoded.first < covered(windows)]
    labels = logits[0].shape[1]
    words = np.zeros((len(first), labels), dtype=np.float32)
    owner = owners(windows, first)
    for number, window in enumerate(windows):
        mine = owner == number
        words[mine] = logits[number][first[mine] - window.start]
    return words
