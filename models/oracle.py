"""Which sentences an extract should have taken: labels derived from a summary that people wrote, greedily by ROUGE.

Nallapati et al. 2017 ("SummaRuNNer"), as BERTSUM has it (Liu and Lapata 2019): beginning with nothing, the sentence that raises ROUGE-1 +
ROUGE-2 of the extract most is added, until none raises it or there are enough. ROUGE-n is the F1 of n-grams, each counted as often as both
sides have it (Lin 2004). Here a word is a run of a-z and 0-9 in lower case, unstemmed, as the package rouge_score cuts them, so that the
labels and the reported figures count the same things; n-grams of an extract do not reach over the borders of sentences.

Does not cover: the best extract of all (that is a search over subsets), ROUGE-L as a target, languages without Latin letters: a text whose
sentences share no word with its summary has no label.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_WORD = re.compile(r"[a-z0-9]+")
MOST_SENTENCES = 3

Grams = Counter[tuple[str, ...]]


def words(text: str) -> list[str]:
    """The words of a text that ROUGE counts."""
    return _WORD.findall(text.lower())


def grams(text: str, n: int) -> Grams:
    """How often each run of n words stands in a text."""
    found = words(text)
    return Counter(zip(*(found[begin:] for begin in range(n)), strict=False))


def f1(extract: Grams, reference: Grams) -> float:
    """ROUGE-n F1 in [0, 1] of n-grams held against others; 0 where they share none."""
    shared = sum((extract & reference).values())
    return 2.0 * shared / (extract.total() + reference.total()) if shared else 0.0


@dataclass(frozen=True, kw_only=True)
class _Counts:
    one: Grams
    two: Grams

    @classmethod
    def of(cls, text: str) -> _Counts:
        return cls(one=grams(text, 1), two=grams(text, 2))

    def __add__(self, other: _Counts) -> _Counts:
        return _Counts(one=self.one + other.one, two=self.two + other.two)

    def against(self, reference: _Counts) -> float:
        return f1(self.one, reference.one) + f1(self.two, reference.two)


def greedy_labels(sentences: Sequence[str], summary: str, *, most: int = MOST_SENTENCES) -> list[int]:
    """1 for each sentence of the greedy extract of at most `most` sentences, 0 for the others."""
    reference = _Counts.of(summary)
    counts = [_Counts.of(sentence) for sentence in sentences]
    chosen: list[int] = []
    held, best = _Counts(one=Counter(), two=Counter()), 0.0
    while len(chosen) < most:
        gains = {
            number: (held + one).against(reference)
            for number, one in enumerate(counts)
            if number not in chosen and one.one & reference.one
        }
        number = max(gains, key=lambda key: (gains[key], -key), default=None)
        if number is None or gains[number] <= best:
            break
        chosen.append(number)
        held, best = held + counts[number], gains[number]
    return [int(number in chosen) for number in range(len(sentences))]
