"""What is read off the letters of words, of all words of many texts at once: shapes, and line breaks between words.

Equal to models.shapes word by word. What Python says of a character (is it a letter, a digit, a capital) is asked once a character ever, and
counted over words by differences of running sums. Does not cover: what the shapes mean (models.shapes).
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from models.shapes import LONGEST, SHAPES

_LETTER, _DIGIT, _ALNUM, _UPPER, _LOWER, _TITLE, _CASED, _BREAK, _KNOWN = (1 << bit for bit in range(9))
_SHAPE = {name: number for number, name in enumerate(SHAPES)}
_kinds = np.zeros(sys.maxunicode + 1, dtype=np.uint16)  # by code point; _KNOWN where it has been asked


class Letters:
    """The characters of a string; words are given as character ranges in it, rising."""

    def __init__(self, text: str) -> None:
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        self._of = _kinds_of(codes)

    def shapes(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
        """(words,) the shape of each word [start, end), as models.shapes.shape_of numbers it."""
        stops = np.minimum(ends, starts + LONGEST)
        size = stops - starts
        letters, digits, alnums, uppers, lowers, titles, cased = (
            self._count(kind, starts, stops) for kind in (_LETTER, _DIGIT, _ALNUM, _UPPER, _LOWER, _TITLE, _CASED)
        )
        head = np.zeros(len(starts), dtype=bool)
        head[size > 0] = self._of[starts[size > 0]] & _UPPER > 0
        capital = head & (uppers == 1) & (lowers > 0) & (titles == 0)
        word, number = (letters == size) & (size > 0), (digits == size) & (size > 0)
        found = np.select(
            [
                word & (uppers > 0) & (lowers + titles == 0) & (size > 1),
                word & (uppers > 0) & (lowers + titles == 0),
                word & (lowers > 0) & (uppers + titles == 0),
                word & capital,
                word & (cased > 0),
                word,
                number,
                alnums > 0,
            ],
            [
                _SHAPE[name]
                for name in ("upper", "initial", "lower", "title", "mixed", "other", "digits", "alphanumeric")
            ],
            _SHAPE["other"],
        )
        return found.astype(np.int64)

    def breaks(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(words,) whether a line break stands between a word and the one before it; True of the first."""
        found = np.ones(len(starts), dtype=bool)
        found[1:] = self._count(_BREAK, ends[:-1], np.maximum(starts[1:], ends[:-1])) > 0
        return found

    def _count(self, kind: int, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.int64]:
        sums = np.concatenate([[0], np.cumsum(self._of & kind > 0)])
        found: NDArray[np.int64] = sums[stops] - sums[starts]
        return found


def _kinds_of(codes: NDArray[np.uint32]) -> NDArray[np.uint16]:
    """(characters,) what Python says of each code point."""
    kinds = _kinds[codes]
    if not (kinds & _KNOWN).all():
        for code in np.unique(codes[kinds & _KNOWN == 0]).tolist():
            _kinds[code] = _kind(chr(code))
        kinds = _kinds[codes]
    return kinds


def _kind(letter: str) -> int:
    said = (
        (_LETTER, letter.isalpha()),
        (_DIGIT, letter.isdigit()),
        (_ALNUM, letter.isalnum()),
        (_UPPER, letter.isupper()),
        (_LOWER, letter.islower()),
        (_TITLE, letter.istitle() and not letter.isupper()),
        (_CASED, letter.lower() != letter),
        (_BREAK, letter == "\n"),
    )
    return _KNOWN | sum(kind for kind, holds in said if holds)
