"""What a head said of a text's windows, put together into the rows that its answers are read from.

One row for a text head, a row a word for a word head, a row a sentence for a document head, which only now reads the windows together; a
sentence cut into several windows has the highest of their logits. Used in scoring and in evaluation alike, so that a model is measured as it
is used.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from models.heads import Head
from models.tokens import Encoded
from models.windows import Window, pool, sentence_bounds, sentence_of, stitch


def assemble(
    head: Head, encoded: Encoded, windows: Sequence[Window], logits: Sequence[NDArray[np.float32]]
) -> NDArray[np.float64]:
    """Rows (1, outputs), (words, outputs) or (sentences, outputs) of one text; all-equal or no rows for a text without windows."""
    if not windows:
        return np.zeros((int(head.level == "text"), head.outputs))
    if head.level == "text":
        return pool(windows, logits)[None]
    if head.level == "word":
        return head.joined(encoded, stitch(encoded, windows, logits).astype(np.float64))
    device = next(head.parameters()).device
    with torch.inference_mode():
        vectors = torch.from_numpy(np.stack(logits)).to(device)
        rows = head.combine(vectors, torch.zeros(len(windows), dtype=torch.int64, device=device)).double().cpu().numpy()
    begins = np.flatnonzero(np.diff(sentence_of(encoded, windows), prepend=-1))
    found: NDArray[np.float64] = np.maximum.reduceat(rows, begins, axis=0)
    return found


def assemble_body(
    head: Head, encoded: Encoded, windows: Sequence[Window], logits: Sequence[NDArray[np.float32]], *, after: int
) -> NDArray[np.float64]:
    """Rows (sentences, outputs) of a document head that reads what begins at the character `after` or later alone; -inf before it.

    It has learnt from articles without their titles: behind a title the first sentence would be read as a second.
    """
    before = sum(start < after for start, _ in sentence_bounds(encoded))
    sentences = sentence_of(encoded, windows)
    first = int(np.searchsorted(sentences, before))
    nothing = np.full((len(np.unique(sentences[:first])), head.outputs), -np.inf)
    return np.concatenate([nothing, assemble(head, encoded, windows[first:], logits[first:])])
