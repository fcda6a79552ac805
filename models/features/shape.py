"""The pattern of a word's letters, of the word before it and of the one after: Xx for Acme, XX for ACME, xX for iPhone, d for 2026.

Capitals become X, small letters x, digits d; other characters stay. Runs are collapsed to one, of capitals to two, so that there are few
patterns (Collins 2002). Finer than models.shapes, which the trunk embeds, and seen by the tags alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.features import Feature, hashed

_SIZE = 512
_LONGEST = 32  # characters of a word that are looked at
_RUN = re.compile(r"([^X])\1+")
_CAPITALS = re.compile(r"X{3,}")


def pattern(word: str) -> str:
    """The collapsed pattern of a word."""
    drawn = "".join(
        "X" if letter.isupper() else "x" if letter.isalpha() else "d" if letter.isdigit() else letter
        for letter in word[:_LONGEST]
    )
    return _CAPITALS.sub("XX", _RUN.sub(r"\1", drawn))


def _numbers(words: Sequence[str]) -> NDArray[np.int64]:
    patterns = ["<", *(pattern(word) for word in words), ">"]
    rows = [[hashed(f"{place}{patterns[word + place]}", _SIZE) for place in (0, 1, 2)] for word in range(len(words))]
    return np.asarray(rows, dtype=np.int64)


FEATURE = Feature(width=3, size=_SIZE, numbers=_numbers)
