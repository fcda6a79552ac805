"""What a network says of labelled examples, and the figures of it at a temperature.

Kept apart from models.evaluation, which knows bundles: training measures its present weights with what stands here. The quick figures cost next
to nothing; intervals, confusion and behaviour are for models.evaluation to add.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.assemble import assemble
from models.backends.torch import TorchBackend
from models.calibration import fit_temperature
from models.encoder import Encoder
from models.figures import Evaluation
from models.heads import Answers, Example, Head
from models.metrics import Scores, text_scores
from models.network import Network
from models.passes import Outcome, run
from models.reliability import calibration_error, reliability
from models.tokens import Encoded
from models.windows import Reading, cut

_CHUNK = 512  # examples whose windows are in memory at once


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Examples with what the network said of them: rows of logits each, as models.assemble gives them."""

    head: Head
    examples: Sequence[Example]
    encoded: Sequence[Encoded]
    logits: Sequence[NDArray[np.float64]]

    def temperature(self) -> float:
        """The temperature that suits these examples best."""
        kept_logits, kept_gold = [], []
        for example, encoded, logits in zip(self.examples, self.encoded, self.logits, strict=True):
            rows, gold = self.head.calibration(example, encoded, logits)
            kept_logits.append(rows)
            kept_gold.append(gold)
        return fit_temperature(np.concatenate(kept_logits), np.concatenate(kept_gold))

    def answers(self, temperature: float = 1.0, *, given: bool = False) -> list[Answers]:
        """The answers to every example; `given`: their entities are told and only their labels asked."""
        return [
            self.head.answers(example, encoded, logits, temperature, given=given)
            for example, encoded, logits in zip(self.examples, self.encoded, self.logits, strict=True)
        ]

    def evaluate(self, temperature: float = 1.0, *, given: bool = False) -> Evaluation:
        """The quick figures, with probabilities at a temperature."""
        return self.figures(self.answers(temperature, given=given), given=given)

    def figures(self, answers: Sequence[Answers], *, given: bool = False) -> Evaluation:
        """The quick figures of answers."""
        scores = _given_scores(answers, self.head.labels) if given else self.head.scores(answers)
        bins = reliability(confidences(answers), hits(answers))
        return Evaluation(
            task=self.head.task,
            n=len(answers),
            accuracy=scores.accuracy,
            precision=scores.precision,
            recall=scores.recall,
            f1=scores.f1,
            average="macro" if given else self.head.average,
            ece=calibration_error(bins),
            labels=scores.labels,
            given_entities=given,
            reliability=bins,
            more=getattr(scores, "more", {}),
        )


def confidences(answers: Sequence[Answers]) -> NDArray[np.float64]:
    """(answers,) how sure each single answer is, in [0, 1]."""
    return np.asarray([value for one in answers for value in one.confidence], dtype=np.float64)


def hits(answers: Sequence[Answers]) -> NDArray[np.bool_]:
    """(answers,) whether each single answer is right."""
    return np.asarray([a == b for one in answers for a, b in zip(one.gold, one.predicted, strict=True)], dtype=bool)


def _given_scores(answers: Sequence[Answers], labels: Sequence[str]) -> Scores:
    gold = [label for one in answers for label in one.gold]
    if not gold:
        return Scores(accuracy=0.0, precision=0.0, recall=0.0, f1=0.0, labels=())
    return text_scores(gold, [label for one in answers for label in one.predicted], labels)


def judge(
    network: Network,
    encoder: Encoder,
    task: str,
    examples: Sequence[Example],
    *,
    max_length: int,
    overlap: int,
    reading: Reading,
    token_budget: int = 2048,
) -> Judged:
    """What a network says of examples; one without any token gets all-equal logits."""
    head = network.head(task)
    encoded: list[Encoded] = []
    logits: list[NDArray[np.float64]] = []
    for begin in range(0, len(examples), _CHUNK):
        texts = encoder.encode([head.text(example) for example in examples[begin : begin + _CHUNK]])
        cuts = [cut(text, encoder, max_length=max_length, overlap=overlap, reading=reading) for text in texts]
        windows = [window for one in cuts for window in one]
        found = iter(run(TorchBackend(network), windows, pad_id=encoder.pad_id, token_budget=token_budget))
        for text, one in zip(texts, cuts, strict=True):
            logits.append(assemble(head, text, one, [_logits(next(found), task) for _ in one]))
        encoded.extend(texts)
    return Judged(head=head, examples=examples, encoded=encoded, logits=logits)


def _logits(outcome: Outcome, task: str) -> NDArray[np.float32]:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome[task]
