"""The first and the last two and three letters of the cased word: "-corp", "-berg", "Mc-", "-ed", and whether they are capitals.

Prefixes and suffixes are the oldest features of part-of-speech and name tagging (Ratnaparkhi 1996). Does not cover longer ones: a
word-piece vocabulary knows those.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.features import NONE, Feature, hashed

_SIZE = 4096
_LENGTHS = (2, 3)


def _numbers(words: Sequence[str]) -> NDArray[np.int64]:
    return np.asarray([_of(word) for word in words], dtype=np.int64)


def _of(word: str) -> list[int]:
    longer = [length for length in _LENGTHS if len(word) > length]
    found = [hashed(f"^{word[:length]}", _SIZE) for length in longer]
    found += [hashed(f"{word[-length:]}$", _SIZE) for length in longer]
    return found + [NONE] * (2 * len(_LENGTHS) - len(found))


FEATURE = Feature(width=2 * len(_LENGTHS), size=_SIZE, numbers=_numbers)
