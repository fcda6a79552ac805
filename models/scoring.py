"""One bundle at work on a handful of texts: encode, cut, one pass of the trunk for all its heads, pool and decode.

Kept apart from models.engine, which knows tables. Does not cover tables, or which bundle serves which task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from models.assemble import assemble, assemble_body
from models.bundle import Bundle
from models.encoder import Encoded
from models.heads import EntityOpinion, Extract, Head, Mention
from models.heads.topics import THRESHOLD
from models.network import Outcome, run
from models.windows import Window, covered, cut

Span: TypeAlias = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class TextScore:
    """What one bundle says of one text; `error` is why it says nothing.

    `opine` answers for spans of characters, or for those that the head finds by itself; None where no head has opinions of entities.
    """

    text: str = ""
    tokens_total: int = 0
    tokens_scored: int = 0
    windows: int = 0
    probabilities: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)  # of text heads, (labels,) by task
    mentions: tuple[Mention, ...] = ()
    opine: Callable[[Sequence[Span] | None], list[EntityOpinion]] | None = None
    named: bool = False  # whether it looks for entities at all
    topics: tuple[str, ...] | None = None  # None where no head answers
    extract: tuple[Extract, ...] | None = None  # sentences of the body that carry it
    error: str | None = None


class Scorer:
    """A loaded bundle, on the GPU where there is one."""

    def __init__(self, bundle: Bundle, *, token_budget: int, max_windows: int | None) -> None:
        self.bundle = bundle
        self.network = bundle.network().to("cuda" if torch.cuda.is_available() else "cpu")
        self.encoder = bundle.encoder()
        self.token_budget = token_budget
        self.max_windows = max_windows

    def score(self, texts: Sequence[str]) -> list[TextScore]:
        """Every text's score, in order."""
        encoded = self._encode(texts)
        cuts = [[] if isinstance(one, Exception) else self._cut(one) for one in encoded]
        windows = [window for one in cuts for window in one]
        outcomes = iter(run(self.network, windows, pad_id=self.encoder.pad_id, token_budget=self.token_budget))
        return [self._finish(one, mine, outcomes) for one, mine in zip(encoded, cuts, strict=True)]

    def _encode(self, texts: Sequence[str]) -> list[Encoded | Exception]:
        try:
            return list(self.encoder.encode(texts))
        except Exception as error:  # the tokenizer names no text: ask for each alone
            return [error] if len(texts) == 1 else [one for text in texts for one in self._encode([text])]

    def _cut(self, encoded: Encoded) -> list[Window]:
        manifest = self.bundle.manifest
        return cut(
            encoded,
            self.encoder,
            max_length=manifest.max_length,
            overlap=manifest.overlap,
            reading=manifest.reading,
            max_windows=self.max_windows,
        )

    def _finish(self, encoded: Encoded | Exception, windows: list[Window], outcomes: Iterator[Outcome]) -> TextScore:
        if isinstance(encoded, Exception):
            return TextScore(error=f"the tokenizer broke on it: {_reason(encoded)}")
        if not windows:
            return TextScore(error="no text to score: title and body hold no token")
        found: list[Mapping[str, NDArray[np.float32]]] = []
        errors: list[Exception] = []
        for _ in windows:
            outcome = next(outcomes)
            errors.append(outcome) if isinstance(outcome, Exception) else found.append(outcome)
        if errors:
            return TextScore(error=f"the network broke on it: {_reason(errors[0])}")
        probabilities: dict[str, NDArray[np.float64]] = {}
        mentions: list[Mention] = []
        opine: Callable[[Sequence[Span] | None], list[EntityOpinion]] | None = None
        topics: tuple[str, ...] | None = None
        extract: tuple[Extract, ...] | None = None
        for task in self.bundle.heads:
            head, temperature = self.network.head(task), self.bundle.manifest.temperatures[task]
            said = [one[task] for one in found]
            if task == "summary":
                title = encoded.text.find("\n") + 1
                body = assemble_body(head, encoded, windows, said, after=title)
                extract = tuple(head.extract(encoded, body, temperature, after=title))
                continue
            rows = assemble(head, encoded, windows, said)
            if head.level == "text":
                probabilities[task] = head.probabilities(rows, temperature)[0]
            mentions.extend(head.mentions(encoded, rows, temperature))
            if task == "entity_sentiment":
                opine = partial(_opinions, head, encoded, rows, temperature)
            elif task == "topics":
                topics = tuple(
                    label for label, chance in zip(head.labels, probabilities[task], strict=True) if chance >= THRESHOLD
                )
        return TextScore(
            text=encoded.text,
            tokens_total=encoded.tokens,
            tokens_scored=covered(windows),
            windows=len(windows),
            probabilities=probabilities,
            mentions=tuple(mentions),
            opine=opine,
            named="ner" in self.bundle.heads,
            topics=topics,
            extract=extract,
        )


def _opinions(
    head: Head, encoded: Encoded, rows: NDArray[np.float64], temperature: float, spans: Sequence[Span] | None
) -> list[EntityOpinion]:
    return head.opinions(encoded, rows, temperature, spans=spans)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]
