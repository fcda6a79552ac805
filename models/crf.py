"""A linear-chain conditional random field over the tags of words: what a tag is worth after another is learnt beside what a word says.

Lafferty, McCallum and Pereira 2001; over a neural network's emissions as in Lample et al. 2016. A path of tags scores the sum of its words'
emissions, of the steps from tag to tag (the first from the beginning of the text), and of its last tag's end; its probability is
exp(score) over the sum of all allowed paths'. A step that breaks IOB2, an I- that continues nothing of its type, is allowed nowhere:
not in training, decoding or marginals. Where the gold tags break it themselves, since a window was cut inside an entity, that one
step is free.

A linear head decodes with the same rules and nothing learnt (`Chain.of_rules`), so that both kinds of head differ in what they learn alone.
Training runs in torch over batches; decoding runs in numpy over the words of many texts at once, after their windows were put together. Does
not cover: chains of a higher order, semi-Markov segments, transitions that look at the words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

# The optimiser moves every weight of a head by the same rate, and a table of transitions, which starts at nothing, has to get as far within
# some hundred steps as a pretrained trunk's rate takes a logit: it is kept divided by this, which under Adam is a rate so many times higher.
RATE = 10.0
_BARRED = -1e4  # added to what is not allowed: exp of it is 0 in float32

Borders: TypeAlias = Sequence[int] | NDArray[np.int64]


def _may_follow(tag: str, before: str) -> bool:
    return not tag.startswith("I") or (before != "O" and before[1:] == tag[1:])


def allowed_transitions(tags: Sequence[str]) -> NDArray[np.bool_]:
    """(tags + 1, tags) whether a tag may follow another; the last row stands for the beginning of the text."""
    return np.asarray([[_may_follow(tag, before) for tag in tags] for before in (*tags, "O")], dtype=bool)


@dataclass(frozen=True, kw_only=True)
class Chain:
    """What steps are worth and which are allowed, (tags + 1, tags) with the beginning last, and what each end is worth, (tags,)."""

    steps: NDArray[np.float64]
    ends: NDArray[np.float64]
    allowed: NDArray[np.bool_]

    @classmethod
    def of_rules(cls, tags: Sequence[str]) -> Chain:
        """The rules of IOB2 with nothing learnt."""
        allowed = allowed_transitions(tags)
        return cls(steps=np.zeros(allowed.shape), ends=np.zeros(len(tags)), allowed=allowed)

    def viterbi(self, scores: NDArray[np.floating], borders: Borders = ()) -> NDArray[np.int64]:
        """The best allowed path (words,) for word scores (words, tags): emissions, or log-probabilities.

        The chain begins anew with each of the words `borders`, rising, so that many texts and sentences are decoded at once.
        """
        scores = scores.astype(np.float64)
        path: NDArray[np.int64] = scores.argmax(axis=1)
        each = Stretches.of(len(scores), borders)
        if not self.steps.any() and not self.ends.any():
            before = np.concatenate([[len(self.ends)], path])[: len(path)]
            before[each.starts] = len(self.ends)
            each = each.where(~self.allowed[before, path])
        steps = np.where(self.allowed, self.steps, -np.inf)
        total = np.empty(scores.shape)  # of the best path that ends with each tag at each word
        total[each.starts] = scores[each.starts] + steps[-1]
        for here in each.places(1):
            reach = total[here - 1].T[:, :, None] + steps[:-1, None, :]  # (tags before, words, tags)
            total[here] = reach.max(axis=0) + scores[here]
        path[each.lasts] = (total[each.lasts] + self.ends).argmax(axis=1)
        for here in each.places(1)[::-1]:
            path[here - 1] = (total[here - 1] + steps[:-1].T[path[here]]).argmax(axis=1)
        return path

    def marginals(self, emissions: NDArray[np.floating], borders: Borders = ()) -> NDArray[np.float64]:
        """(words, tags) the probability of each tag at each word, over all allowed paths, by the forward-backward algorithm.

        The chain begins anew with each of the words `borders`, rising.
        """
        scores = emissions.astype(np.float64)
        each = Stretches.of(len(scores), borders)
        steps = np.where(self.allowed, np.exp(self.steps), 0.0)
        forward, backward = np.empty(scores.shape), np.empty(scores.shape)
        with np.errstate(divide="ignore"):  # the logarithm of what is not allowed
            forward[each.starts], backward[each.lasts] = scores[each.starts] + np.log(steps[-1]), self.ends
            for here in each.places(1):
                forward[here] = _log_product(forward[here - 1], steps[:-1]) + scores[here]
            for here in each.places(1)[::-1]:
                backward[here - 1] = _log_product(scores[here] + backward[here], steps[:-1].T)
        both = forward + backward
        probabilities = np.exp(both - both.max(axis=1, keepdims=True))
        found: NDArray[np.float64] = probabilities / probabilities.sum(axis=1, keepdims=True)
        return found


@dataclass(frozen=True, kw_only=True)
class Stretches:
    """Stretches of neighbouring words, none empty, the longest first, so that those that have a word of some number stand in front."""

    starts: NDArray[np.int64]  # (runs,) the first word of each
    counts: NDArray[np.int64]  # (runs,) how many words, falling

    @classmethod
    def of(cls, words: int, borders: Borders) -> Stretches:
        """All of `words` words, in runs that begin at 0 and at the borders."""
        bounds = np.unique(np.concatenate([[0, words], np.minimum(np.asarray(borders, dtype=np.int64), words)]))
        order = np.argsort(-np.diff(bounds), kind="stable")
        return cls(starts=bounds[:-1][order], counts=np.diff(bounds)[order])

    def where(self, flags: NDArray[np.bool_]) -> Stretches:
        """The runs in which any of the flags (words,) is set."""
        sums = np.concatenate([[0], np.cumsum(flags)])
        held = sums[self.starts + self.counts] > sums[self.starts]
        return Stretches(starts=self.starts[held], counts=self.counts[held])

    @property
    def lasts(self) -> NDArray[np.int64]:
        """(runs,) the last word of each."""
        return self.starts + self.counts - 1

    def places(self, begin: int) -> list[NDArray[np.int64]]:
        """For each number from `begin` on the words of that number in their run, of all runs that are so long."""
        longest = int(self.counts[0]) if len(self.counts) else 0
        held = np.searchsorted(-self.counts, -np.arange(longest), side="left")
        return [self.starts[: held[number]] + number for number in range(begin, longest)]


def _log_product(values: NDArray[np.float64], steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """log(exp(values) @ steps) for values (runs, tags) and steps (tags, tags); some value of each row is finite."""
    highest = values.max(axis=1, keepdims=True)
    found: NDArray[np.float64] = highest + np.log(np.exp(values - highest) @ steps)
    return found


class Crf(nn.Module):
    """The learnt steps (tags + 1, tags) and ends (tags,) of a chain, both nothing at first."""

    allowed: torch.Tensor

    def __init__(self, tags: Sequence[str]) -> None:
        super().__init__()
        self.steps = nn.Parameter(torch.zeros(len(tags) + 1, len(tags)))
        self.ends = nn.Parameter(torch.zeros(len(tags)))
        self.register_buffer("allowed", torch.from_numpy(allowed_transitions(tags)), persistent=False)

    def log_likelihood(self, emissions: torch.Tensor, gold: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch,) the log-probability of each row's gold path, 0 for a row without words.

        Emissions (batch, words, tags), gold (batch, words) int64, mask (batch, words) bool with a row's words before its padding.
        """
        steps, ends = self.steps * RATE, self.ends * RATE
        tags, words = len(ends), gold.shape[1]
        gold = gold.masked_fill(~mask, 0)
        before = torch.cat([torch.full_like(gold[:, :1], tags), gold[:, :-1]], dim=1)
        path = emissions.gather(2, gold.unsqueeze(2)).squeeze(2) + steps[before, gold]
        last = gold.gather(1, (mask.sum(dim=1, keepdim=True) - 1).clamp(min=0)).squeeze(1)
        said = (path * mask).sum(dim=1) + ends[last]
        barred = (~self.allowed).to(emissions.dtype) * _BARRED
        lawful = self.allowed[before, gold].to(emissions.dtype)  # (batch, words): 0 where the gold's own step is free
        total = emissions[:, 0] + steps[-1] + barred[-1] * lawful[:, :1]
        for word in range(1, words):
            reach = total.unsqueeze(2) + steps[:-1] + barred[:-1] * lawful[:, word, None, None]
            total = torch.where(mask[:, word, None], reach.logsumexp(dim=1) + emissions[:, word], total)
        return (said - (total + ends).logsumexp(dim=1)) * mask.any(dim=1)

    def chain(self) -> Chain:
        """What has been learnt, to decode with."""
        return Chain(
            steps=(self.steps.detach().cpu().double() * RATE).numpy(),
            ends=(self.ends.detach().cpu().double() * RATE).numpy(),
            allowed=self.allowed.cpu().numpy(),
        )


def gather_words(
    logits: torch.Tensor, targets: torch.Tensor, *, ignored: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The tokens that count as words, moved to the front of their rows: logits, targets and a bool mask, (batch, words, ...).

    Logits are (batch, tokens, n), targets (batch, tokens) or (batch, tokens, k), whose first column says `ignored` where no word begins.
    """
    counts = (targets if targets.ndim == 2 else targets[..., 0]) != ignored
    words = max(1, int(counts.sum(dim=1).max()))
    order = torch.argsort((~counts).to(torch.int8), dim=1, stable=True)[:, :words]
    rows = torch.arange(len(order), device=order.device).unsqueeze(1)
    return logits[rows, order], targets[rows, order], counts[rows, order]
