"""A model held against labelled examples: the figures of models.metrics, and whether it has seen the texts before.

Evaluating on texts that a bundle learnt from is not refused, since one may want to know; their number stands in the result as `overlap`, and
the log warns.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models import bundle as bundles
from models.calibration import fit_temperature, softmax
from models.contamination import text_hash
from models.encoder import Encoded, Encoder
from models.heads import IGNORED, Example, Head
from models.metrics import LabelScore, Scores, expected_calibration_error
from models.network import Network, Outcome, run
from models.windows import Reading, cut, pool, stitch

_CHUNK = 512  # examples whose windows are in memory at once

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Figures of one task on `n` examples, in [0, 1]; `f1` is macro for texts and micro over entities for tags."""

    task: str
    n: int
    accuracy: float
    precision: float
    recall: float
    f1: float
    average: str
    ece: float
    labels: tuple[LabelScore, ...]
    overlap: int = 0
    model_digest: str = ""

    def metrics(self) -> dict[str, float]:
        """The figures by name: accuracy, macro_f1 or micro_f1, precision, recall, ece, n, overlap, f1_LABEL."""
        named = {f"f1_{label.label}": label.f1 for label in self.labels}
        plain = {
            name: float(getattr(self, name)) for name in ("n", "accuracy", "precision", "recall", "ece", "overlap")
        }
        return {**plain, f"{self.average}_f1": self.f1, **named}

    def to_json(self) -> str:
        """Everything as JSON text."""
        return json.dumps({**asdict(self), f"{self.average}_f1": self.f1}, indent=2, sort_keys=True)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Examples with what the network said of them: logits (1, labels) or (words, labels) each."""

    head: Head
    examples: Sequence[Example]
    encoded: Sequence[Encoded]
    logits: Sequence[NDArray[np.float64]]

    def temperature(self) -> float:
        """The temperature that suits these examples best."""
        kept_logits, kept_gold = [], []
        for example, encoded, logits in zip(self.examples, self.encoded, self.logits, strict=True):
            gold = self.head.targets(example, encoded)[: len(logits)]
            kept_logits.append(logits[gold != IGNORED])
            kept_gold.append(gold[gold != IGNORED])
        return fit_temperature(np.concatenate(kept_logits), np.concatenate(kept_gold))

    def evaluate(self, temperature: float = 1.0) -> Evaluation:
        """The figures, with probabilities at a temperature."""
        answers = [
            self.head.answers(example, encoded, softmax(logits, temperature))
            for example, encoded, logits in zip(self.examples, self.encoded, self.logits, strict=True)
        ]
        scores: Scores = self.head.scores(answers)
        confidence = np.asarray([value for one in answers for value in one.confidence])
        correct = np.asarray(
            [a == b for one in answers for a, b in zip(one.gold, one.predicted, strict=True)], dtype=bool
        )
        return Evaluation(
            task=self.head.task,
            n=len(answers),
            accuracy=scores.accuracy,
            precision=scores.precision,
            recall=scores.recall,
            f1=scores.f1,
            average="macro" if self.head.level == "text" else "micro",
            ece=expected_calibration_error(confidence, correct),
            labels=scores.labels,
        )


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
        found = iter(run(network, windows, pad_id=encoder.pad_id, token_budget=token_budget))
        for text, one in zip(texts, cuts, strict=True):
            mine = [_logits(next(found), task) for _ in one]
            if not one:
                logits.append(np.zeros((int(head.level == "text"), len(head.labels))))
            elif head.level == "text":
                logits.append(pool(one, mine)[None])
            else:
                logits.append(stitch(text, one, mine).astype(np.float64))
        encoded.extend(texts)
    return Judged(head=head, examples=examples, encoded=encoded, logits=logits)


def _logits(outcome: Outcome, task: str) -> NDArray[np.float32]:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome[task]


def evaluate(bundle_dir: str | Path, task: str, examples: Sequence[Example]) -> Evaluation:
    """A bundle's figures for a task on labelled examples, with the number of examples that its training set holds."""
    bundle = bundles.load(bundle_dir)
    if task not in bundle.heads:
        raise bundles.BundleRefused(f"{bundle.path} has no head {task!r}; it has {', '.join(bundle.heads)}")
    judged = judge(
        bundle.network(),
        bundle.encoder(),
        task,
        examples,
        max_length=bundle.max_length,
        overlap=bundle.manifest.overlap,
        reading=bundle.manifest.reading,
    )
    seen = bundle.training_texts(task)
    overlap = sum(text_hash(judged.head.text(example)) in seen for example in examples)
    if overlap:
        logger.warning("%d of %d %s examples were in the training set of %s", overlap, len(examples), task, bundle.path)
    figures = judged.evaluate(bundle.manifest.temperatures[task])
    return replace(figures, overlap=overlap, model_digest=bundle.digest)
