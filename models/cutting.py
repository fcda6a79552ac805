"""The windows of many texts at once: what models.windows says of one text, in flat arrays.

Tokens are numbered through all texts, as in models.tokens. Does not cover: why texts are cut so, and what windows weigh; models.windows does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.encoder import Encoder
from models.tokens import Tokens, ranges
from models.windows import Reading, window_size


@dataclass(frozen=True, kw_only=True)
class Cuts:
    """Windows in the order of texts, and of each text in its own order; each is the tokens [start, stop) of one text."""

    starts: NDArray[np.int64]  # (windows,)
    stops: NDArray[np.int64]  # (windows,)
    weights: NDArray[np.float64]  # (windows,) in the mean over a text's windows; above 0
    bounds: NDArray[np.int64]  # (texts + 1,) the windows of each text

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """(texts,) how many windows each text has."""
        return np.diff(self.bounds)

    @cached_property
    def texts(self) -> NDArray[np.int64]:
        """(windows,) the text each belongs to."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """(windows,) how many tokens of its text each holds."""
        return self.stops - self.starts

    def covered(self, tokens: Tokens) -> NDArray[np.int64]:
        """(texts,) how many tokens of each text at least one window holds, which are its first."""
        found = np.zeros(len(tokens), dtype=np.int64)
        held = np.flatnonzero(self.counts)
        found[held] = self.stops[self.bounds[held + 1] - 1] - tokens.bounds[held]
        return found


def cut_all(
    tokens: Tokens,
    encoder: Encoder,
    *,
    max_length: int,
    overlap: int,
    reading: Reading,
    max_windows: int | None = None,
) -> Cuts:
    """The windows of every text, as models.windows.cut gives those of one."""
    size = window_size(encoder, max_length)
    step = size - min(overlap, size - 1)
    parts = np.unique(np.append(tokens.bounds if reading == "whole" else tokens.sentences, len(tokens.ids)))
    begins, lengths = parts[:-1], np.diff(parts)
    text = np.searchsorted(tokens.bounds, begins, side="right") - 1
    counts = np.where(lengths > size, -(-(lengths - size) // step) + 1, 1)
    number, part = ranges(np.zeros_like(counts), counts)
    within = np.where(number == counts[part] - 1, np.maximum(lengths - size, 0)[part], number * step)
    held = np.minimum(lengths[part] - within, size)
    place = np.arange(len(part)) - np.searchsorted(text[part], text[part])  # of the window in its text
    kept = np.full(len(part), fill_value=True) if max_windows is None else place < max_windows
    rank = np.arange(len(begins)) - np.searchsorted(text, text) + 1  # of the part in its text
    whole = np.bincount(part[kept], weights=held[kept], minlength=len(begins))
    part, within, held = part[kept], within[kept], held[kept]
    starts = begins[part] + within
    return Cuts(
        starts=starts,
        stops=starts + held,
        weights=held / whole[part] / rank[part],
        bounds=np.searchsorted(text[part], np.arange(len(tokens) + 1)),
    )
