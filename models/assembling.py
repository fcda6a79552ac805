"""What heads said of the windows of many texts, put together into the rows that their answers are read from.

As models.assemble does it for one text: a row a text, a row a word, or a row a sentence. Does not cover: what the rows mean (models.heads).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from models.cutting import Cuts
from models.heads import Head
from models.passes import Work
from models.spans import Words
from models.tokens import Tokens, ranges

_VECTORS = 4096  # of texts that a document head reads at once, with their padding


def words_read(tokens: Tokens, cuts: Cuts) -> Words:
    """The words whose first token some window holds."""
    end = tokens.bounds[:-1] + cuts.covered(tokens)
    stop = np.searchsorted(tokens.first, end)
    return Words(tokens=tokens, bounds=np.concatenate([[0], np.cumsum(stop - tokens.word_bounds[:-1])]))


def text_rows(cuts: Cuts, work: Work, logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """(texts, outputs) the mean by the windows' weights of what was said of the distinct windows (distinct, outputs); 0 without any."""
    weighted = logits[work.index].astype(np.float64) * cuts.weights[:, None]
    total = np.bincount(cuts.texts, weights=cuts.weights, minlength=len(cuts.counts))
    sums = [np.bincount(cuts.texts, weights=column, minlength=len(total)) for column in weighted.T]
    mean: NDArray[np.float64] = np.stack(sums, axis=1) / np.where(total > 0, total, 1.0)[:, None]
    return mean


def word_places(words: Words, cuts: Cuts, work: Work) -> NDArray[np.int64]:
    """(words,) which of the tokens of all distinct windows answers for each word: of its first token where that is farthest from a border."""
    tokens = words.tokens
    first = tokens.first[words.index]
    begin = np.searchsorted(first, cuts.starts)
    held, window = ranges(begin, np.searchsorted(first, cuts.stops) - begin)  # each word, once a window that holds it
    if len(held) > len(first):
        last = (tokens.bounds[:-1] + cuts.covered(tokens))[cuts.texts[window]]
        left = np.where(
            cuts.starts[window] > tokens.bounds[cuts.texts[window]], first[held] - cuts.starts[window], np.inf
        )
        right = np.where(cuts.stops[window] < last, cuts.stops[window] - 1 - first[held], np.inf)
        order = np.lexsort((window, -np.minimum(left, right), held))
        chosen = order[np.unique(held[order], return_index=True)[1]]
        window = window[chosen]
    begins = np.cumsum(work.lengths) - work.lengths
    return begins[work.index[window]] + first - cuts.starts[window]


def word_rows(head: Head, words: Words, logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """(words, outputs) of a word head; in an ensemble with label features made of what all members gave, text by text."""
    if not head.options.label_features or not len(words):
        return logits
    texts = np.flatnonzero(words.counts).tolist()
    parts = [slice(words.bounds[text], words.bounds[text + 1]) for text in texts]
    return np.concatenate(
        [head.joined(words.tokens[text], logits[part]) for text, part in zip(texts, parts, strict=True)]
    )


def body_windows(tokens: Tokens, cuts: Cuts) -> NDArray[np.int64]:
    """The windows of sentences that begin behind the first line of their text, in order.

    A document head has learnt from articles without their titles: behind a title the first sentence would be read as a second.
    """
    sentence = np.searchsorted(tokens.sentences, cuts.starts, side="right") - 1
    titles = np.asarray([text.find("\n") + 1 for text in tokens.texts], dtype=np.int64)
    return np.flatnonzero(tokens.starts[tokens.sentences[sentence]] >= titles[cuts.texts])


def sentence_rows(
    head: Head, tokens: Tokens, cuts: Cuts, work: Work, vectors: NDArray[np.float32]
) -> list[NDArray[np.float64]]:
    """Of each text (sentences read, outputs) of a document head, which reads the sentences behind the title together; -inf before.

    Vectors are (distinct, hidden). A sentence of several windows has the highest of their logits.
    """
    device = next(head.parameters()).device
    body = body_windows(tokens, cuts)
    counts = np.bincount(cuts.texts[body], minlength=len(tokens))
    begins = np.cumsum(counts) - counts
    said = np.full((len(cuts.starts), head.outputs), -np.inf)
    for texts in _together(counts):
        place, owner = ranges(begins[texts], counts[texts])
        given = torch.from_numpy(vectors[work.index[body[place]]]).to(device)
        with torch.inference_mode():
            found = head.combine(given, torch.from_numpy(owner).to(device))
        said[body[place]] = found.double().cpu().numpy()
    sentence = np.searchsorted(tokens.sentences, cuts.starts, side="right") - 1
    opens = np.flatnonzero(np.diff(sentence, prepend=-1))
    rows = np.maximum.reduceat(said, opens, axis=0) if len(opens) else said
    return np.split(rows, np.searchsorted(opens, cuts.bounds[1:-1]))


def _together(counts: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Texts of about as many windows, none without any, in groups whose windows, padded to the most, stay few."""
    order = np.argsort(-counts, kind="stable")
    order = order[: int((counts > 0).sum())]
    groups = []
    while len(order):
        size = max(1, _VECTORS // int(counts[order[0]]))
        groups.append(order[:size])
        order = order[size:]
    return groups
