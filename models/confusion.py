"""Which answer was given where which was right: the confusion matrix of a task.

A row is a right label, a column a given one, a cell the number of answers. Of texts every text counts once. Of tags every word counts once, by
the type of the entity it stands in, "none" outside of any, so that a type taken for another is told from an entity that was missed. Counted by
scikit-learn. Does not cover: where an entity's borders were wrong; F1 over entities does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

NONE = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class Confusion:
    """Answers by right label (rows) and given label (columns), both in the order of `labels`."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    @property
    def total(self) -> int:
        """All answers."""
        return sum(sum(row) for row in self.counts)


def confusion(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> Confusion:
    """The matrix of answers (answers,) over labels; a label outside of them gets a row and column at the end."""
    from sklearn.metrics import confusion_matrix

    order = (*labels, *sorted({*gold, *predicted} - set(labels)))
    if not gold or len(order) == 1:
        return Confusion(labels=order, counts=tuple((len(gold),) * len(order) for _ in order))
    counts = confusion_matrix(list(gold), list(predicted), labels=list(order))
    return Confusion(labels=order, counts=tuple(tuple(int(cell) for cell in row) for row in counts))


def type_of(tag: str) -> str:
    """The entity type of an IOB2 tag, "none" for O."""
    return tag[2:] if tag[:2] in ("B-", "I-") else NONE
