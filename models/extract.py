"""An extract from scored sentences, and how near it comes to a summary that people wrote.

Sentences are taken by their scores, the highest first; one that repeats a run of three words of a sentence taken before is passed over
(trigram blocking; Paulus et al. 2018). ROUGE is counted by the package rouge_score, unstemmed (Lin 2004): -1 and -2 are F1 of single words
and of pairs, -L of the longest common subsequence of all words. Does not cover: the scores themselves (models.heads.summary).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.oracle import grams

SENTENCES = 3  # in an extract at most, as in BERTSUM
_FIGURES = ("rouge1", "rouge2", "rougeL")


def choose(sentences: Sequence[str], scores: Sequence[float], *, most: int = SENTENCES) -> list[int]:
    """The numbers of at most `most` sentences, rising; of equal scores the first is taken."""
    chosen: list[int] = []
    seen: set[tuple[str, ...]] = set()
    for number in sorted(range(len(sentences)), key=lambda number: (-scores[number], number)):
        if len(chosen) == most:
            break
        runs = set(grams(sentences[number], 3))
        if not runs & seen:
            chosen.append(number)
            seen |= runs
    return sorted(chosen)


def joined(text: str, bounds: Sequence[tuple[int, int]]) -> str:
    """The characters [start, end) of each sentence, a line each."""
    return "\n".join(text[start:end] for start, end in bounds)


def rouge(pairs: Sequence[tuple[str, str]]) -> dict[str, float]:
    """The mean F1 in [0, 1] of rouge1, rouge2 and rougeL over pairs of (extract, summary)."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(_FIGURES))
    found = [scorer.score(target=summary, prediction=extract) for extract, summary in pairs]
    return {name: float(np.mean([one[name].fmeasure for one in found])) if found else 0.0 for name in _FIGURES}
