"""The counts behind the labels are those of the rouge_score package, and the labels those of the greedy search."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from models.oracle import f1, grams, greedy_labels

ARTICLE = (
    "Halden Marine said on Monday that it would close its yard in Torvald.",
    "The weather in the town was fine.",
    "The yard employs 400 people, who were told in the morning.",
    "Halden Marine was founded in 1921.",
    "Shares of the company rose 4% after the announcement.",
)
SUMMARY = "Halden Marine will close its Torvald yard, which employs 400 people; shares of the company rose."

texts = st.text(alphabet="ab c'.2é-\n", max_size=40)


@given(one=texts, other=texts)
def test_f1_is_that_of_rouge_score(one: str, other: str) -> None:
    found = RougeScorer(["rouge1", "rouge2"]).score(target=other, prediction=one)
    assert f1(grams(one, 1), grams(other, 1)) == pytest.approx(found["rouge1"].fmeasure)
    assert f1(grams(one, 2), grams(other, 2)) == pytest.approx(found["rouge2"].fmeasure)


def test_the_sentences_that_the_summary_retells_are_labelled() -> None:
    assert greedy_labels(ARTICLE, SUMMARY) == [1, 0, 1, 0, 1]
    assert greedy_labels(ARTICLE, SUMMARY, most=1) == [0, 0, 0, 0, 1]


def test_one_sentence_is_the_best_there_is() -> None:
    def rouge(sentence: str) -> float:
        return sum(f1(grams(sentence, n), grams(SUMMARY, n)) for n in (1, 2))

    best = max(ARTICLE, key=rouge)
    assert greedy_labels(ARTICLE, SUMMARY, most=1).index(1) == ARTICLE.index(best)


def test_what_shares_no_word_is_never_labelled() -> None:
    assert greedy_labels(("Nothing of it.", "Här inte."), "Quite different words") == [0, 0]
    assert greedy_labels((), SUMMARY) == []
    assert greedy_labels(ARTICLE, "") == [0] * 5


def test_a_repeated_sentence_is_taken_once() -> None:
    assert greedy_labels((ARTICLE[0], ARTICLE[0]), ARTICLE[0]) == [1, 0]
