"""What each example adds to a task's figures, as counts, so that the figures of any drawing of examples are sums away.

Counted an example: its answers, the right ones, both again in each bin of confidence with the confidence stated, and for each label (or
entity type) how often it was answered rightly, answered, and there. Of tags the things counted are entities, first and last word and type all
right, found as seqeval finds them in its default mode; else every answer is a thing. An answer whose label is none of `labels` (no topic, no
entity) counts for accuracy alone. The figures are those that models.metrics says in prose.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.bootstrap import Interval, intervals
from models.reliability import BINS, bin_of


class Answered(Protocol):
    """What `models.heads.Answers` holds: labels as they should be and as they were said, each with its confidence."""

    @property
    def gold(self) -> tuple[str, ...]:
        """As it should be."""

    @property
    def predicted(self) -> tuple[str, ...]:
        """As it was said."""

    @property
    def confidence(self) -> tuple[float, ...]:
        """In [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Counts (examples, 2 + 3 bins + 3 labels): answers, right ones; answers, confidence, right by bin; right, said, there by label."""

    labels: tuple[str, ...]
    macro: bool
    counts: NDArray[np.float64]

    def figures(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums (rows, counts) -> accuracy, F1, ECE and the F1 of each label (rows, 3 + labels), all in [0, 1]."""
        answers, right = sums[:, 0], sums[:, 1]
        bins = sums[:, 2 : 2 + 3 * BINS].reshape(len(sums), 3, BINS)
        things = sums[:, 2 + 3 * BINS :].reshape(len(sums), 3, len(self.labels))
        each = _f1(things[:, 0], things[:, 1], things[:, 2])
        together = things.sum(axis=2)
        f1 = each.mean(axis=1) if self.macro and self.labels else _f1(together[:, 0], together[:, 1], together[:, 2])
        gap = np.abs(bins[:, 1] - bins[:, 2]).sum(axis=1)
        least_one = np.maximum(answers, 1.0)
        return np.column_stack([right / least_one, f1, gap / least_one, each])

    def intervals(self, *, seed: int = 0) -> dict[str, Interval]:
        """Intervals of 95% by the figure's name: accuracy, macro_f1 or micro_f1, ece, f1_LABEL; none for no examples."""
        if not len(self.counts):
            return {}
        names = ("accuracy", "macro_f1" if self.macro else "micro_f1", "ece", *(f"f1_{one}" for one in self.labels))
        return dict(zip(names, intervals(self.counts, self.figures, seed=seed), strict=True))


def tally_labels(answers: Sequence[Answered], labels: Sequence[str], *, macro: bool = True) -> Tally:
    """The counts where every answer is a thing; F1 is macro, or micro over all of `labels`."""
    owner = _owners([len(one.gold) for one in answers])
    place = {label: number for number, label in enumerate(labels)}
    gold = np.asarray([place.get(label, -1) for one in answers for label in one.gold], dtype=np.int64)
    said = np.asarray([place.get(label, -1) for one in answers for label in one.predicted], dtype=np.int64)
    shape = (len(answers), len(labels))
    things = [
        _table(owner, said, gold == said, shape),
        _table(owner, said, None, shape),
        _table(owner, gold, None, shape),
    ]
    return _tally(answers, owner, things, tuple(labels), macro=macro)


def tally_entities(answers: Sequence[Answered]) -> Tally:
    """The counts where answers are IOB2 tags and the things are entities; F1 is micro."""
    from seqeval.metrics.sequence_labeling import get_entities

    gold = [set(get_entities(list(one.gold))) for one in answers]
    said = [set(get_entities(list(one.predicted))) for one in answers]
    types = sorted({kind for found in (*gold, *said) for kind, _, _ in found})
    place = {kind: number for number, kind in enumerate(types)}

    def counted(found: Iterable[set[tuple[str, int, int]]]) -> NDArray[np.float64]:
        sets = list(found)
        number = np.asarray([place[kind] for one in sets for kind, _, _ in one], dtype=np.int64)
        return _table(_owners([len(one) for one in sets]), number, None, (len(answers), len(types)))

    right = (a & b for a, b in zip(gold, said, strict=True))
    owner = _owners([len(one.gold) for one in answers])
    return _tally(answers, owner, [counted(right), counted(said), counted(gold)], tuple(types), macro=False)


def _tally(
    answers: Sequence[Answered],
    owner: NDArray[np.int64],
    things: Sequence[NDArray[np.float64]],
    labels: tuple[str, ...],
    *,
    macro: bool,
) -> Tally:
    correct = np.asarray([a == b for one in answers for a, b in zip(one.gold, one.predicted, strict=True)], dtype=bool)
    confidence = np.asarray([value for one in answers for value in one.confidence], dtype=np.float64)
    number, shape = bin_of(confidence), (len(answers), BINS)
    bins = [
        _table(owner, number, None, shape),
        _table(owner, number, confidence, shape),
        _table(owner, number, correct, shape),
    ]
    counts = np.column_stack([bins[0].sum(axis=1), bins[2].sum(axis=1), *bins, *things])
    return Tally(labels=labels, macro=macro, counts=counts)


def _owners(lengths: Sequence[int]) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)


def _table(
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    weights: NDArray[np.float64] | NDArray[np.bool_] | None,
    shape: tuple[int, int],
) -> NDArray[np.float64]:
    """`weights` (1 where None) summed by row and column; columns below 0 are left out."""
    kept = columns >= 0
    flat = rows[kept] * shape[1] + columns[kept]
    values = np.ones(len(flat)) if weights is None else weights[kept].astype(np.float64)
    summed: NDArray[np.float64] = np.bincount(flat, weights=values, minlength=shape[0] * shape[1]).astype(np.float64)
    return summed.reshape(shape)


def _f1(right: NDArray[np.float64], said: NDArray[np.float64], there: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = 2.0 * right / np.maximum(said + there, 1e-12)
    return found
