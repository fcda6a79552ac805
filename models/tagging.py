"""What tags words in a head: the rules of IOB2, and if the options say so a learnt chain and label features over what the network says.

Emissions are the network's logits with the weights of the words' label features added (models.features). Without a CRF a word's loss is
cross-entropy and its probabilities a softmax of its emissions; with one (models.crf) the loss is that of the whole path, a word's share of it
counting as one cross-entropy would, and a word's probabilities are its marginals over all allowed paths, raised to 1/temperature and
brought back to a sum of 1, so that one temperature calibrates either kind. Label smoothing is for cross-entropy; a CRF goes without.

A learnt chain begins and ends with each sentence (models.windows), since it has learnt from sentences; the rules alone, which weigh neither
beginning nor end, run through a text.

The features of a word travel to the loss as further columns of its target: they are as much a matter of the example's text as the tag is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models import features
from models.calibration import softmax
from models.crf import RATE, Borders, Chain, Crf, gather_words
from models.spans import Words
from models.tokens import Encoded, ranges
from models.windows import parts

_LEAST = 1e-300  # probability that a logarithm is taken of


class Tagger(nn.Module):
    """Tags over words: `tags` in their order, a chain if `crf`, and learnt weights for the named label features."""

    def __init__(self, tags: Sequence[str], *, crf: bool, label_features: Sequence[str], ignored: int) -> None:
        super().__init__()
        self.tags = tuple(tags)
        self.label_features = tuple(label_features)
        self.ignored = ignored
        self.crf = Crf(tags) if crf else None
        self.weights: nn.Embedding | None = None
        if label_features:
            self.weights = nn.Embedding(features.table_size(label_features), len(tags), padding_idx=features.NONE)
            nn.init.zeros_(self.weights.weight)

    def numbers(self, encoded: Encoded) -> NDArray[np.int64]:
        """(words, widths) the label features of a text's words."""
        bounds = zip(encoded.word_starts().tolist(), encoded.word_ends().tolist(), strict=True)
        return features.numbers(self.label_features, [encoded.text[start:end] for start, end in bounds])

    def targets(self, tags: NDArray[np.int64], encoded: Encoded) -> NDArray[np.int64]:
        """(words,) the tags as given or, where there are label features, (words, 1 + widths) with them."""
        return np.concatenate([tags[:, None], self.numbers(encoded)], axis=1) if self.label_features else tags

    def loss(self, logits: torch.Tensor, targets: torch.Tensor, *, smoothing: float) -> torch.Tensor:
        """Mean loss a word: logits (windows, tokens, tags), targets (windows, tokens) or (windows, tokens, 1 + widths)."""
        tags = targets if targets.ndim == 2 else targets[..., 0]
        emissions = logits.float()
        if self.weights is not None:
            emissions = emissions + self.weights(targets[..., 1:].clamp(min=features.NONE)).sum(dim=2) * RATE
        if self.crf is None:
            summed = nn.functional.cross_entropy(
                emissions.reshape(-1, len(self.tags)),
                tags.reshape(-1),
                ignore_index=self.ignored,
                label_smoothing=smoothing,
                reduction="sum",
            )
        else:
            summed = -self.crf.log_likelihood(*gather_words(emissions, tags, ignored=self.ignored)).sum()
        return summed / (tags != self.ignored).sum().clamp(min=1)

    def emissions(self, encoded: Encoded, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """(words, tags) what is said of the text's first words, its logits (words, tags) with their label features' weights."""
        if self.weights is None:
            return logits
        weights = self.weights.weight.detach().cpu().double().numpy() * RATE
        found: NDArray[np.float64] = logits + weights[self.numbers(encoded)[: len(logits)]].sum(axis=1)
        return found

    def borders(self, encoded: Encoded) -> NDArray[np.int64]:
        """The words with which a chain begins anew, the first aside, rising; none without a CRF."""
        if self.crf is None:
            return np.zeros(0, dtype=np.int64)
        begins = [start for start, _ in parts(encoded, "sentences")[1:]]
        return np.searchsorted(encoded.first, np.asarray(begins, dtype=np.int64)).astype(np.int64)

    def begins(self, words: Words) -> NDArray[np.int64]:
        """The words of many texts with which a chain begins anew, rising: a sentence's first, without a CRF a text's."""
        return words.bounds[:-1] if self.crf is None else words.sentences

    def probabilities(
        self,
        emissions: NDArray[np.float64],
        temperature: float = 1.0,
        *,
        borders: Borders = (),
    ) -> NDArray[np.float64]:
        """(words, tags) for the emissions (words, tags) of a text's words in their order."""
        return softmax(self.log_scores(emissions, borders=borders), temperature)

    def log_scores(self, emissions: NDArray[np.float64], *, borders: Borders = ()) -> NDArray[np.float64]:
        """(words, tags) what a softmax makes the probabilities of: the emissions, or the logarithms of a chain's marginals."""
        if self.crf is None:
            return emissions
        found: NDArray[np.float64] = np.log(np.maximum(self.crf.chain().marginals(emissions, borders), _LEAST))
        return found

    def decode(self, emissions: NDArray[np.float64], *, borders: Borders = ()) -> NDArray[np.int64]:
        """(words,) the best allowed path for emissions (words, tags), or the best of each part between borders."""
        chain = Chain.of_rules(self.tags) if self.crf is None else self.crf.chain()
        return chain.viterbi(emissions, borders)


def runs(numbers: NDArray[np.int64], tags: Sequence[str], breaks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(entities, 2) the first and last word of each entity that tags (words,) name; none goes on where `breaks` (words,) says so."""
    opening = np.asarray([tag.startswith("B") for tag in tags])
    named = numbers != tags.index("O")
    alone = np.concatenate([[True], ~named])[: len(named)]  # no entity stands right before the word
    opens = named & (opening[numbers] | alone | breaks[: len(numbers)])
    firsts = np.flatnonzero(opens)
    counts = np.bincount((np.cumsum(opens) - 1)[named], minlength=len(firsts))
    return np.stack([firsts, firsts + counts - 1], axis=1)


def run_means(values: NDArray[np.float64], found: NDArray[np.int64]) -> NDArray[np.float64]:
    """(entities,) the mean of values (words,) over the first to last words (entities, 2), which are rising and never empty."""
    counts = found[:, 1] - found[:, 0] + 1
    words, owner = ranges(found[:, 0], counts)
    mean: NDArray[np.float64] = np.bincount(owner, weights=values[words], minlength=len(found)) / counts
    return mean
