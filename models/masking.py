"""Which tokens of a text are hidden, what stands in their place, and the head that guesses them: the masked language model of BERT.

A share of the tokens (15 %) is to be guessed; of those 80 % are replaced by the mask token, 10 % by a random token, 10 % stay as they are, so
that the trunk cannot rely on seeing masks (Devlin et al. 2019, "BERT", section 3.1 and appendix A.1). Which tokens stand together is for the
files of `models/objectives` to say. Guesses are made at the hidden tokens alone, by a head tied to the trunk's word embeddings.

Does not cover: masks that are learnt, or that favour rare words or names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import nn

from models.encoder import TrunkRefused

MASKED_SHARE, RANDOM_SHARE = 0.8, 0.1  # of the hidden tokens; the rest stay as they are
MASK_TOKENS = ("[MASK]", "<mask>")

Span: TypeAlias = tuple[int, int]  # positions of a sequence, end exclusive


@dataclass(frozen=True, kw_only=True, slots=True)
class Arranged:
    """What the trunk would read: ids, types (0, 1 for a second segment) and words, (length,) each; words are -1 at special tokens."""

    ids: NDArray[np.int64]
    types: NDArray[np.int64]
    words: NDArray[np.int64]
    label: int  # of a sentence pair; IGNORED where there is none


@dataclass(frozen=True, kw_only=True, slots=True)
class Masked:
    """What the trunk reads, (length,) each, and what it shall guess, (hidden,) each: token positions, what stood there, the span's borders."""

    ids: NDArray[np.int64]
    types: NDArray[np.int64]
    label: int
    positions: NDArray[np.int64]
    targets: NDArray[np.int64]
    left: NDArray[np.int64]  # the position before the token's span
    right: NDArray[np.int64]  # and the one after it


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """What may stand in a hidden token's place: the mask token, or one of the plain tokens."""

    mask_id: int
    plain: NDArray[np.int64]  # (tokens,) ids that are no special tokens

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Vocabulary:
        """A tokenizer's; TrunkRefused where it has no mask token."""
        mask_id = next((found for name in MASK_TOKENS if (found := tokenizer.token_to_id(name)) is not None), None)
        if mask_id is None:
            raise TrunkRefused(f"the trunk's tokenizer has none of the mask tokens {', '.join(MASK_TOKENS)}")
        special = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
        plain = sorted(set(tokenizer.get_vocab().values()) - special - {mask_id})
        return cls(mask_id=mask_id, plain=np.asarray(plain, dtype=np.int64))


def budget(tokens: int, share: float) -> int:
    """How many of `tokens` are hidden: the share, rounded half up, one at least."""
    return max(1, int(share * tokens + 0.5))


def word_spans(words: NDArray[np.int64]) -> list[Span]:
    """The span of each word of a sequence, in order; special tokens (-1) are none."""
    starts = np.flatnonzero(np.append(True, words[1:] != words[:-1])) if len(words) else np.zeros(0, dtype=np.int64)
    ends = np.append(starts[1:], len(words))
    return [(start, end) for start, end in zip(starts.tolist(), ends.tolist(), strict=True) if words[start] >= 0]


def corrupt(
    arranged: Arranged, spans: Sequence[Span], *, together: bool, vocabulary: Vocabulary, chance: np.random.Generator
) -> Masked:
    """Hide the tokens of `spans`, which do not overlap; with `together` a span's tokens share one fate, else each has its own."""
    lengths = [end - start for start, end in spans]
    positions = np.asarray([place for start, end in spans for place in range(start, end)], dtype=np.int64)
    owner = np.repeat(np.arange(len(spans)), lengths)
    fate = chance.random(len(spans))[owner] if together else chance.random(len(positions))
    ids = arranged.ids.copy()
    masked = fate < MASKED_SHARE
    replaced = ~masked & (fate < MASKED_SHARE + RANDOM_SHARE)
    ids[positions[masked]] = vocabulary.mask_id
    ids[positions[replaced]] = chance.choice(vocabulary.plain, size=int(replaced.sum()))
    return Masked(
        ids=ids,
        types=arranged.types,
        label=arranged.label,
        positions=positions,
        targets=arranged.ids[positions],
        left=np.asarray([start - 1 for start, _ in spans], dtype=np.int64)[owner],
        right=np.asarray([end for _, end in spans], dtype=np.int64)[owner],
    )


class TokenHead(nn.Module):
    """Dense, GELU and norm, then the product with the trunk's own word embeddings and a bias: BERT's prediction head, its decoder tied."""

    def __init__(self, hidden_size: int, *, width: int, entries: int, norm_eps: float) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, width)
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        self.bias = nn.Parameter(torch.zeros(entries))
        nn.init.normal_(self.dense.weight, std=0.02)
        nn.init.zeros_(self.dense.bias)

    def forward(self, states: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
        """States (tokens, hidden) and word embeddings (entries, width) -> logits (tokens, entries)."""
        logits: torch.Tensor = nn.functional.linear(
            self.norm(nn.functional.gelu(self.dense(states))), embeddings, self.bias
        )
        return logits
