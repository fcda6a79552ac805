"""Label features: what can be read off the words themselves and be worth something for a tag. One feature a file.

The state features of a classic CRF tagger (Lafferty et al. 2001; McCallum and Li 2003): each word has some features, each feature a learnt
weight for every tag, and the weights of a word's features are added to what the network says of it. They give back what an uncased trunk
cannot see, and what is too rare for it to have learnt. A feature is a number in a table of fixed size, so that nothing has to be
counted before training; rare ones share a number (Weinberger et al. 2009, "Feature Hashing").

The file's name is the feature's name in a recipe; `FEATURE` in it is resolved with `pkgutil.resolve_name`. Does not cover: gazetteers,
conjunctions of features.
"""

from __future__ import annotations

import pkgutil
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import Fatal

NONE = 0  # the number that weighs nothing


class UnknownFeature(Fatal):
    """No label feature answers to that name."""


@dataclass(frozen=True, kw_only=True)
class Feature:
    """`numbers` maps a text's words, cased, to (words, width) int64 in [0, size), NONE where a word lacks the feature."""

    width: int
    size: int
    numbers: Callable[[Sequence[str]], NDArray[np.int64]]


def feature(name: str) -> Feature:
    """The label feature of a file in models/features."""
    allowed = sorted(module.name for module in pkgutil.iter_modules(__path__))
    if name not in allowed:
        raise UnknownFeature(
            f"no label feature {name!r}; allowed are {', '.join(allowed)}, each a file in models/features"
        )
    found: Feature = pkgutil.resolve_name(f"models.features.{name}:FEATURE")
    return found


def table_size(names: Sequence[str]) -> int:
    """How many rows a table of weights needs for these features together, the row of NONE included."""
    return 1 + sum(feature(name).size for name in names)


def numbers(names: Sequence[str], words: Sequence[str]) -> NDArray[np.int64]:
    """(words, all widths) the numbers of all these features, each in a range of its own of one table; NONE stays NONE."""
    columns = [np.zeros((len(words), 0), dtype=np.int64)]
    begin = 1
    for name in names:
        one = feature(name)
        found = one.numbers(words).reshape(len(words), one.width)
        columns.append(np.where(found == NONE, NONE, found + begin))
        begin += one.size
    return np.concatenate(columns, axis=1)


def hashed(text: str, size: int) -> int:
    """A number in [1, size) for a text, the same on every machine and in every run."""
    return 1 + zlib.crc32(text.encode("utf-8", errors="replace")) % (size - 1)
