"""Does a backend say what float32 says? Held against the reference on real text before it may serve.

Two figures a task, on a check set of labelled examples and unlabelled texts. The difference is the largest |difference| of any probability that a
head gives for any of the texts, its words or sentences, at the bundle's temperature. The F1 change is the backend's F1 on the labelled examples less
the reference's (of summaries ROUGE), so below 0 is a loss. A backend that computes in floats may differ by DIFFERENCE and lose FLOAT_LOSS of
F1, and a single example that is answered otherwise is let pass, however much F1 it is worth on a small check set: no probability moved far.
One of eight bits may lose INT8_LOSS on the check set as it is: where that is too small to show half a point, eight bits are refused for one sentence.

Does not cover: whether the reference is right (models.evaluation), speed (models.backends.auto).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.assemble import assemble
from models.backends import Backend, BackendRefused
from models.backends.torch import TorchBackend
from models.batching import drawn
from models.bundle import Bundle
from models.heads import Answers, Example
from models.passes import run
from models.tokens import Encoded
from models.windows import Window, cut

DIFFERENCE = 0.05  # of a probability
FLOAT_LOSS, INT8_LOSS = 0.001, 0.005  # of F1, in [0, 1]
MOST_EXAMPLES, MOST_TEXTS = 1000, 256  # of a task, and without labels, that are read; evenly drawn where there are more
MOST_CHARACTERS = (
    80_000  # of the texts without labels, some 20,000 tokens: articles are read to their second or third sentence
)


@dataclass(frozen=True, kw_only=True)
class CheckSet:
    """Labelled examples by task, none of them learnt by the model, and real texts without labels."""

    examples: Mapping[str, Sequence[Example]]
    texts: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class TaskAgreement:
    """Of one task: the largest difference of a probability, the change in F1 (both in [0, 1]), and how many of `examples` are answered otherwise."""

    difference: float
    f1_change: float
    changed: int
    examples: int


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How a backend compares with the reference, by task."""

    backend: str
    tasks: Mapping[str, TaskAgreement] = field(default_factory=dict)

    def refusal(self) -> str | None:
        """Why it may not serve, with the figures; None where it may."""
        eight = self.backend.endswith("-int8")
        most, limit = INT8_LOSS if eight else FLOAT_LOSS, "" if eight else f" and a difference of {DIFFERENCE}"
        lost = {
            task: one
            for task, one in self.tasks.items()
            if (one.f1_change < -most and (eight or one.changed > 1))
            or (one.difference > DIFFERENCE and not eight)
            or not np.isfinite(one.difference)
        }
        if not lost:
            return None
        return f"{self.backend} does not agree with float32: {self.sentence(lost)}; allowed are a loss of {100 * most:.1f} points{limit}"

    def sentence(self, tasks: Mapping[str, TaskAgreement] | None = None) -> str:
        """The figures in one line."""
        return ", ".join(
            f"{task}: probabilities differ by up to {one.difference:.4f}, F1 by {100 * one.f1_change:+.2f} points "
            f"({one.changed} of {one.examples} examples answered otherwise)"
            for task, one in sorted((self.tasks if tasks is None else tasks).items())
        )


@dataclass(frozen=True, kw_only=True)
class _Said:
    """What a backend said: rows of logits of every text by task, and its answers to the task's own examples."""

    rows: Mapping[str, Sequence[NDArray[np.float64]]]
    answers: Mapping[str, Sequence[Answers]]


class Check:
    """A check set, read once and answered by the reference, that backends of one bundle are held against."""

    def __init__(self, bundle: Bundle, check: CheckSet, *, token_budget: int = 2048) -> None:
        """Raises BackendRefused where a task of the bundle has no labelled example."""
        missing = [task for task in bundle.heads if not check.examples.get(task)]
        if missing:
            raise BackendRefused(
                f"the check set has no labelled examples of {', '.join(missing)}; needed for each of {', '.join(bundle.heads)}"
            )
        self.bundle = bundle
        self.network = bundle.network()
        self.token_budget = token_budget
        self.examples = {task: drawn(check.examples[task], MOST_EXAMPLES) for task in bundle.heads}
        labelled = [self.network.head(task).text(one) for task in bundle.heads for one in self.examples[task]]
        self.texts = (*labelled, *begun(check.texts))
        encoder, manifest = bundle.encoder(), bundle.manifest
        self.pad_id = encoder.pad_id
        self.encoded: list[Encoded] = list(encoder.encode(self.texts))
        self.cuts: list[list[Window]] = [
            cut(one, encoder, max_length=manifest.max_length, overlap=manifest.overlap, reading=manifest.reading)
            for one in self.encoded
        ]
        self.windows = [window for one in self.cuts for window in one]
        self.reference = self._asked(TorchBackend(self.network))

    def hold(self, backend: Backend) -> Agreement:
        """A backend's figures beside the reference's; whatever it raises on a batch is raised."""
        said = self._asked(backend)
        return Agreement(backend=backend.name, tasks={task: self._compared(task, said) for task in self.bundle.heads})

    def _asked(self, backend: Backend) -> _Said:
        outcomes = run(backend, self.windows, pad_id=self.pad_id, token_budget=self.token_budget)
        found = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        rows: dict[str, list[NDArray[np.float64]]] = {}
        for task in self.bundle.heads:
            head, windows = self.network.head(task), iter(found)
            rows[task] = [
                assemble(head, encoded, mine, [next(windows)[task] for _ in mine])
                for encoded, mine in zip(self.encoded, self.cuts, strict=True)
            ]
        return _Said(rows=rows, answers={task: self._answers(task, rows[task]) for task in rows})

    def _answers(self, task: str, rows: Sequence[NDArray[np.float64]]) -> list[Answers]:
        before = [len(self.examples[other]) for other in self.bundle.heads[: self.bundle.heads.index(task)]]
        begin, temperature = sum(before), self.bundle.manifest.temperatures[task]
        return [
            self.network.head(task).answers(example, self.encoded[place], rows[place], temperature)
            for place, example in enumerate(self.examples[task], start=begin)
        ]

    def _compared(self, task: str, said: _Said) -> TaskAgreement:
        head, temperature = self.network.head(task), self.bundle.manifest.temperatures[task]
        differences = [0.0]
        for encoded, ours, theirs in zip(self.encoded, self.reference.rows[task], said.rows[task], strict=True):
            if len(ours):
                exact, near = (head.probabilities(head.emissions(encoded, one), temperature) for one in (ours, theirs))
                differences.append(float(np.abs(exact - near).max()))
        exact_answers, near_answers = self.reference.answers[task], said.answers[task]
        return TaskAgreement(
            difference=float(np.max(differences)),
            f1_change=head.scores(near_answers).f1 - head.scores(exact_answers).f1,
            changed=sum(a.predicted != b.predicted for a, b in zip(exact_answers, near_answers, strict=True)),
            examples=len(exact_answers),
        )


def begun(texts: Sequence[str]) -> list[str]:
    """MOST_TEXTS of some texts at most, evenly drawn, and of a long one as much as keeps all within MOST_CHARACTERS."""
    chosen = drawn(texts, MOST_TEXTS)
    return [text[: max(1, MOST_CHARACTERS // len(chosen))] for text in chosen]
