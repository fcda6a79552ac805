"""Which words drove a score: integrated gradients (models.attribution), summed from tokens to words, sentence by sentence.

What is attributed is the margin of a label: its logit less the mean of the others', as the head gives them before the temperature. A text is
read as in scoring: every sentence is a window of its own, and its words weigh by the sentence's weight in the mean over the text
(models.windows). The sentiment towards an entity is the mean of its words' logits, so only the windows that those words stand in are explained,
each by its share of the words. Of a long text the windows that moved the margin most can be explained alone; the others keep their margin.

The words of a window sum to its margin less that of the same window without words; the rest is reported as the completeness error. Does not
cover: named entities, topics and summaries; why a span was found at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from data_contracts.labels import SENTIMENT
from models.assemble import assemble
from models.attribution import Target, attribute, differentiable
from models.backends.torch import TorchBackend
from models.batching import Batch
from models.bundle import Bundle
from models.explanation import Explanation, NotExplained, Passage, Word
from models.heads import Head
from models.heads.entity_sentiment import TAGS, EntitySentimentHead
from models.passes import run
from models.spans import words_of
from models.tokens import Encoded
from models.windows import Window, cut, owners

__all__ = ["Explainer", "Explanation", "NotExplained", "Passage", "Word"]

TASKS = ("sentiment", "entity_sentiment")


class Explainer:
    """A loaded bundle that says why. `most_windows` of a text are explained, those that moved the margin most; None: all."""

    def __init__(self, bundle: Bundle, *, most_windows: int | None = None) -> None:
        self.bundle = bundle
        self.most_windows = most_windows
        self.encoder = bundle.encoder()
        self.network = bundle.network().eval()
        differentiable(self.network)

    def sentiment(self, text: str, *, label: str | None = None) -> Explanation:
        """Why the text has its sentiment; `label`: why it has or has not that one."""
        head = self._head("sentiment")
        encoded, windows, logits = self._read(text, "sentiment")
        rows = assemble(head, encoded, windows, logits)
        chances = head.probabilities(rows, self.bundle.manifest.temperatures["sentiment"])[0]
        place = _place(head.labels, label, chances)
        weights = np.asarray([window.weight for window in windows])
        weights = weights / weights.sum()
        margins = weights * np.asarray([_margin(torch.from_numpy(row), place).item() for row in logits])
        chosen = _largest(margins, self.most_windows)

        def target(batch: Batch) -> torch.Tensor:
            return _margin(self.network("sentiment", batch), place)

        passages = [
            self._passage(encoded, window, float(weight), float(margin), target if number in chosen else None)
            for number, (window, weight, margin) in enumerate(zip(windows, weights, margins, strict=True))
        ]
        return self._explanation("sentiment", encoded, None, head.labels[place], float(chances[place]), passages)

    def entity(self, text: str, span: tuple[int, int], *, label: str | None = None) -> Explanation:
        """Why the text says what it says of the entity at characters [start, end)."""
        head = self._head("entity_sentiment")
        assert isinstance(head, EntitySentimentHead)
        if not 0 <= span[0] < span[1] <= len(text):
            raise NotExplained(f"the characters {span[0]} to {span[1]}; allowed are 0 <= start < end <= {len(text)}")
        encoded, windows, logits = self._read(text, "entity_sentiment")
        rows = assemble(head, encoded, windows, logits)
        chances = head.label_spans(encoded, rows, [span], self.bundle.manifest.temperatures["entity_sentiment"])[0]
        place = _place(head.labels, label, chances)
        words = words_of(encoded, *span)
        words = words if len(words) else np.arange(len(encoded.first))
        tokens = encoded.first[words]
        owner = owners(windows, tokens)
        passages = []
        for number, window in enumerate(windows):
            mine = torch.from_numpy(tokens[owner == number] - window.start)
            if not len(mine):
                continue
            here, share = mine + window.offset, len(mine) / len(tokens)
            margin = _span_margin(torch.from_numpy(logits[number])[None], mine, place).item() * share

            def target(batch: Batch, here: torch.Tensor = here) -> torch.Tensor:
                return _span_margin(self.network("entity_sentiment", batch), here, place)

            passages.append(self._passage(encoded, window, share, margin, target))
        return self._explanation("entity_sentiment", encoded, span, head.labels[place], float(chances[place]), passages)

    def entities(self, text: str) -> list[tuple[int, int]]:
        """The characters of the entities that the model itself finds in a text."""
        head = self._head("entity_sentiment")
        encoded, windows, logits = self._read(text, "entity_sentiment")
        rows = assemble(head, encoded, windows, logits)
        return [(one.start, one.end) for one in head.opinions(encoded, rows)]

    def _head(self, task: str) -> Head:
        if task not in self.bundle.heads:
            raise NotExplained(f"{self.bundle.path} has no head {task!r}; it has {', '.join(self.bundle.heads)}")
        return self.network.head(task)

    def _read(self, text: str, task: str) -> tuple[Encoded, list[Window], list[NDArray[np.float32]]]:
        """A text's tokens, its windows, and a task's logits of each."""
        manifest = self.bundle.manifest
        (encoded,) = self.encoder.encode([text])
        windows = cut(
            encoded,
            self.encoder,
            max_length=manifest.max_length,
            overlap=manifest.overlap,
            reading=manifest.reading,
        )
        if not windows:
            raise NotExplained(f"the text {text[:40]!r} holds no token; allowed is text with a word at least")
        logits = []
        for outcome in run(TorchBackend(self.network), windows, pad_id=self.encoder.pad_id, token_budget=2048):
            if isinstance(outcome, Exception):
                raise outcome
            logits.append(outcome[task])
        return encoded, windows, logits

    def _passage(
        self, encoded: Encoded, window: Window, weight: float, margin: float, target: Target | None
    ) -> Passage:
        """A window with its words, their weights multiplied by its `weight`; without a target, without words."""
        words: tuple[Word, ...] = ()
        error = 0.0
        if target is not None:
            tokens, error = attribute(self.network, window, target, pad_id=self.encoder.pad_id)
            words = _words(encoded, window, tokens * weight)
        return Passage(
            start=int(encoded.starts[window.start]),
            end=int(encoded.ends[window.stop - 1]),
            weight=weight,
            margin=margin,
            words=words,
            completeness_error=error * weight,
        )

    def _explanation(
        self,
        task: str,
        encoded: Encoded,
        span: tuple[int, int] | None,
        label: str,
        probability: float,
        passages: Sequence[Passage],
    ) -> Explanation:
        return Explanation(
            task=task,
            text=encoded.text,
            span=span,
            label=label,
            probability=probability,
            margin=sum(one.margin for one in passages),
            passages=tuple(passages),
            completeness_error=sum(one.completeness_error for one in passages),
            model_digest=self.bundle.digest,
        )


def _words(encoded: Encoded, window: Window, weights: NDArray[np.float64]) -> tuple[Word, ...]:
    """The words that a window holds, a cut one as a whole, from the weights of its tokens (tokens,)."""
    numbers = encoded.word_of[window.start : window.stop]
    first, last = int(numbers[0]), int(numbers[-1])
    summed = np.bincount(numbers - first, weights=weights, minlength=last - first + 1)
    starts, ends = encoded.word_starts(), encoded.word_ends()
    return tuple(
        Word(
            text=encoded.text[starts[number] : ends[number]],
            start=int(starts[number]),
            end=int(ends[number]),
            weight=float(summed[number - first]),
        )
        for number in range(first, last + 1)
    )


def _margin(logits: torch.Tensor, place: int) -> torch.Tensor:
    """Logits (..., labels) -> (...) one label's less the mean of the others'."""
    others = (logits.sum(dim=-1) - logits[..., place]) / (logits.shape[-1] - 1)
    return logits[..., place] - others


def _span_margin(logits: torch.Tensor, tokens: torch.Tensor, place: int) -> torch.Tensor:
    """Logits (windows, tokens, outputs) of the head -> (windows,) the margin of the mean sentiment of some tokens (count,)."""
    return _margin(logits[:, tokens, len(TAGS) : len(TAGS) + len(SENTIMENT)].mean(dim=1), place)


def _place(labels: Sequence[str], wanted: str | None, chances: NDArray[np.float64]) -> int:
    if wanted is None:
        return int(chances.argmax())
    if wanted not in labels:
        raise NotExplained(f"no label {wanted!r}; allowed are {', '.join(labels)}")
    return labels.index(wanted)


def _largest(values: NDArray[np.float64], most: int | None) -> set[int]:
    return set(np.argsort(-np.abs(values), kind="stable")[:most].tolist())
