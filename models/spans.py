"""Spans of characters as words of a text: which words, what they say together, how much of the text they stand in.

Does not cover: finding spans (models.tagging), or what is said of them (the heads).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from models.encoder import Encoded
from models.sentences import sentence_ends

_BEGINS = 1  # the tag B among O, B, I


def words_of(encoded: Encoded, start: int, end: int) -> NDArray[np.int64]:
    """The numbers of the words that have half of their characters or more in [start, end), rising; else of those that have any.

    None where only space or unread marks lie there. In some public sets offsets are a character or two beside the name: "m Apple In".
    """
    starts, ends = encoded.word_starts(), encoded.word_ends()
    first = int(np.searchsorted(ends, start, side="right"))
    stop = max(first, int(np.searchsorted(starts, end, side="left")))
    touched = np.arange(first, stop, dtype=np.int64)
    shared = np.minimum(ends[first:stop], end) - np.maximum(starts[first:stop], start)
    most = touched[2 * shared >= ends[first:stop] - starts[first:stop]]
    return most if len(most) else touched


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


def relevance(encoded: Encoded, spans: Sequence[tuple[int, int]], *, read: int) -> list[float]:
    """How much of what was read each span's entity stands in, in [0, 1]: the weight of the sentences that hold a span of the same words.

    Sentences weigh 1/rank as windows do. Spans name the same entity where their characters are equal but for case and space; `read` is how
    many of the text's words were read; what stands only behind them has 0.
    """
    if not read:
        return [0.0] * len(spans)
    ends = np.asarray(sentence_ends(encoded.text))
    last = int(np.searchsorted(ends, encoded.word_starts()[read - 1], side="right"))
    weights = 1.0 / np.arange(1.0, last + 2.0)
    names = [" ".join(encoded.text[start:end].split()).casefold() for start, end in spans]
    held: dict[str, set[int]] = {}
    for name, (start, _) in zip(names, spans, strict=True):
        sentence = int(np.searchsorted(ends, start, side="right"))
        held.setdefault(name, set()).update({sentence} if sentence <= last else ())
    return [float(weights[sorted(held[name])].sum() / weights.sum()) for name in names]
