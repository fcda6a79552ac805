"""One bundle at work on some texts: what its backend says of their windows becomes answers, of all texts at once.

Kept apart from models.engine, which knows tables. Does not cover tables, or which bundle serves which task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.assembling import sentence_rows, text_rows, word_places, word_rows, words_read
from models.backends import REFERENCE, Backend, open_backend
from models.bundle import Bundle
from models.findings import EntityOpinion, Extract, Found, Judgements, Mention
from models.heads import Head
from models.heads.topics import THRESHOLD
from models.passes import Asked, ask, compute, gather
from models.reader import Read, Reader, reason
from models.spans import Spans, Words
from models.tokens import Tokens

NO_TOKEN = "no text to score: title and body hold no token"


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
    opine: Callable[[Sequence[tuple[int, int]] | None], list[EntityOpinion]] | None = None
    topics: tuple[str, ...] | None = None  # None where no head answers
    extract: tuple[Extract, ...] | None = None  # sentences of the body that carry it
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What one bundle says of some texts, side by side; of those in `errors` nothing that counts."""

    texts: Sequence[str]
    errors: Mapping[int, str]
    tokens_total: NDArray[np.int64]  # (texts,)
    tokens_scored: NDArray[np.int64]  # (texts,)
    windows: NDArray[np.int64]  # (texts,)
    probabilities: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)  # of text heads, (texts, labels)
    found: Found | None = None  # None where no head looks for entities
    judge: Callable[[Spans | None], Judgements] | None = None  # None where no head has opinions of entities
    topics: Sequence[tuple[str, ...]] | None = None  # None where no head answers
    extracts: Sequence[tuple[Extract, ...]] | None = None


class Scorer:
    """A bundle on a backend, and its heads to decode what the backend says."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        token_budget: int = 2048,
        max_windows: int | None = None,
        backend: Backend | None = None,
        reader: Reader | None = None,
    ) -> None:
        self.bundle = bundle
        self.backend = backend or open_backend(REFERENCE, bundle, token_budget=token_budget)
        self.reader = reader or Reader.of(bundle, token_budget=token_budget, max_windows=max_windows)
        network = bundle.network()
        self.heads = {task: network.head(task) for task in bundle.heads}

    def ask(self, read: Read, pool: Executor) -> Asked:
        """Set the network to work on texts that its reader has read; what it says is for `answer`."""
        return ask(self.backend, read.work, pool)

    def answer(self, read: Read, said: Asked | None = None) -> Answered:
        """What the bundle says of texts that its reader has read, and that the network was asked about, else it is asked now."""
        tokens, cuts, work = read.tokens, read.cuts, read.work
        logits = compute(self.backend, work) if said is None else gather((one.result() for one in said), work)
        errors = dict(read.errors)
        if logits.broken:
            broken = np.asarray([number in logits.broken for number in range(len(work.lengths))], dtype=bool)[
                work.index
            ]
            for window in np.flatnonzero(broken)[::-1].tolist():
                error = logits.broken[int(work.index[window])]
                errors[int(cuts.texts[window])] = f"the network broke on it: {reason(error)}"
        for text in np.flatnonzero(cuts.counts == 0).tolist():
            errors.setdefault(text, NO_TOKEN)
        counts: dict[str, Any] = {
            "tokens_total": tokens.counts,
            "tokens_scored": cuts.covered(tokens),
            "windows": cuts.counts,
        }
        decoded = self._decoded(read, logits.said) if logits.said else {}
        return Answered(texts=tokens.texts, errors=errors, **counts, **decoded)

    def score(self, texts: Sequence[str]) -> list[TextScore]:
        """Every text's score, in order."""
        answered = self.answer(self.reader.read(texts))
        labels = {task: head.labels for task, head in self.heads.items()}
        return [_one(answered, number, labels) for number in range(len(texts))]

    def _decoded(self, read: Read, said: Mapping[str, NDArray[np.float32]]) -> dict[str, Any]:
        """What the logits by task (distinct windows or their tokens, outputs) mean."""
        tokens, cuts, work = read.tokens, read.cuts, read.work
        words = words_read(tokens, cuts)
        probabilities: dict[str, NDArray[np.float64]] = {}
        decoded: dict[str, Any] = {"probabilities": probabilities}
        for task, head in self.heads.items():
            temperature = self.bundle.manifest.temperatures[task]
            if head.level == "document":
                decoded["extracts"] = _extracts(
                    head, tokens, sentence_rows(head, tokens, cuts, work, said[task]), temperature
                )
            elif head.level == "text":
                probabilities[task] = head.probabilities(text_rows(cuts, work, said[task]), temperature)
                if task == "topics":
                    decoded["topics"] = [
                        tuple(head.labels[label] for label in np.flatnonzero(row))
                        for row in probabilities[task] >= THRESHOLD
                    ]
            else:
                logits = said[task][word_places(words, cuts, work)].astype(np.float64)
                rows = word_rows(head, words, logits)
                found = head.find(words, rows, temperature)
                if found is not None:
                    decoded["found"] = found
                if task == "entity_sentiment":
                    decoded["judge"] = partial(_judge, head, words, rows, temperature)
        return decoded


def _judge(head: Head, words: Words, rows: NDArray[np.float64], temperature: float, spans: Spans | None) -> Judgements:
    return head.judge(words, rows, temperature, spans=spans)


def _extracts(
    head: Head, tokens: Tokens, rows: Sequence[NDArray[np.float64]], temperature: float
) -> list[tuple[Extract, ...]]:
    """Of each text the sentences behind its first line that carry it; rows are (sentences read, 1) each."""
    return [
        tuple(head.extract(tokens[text], body, temperature, after=tokens.texts[text].find("\n") + 1))
        if len(body)
        else ()
        for text, body in enumerate(rows)
    ]


def _one(answered: Answered, number: int, labels: Mapping[str, tuple[str, ...]]) -> TextScore:
    """What is said of one of the texts."""
    if number in answered.errors:
        return TextScore(error=answered.errors[number])
    found = None if answered.found is None else answered.found.where(answered.found.spans.texts == number)
    return TextScore(
        text=answered.texts[number],
        tokens_total=int(answered.tokens_total[number]),
        tokens_scored=int(answered.tokens_scored[number]),
        windows=int(answered.windows[number]),
        probabilities={task: rows[number] for task, rows in answered.probabilities.items()},
        mentions=() if found is None else tuple(found.listed()),
        opine=None if answered.judge is None else partial(_opine, answered.judge, labels["entity_sentiment"], number),
        topics=None if answered.topics is None else answered.topics[number],
        extract=None if answered.extracts is None else answered.extracts[number],
    )


def _opine(
    judge: Callable[[Spans | None], Judgements],
    labels: tuple[str, ...],
    number: int,
    spans: Sequence[tuple[int, int]] | None,
) -> list[EntityOpinion]:
    said = judge(None if spans is None else Spans.of(spans, text=number))
    return said.where(said.spans.texts == number).listed(labels)
