"""What the figures mean, in prose, and then how they are computed.

Accuracy: the share of examples (texts, or words for the tags) whose answer is right.
Macro-F1: F1 of each label, averaged with every label counting the same, so that a rare label weighs as much as a frequent one.
Micro-F1 of entities: an entity counts as found only if its first word, its last word and its type are all right; precision is the share
of found among those answered, recall among those there, F1 their harmonic mean. Counted by seqeval in its default mode, the one the published
figures use, in which an I- that follows no B- of its type opens an entity.
Expected calibration error (ECE; Guo et al. 2017): answers are sorted by how sure they are into 15 bins of equal width over (0, 1]; in each
bin the share of right answers is compared with the mean of the stated probabilities; ECE is the mean of these gaps, each bin weighted
by its answers. 0 means that of the answers given with 80%, 80% are right. For tags every word is one answer, the many O among them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_BINS = 15


@dataclass(frozen=True, kw_only=True)
class LabelScore:
    """One label's (or entity type's) figures, in [0, 1]; `support` is how often it stands in the gold answers."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The figures of one task on one set, in [0, 1]. F1 is macro for texts, micro over entities for tags; `more` are a task's own, by name."""

    accuracy: float
    precision: float
    recall: float
    f1: float
    labels: tuple[LabelScore, ...]
    more: Mapping[str, float] = field(default_factory=dict)


def expected_calibration_error(confidence: NDArray[np.floating], correct: NDArray[np.bool_]) -> float:
    """ECE in [0, 1] of answers with confidence (answers,) in [0, 1] and whether each was right (answers,); 0 for no answers."""
    if not len(confidence):
        return 0.0
    bins = np.clip(np.ceil(confidence * _BINS).astype(int) - 1, 0, _BINS - 1)
    error = 0.0
    for number in np.unique(bins):
        here = bins == number
        error += here.mean() * abs(correct[here].mean() - confidence[here].mean())
    return float(error)


def text_scores(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> Scores:
    """Accuracy, macro precision, recall and F1, and each label's own, by scikit-learn."""
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    precision, recall, f1, support = precision_recall_fscore_support(
        gold, predicted, labels=list(labels), zero_division=0.0
    )
    each = tuple(
        LabelScore(label=label, precision=float(p), recall=float(r), f1=float(f), support=int(s))
        for label, p, r, f, s in zip(labels, precision, recall, f1, support, strict=True)
    )
    return Scores(
        accuracy=float(accuracy_score(gold, predicted)),
        precision=float(np.mean(precision)),
        recall=float(np.mean(recall)),
        f1=float(np.mean(f1)),
        labels=each,
    )


def tag_scores(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> Scores:
    """Accuracy of words, micro precision, recall and F1 of entities, and each type's own, by seqeval."""
    from seqeval.metrics import accuracy_score, classification_report

    given, said = [list(tags) for tags in gold], [list(tags) for tags in predicted]
    accuracy = float(accuracy_score(given, said)) if any(given) else 0.0
    if all(tag == "O" for tags in (*given, *said) for tag in tags):
        return Scores(accuracy=accuracy, precision=0.0, recall=0.0, f1=0.0, labels=())
    report = classification_report(given, said, output_dict=True, zero_division=0)
    rows = {name: figures for name, figures in report.items() if not name.endswith(" avg")}
    each = tuple(
        LabelScore(
            label=name,
            precision=float(figures["precision"]),
            recall=float(figures["recall"]),
            f1=float(figures["f1-score"]),
            support=int(figures["support"]),
        )
        for name, figures in sorted(rows.items())
    )
    micro = report["micro avg"]
    return Scores(
        accuracy=accuracy,
        precision=float(micro["precision"]),
        recall=float(micro["recall"]),
        f1=float(micro["f1-score"]),
        labels=each,
    )
