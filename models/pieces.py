"""Documents cut into pieces that fit the trunk, at the ends of sentences, and pieces set between the trunk's special tokens.

A piece holds as many following sentences of one document as fit; a sentence that is longer than a piece is cut between words, a word longer
than a piece anywhere. Pieces of a few tokens teach nothing and are left out. Does not cover: pieces made of several documents, since batches
by tokens (models.batching) waste little on short ones. All tokens are held in memory, five bytes each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.encoder import Encoder
from models.heads import IGNORED
from models.masking import Arranged
from models.sentences import sentence_ends
from models.tokens import Encoded

LEAST_TOKENS = 4
_ENCODED_AT_ONCE = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Following sentences of one document as tokens, without special tokens."""

    document: int
    ids: NDArray[np.int32]  # (tokens,)
    starts: NDArray[np.bool_]  # (tokens,) True where a word begins
    ends: tuple[int, ...]  # where its sentences end, in tokens, exclusive; the last is the piece's length

    def part(self, start: int, stop: int) -> Piece:
        """Its tokens [start, stop), as one sentence."""
        return Piece(
            document=self.document, ids=self.ids[start:stop], starts=self.starts[start:stop], ends=(stop - start,)
        )


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The special tokens around a trunk's segments, and whether it tells a second segment from the first."""

    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    typed: bool

    def room(self, *, max_length: int, segments: int) -> int:
        """How many tokens of text fit into `max_length`."""
        return max_length - len(self.prefix) - segments * len(self.suffix)

    def arrange(self, segments: Sequence[Piece], *, label: int = IGNORED) -> Arranged:
        """Segments one after the other, each followed by the suffix."""
        ids: list[NDArray[np.int64]] = [np.asarray(self.prefix, dtype=np.int64)]
        words: list[NDArray[np.int64]] = [np.full(len(self.prefix), -1)]
        types: list[NDArray[np.int64]] = [np.zeros(len(self.prefix), dtype=np.int64)]
        counted = 0
        for number, piece in enumerate(segments):
            word_of = np.cumsum(piece.starts) + counted
            counted = int(word_of[-1]) + 1 if len(word_of) else counted
            ids += [piece.ids.astype(np.int64), np.asarray(self.suffix, dtype=np.int64)]
            words += [word_of.astype(np.int64), np.full(len(self.suffix), -1)]
            length = len(piece.ids) + len(self.suffix)
            types.append(np.full(length, number if self.typed else 0, dtype=np.int64))
        return Arranged(ids=np.concatenate(ids), types=np.concatenate(types), words=np.concatenate(words), label=label)


def cut_pieces(texts: Sequence[str], encoder: Encoder, *, size: int) -> list[Piece]:
    """The pieces of all texts, of at most `size` tokens, in order; `document` is the text's number."""
    pieces: list[Piece] = []
    for begin in range(0, len(texts), _ENCODED_AT_ONCE):
        for number, encoded in enumerate(encoder.encode(texts[begin : begin + _ENCODED_AT_ONCE]), start=begin):
            pieces.extend(piece for piece in _cut(encoded, number, size) if len(piece.ids) >= LEAST_TOKENS)
    return pieces


def _cut(encoded: Encoded, document: int, size: int) -> Iterator[Piece]:
    starts = np.zeros(encoded.tokens, dtype=bool)
    starts[encoded.first] = True
    borders = np.searchsorted(encoded.ends, sentence_ends(encoded.text)[:-1], side="right").tolist()
    ends = sorted({end for end in (*borders, encoded.tokens) if end > 0})
    for start, inner in _ranges(ends, encoded.first, size):
        stop = inner[-1]
        yield Piece(
            document=document,
            ids=encoded.ids[start:stop].astype(np.int32),
            starts=starts[start:stop],
            ends=tuple(end - start for end in inner),
        )


def _ranges(ends: Sequence[int], first: NDArray[np.int64], size: int) -> Iterator[tuple[int, list[int]]]:
    """Where each piece begins, and the ends of the sentences in it; `first` are the words' first tokens."""
    start = 0
    held: list[int] = []
    for end in ends:
        if held and end - start > size:
            yield start, held
            start, held = held[-1], []
        while end - start > size:
            word = int(first[np.searchsorted(first, start + size, side="right") - 1])
            stop = word if word > start else start + size
            yield start, [stop]
            start = stop
        held.append(end)
    if held:
        yield start, held
