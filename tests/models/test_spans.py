"""Characters become words, and words one answer a span."""

import numpy as np
import pytest
import torch

from models.encoder import Encoder
from models.spans import Spans, Words, relevance, span_means, words_of

TEXT = "from Acme Inc, of Oslo\u200d"


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        (5, 13, [1, 2]),  # Acme Inc
        (3, 12, [1, 2]),  # "m Acme In": a set whose offsets are two characters off
        (4, 8, [1]),
        (6, 7, [1]),  # one letter: better its word than none
        (13, 14, [3]),
        (4, 5, []),
        (22, 23, []),
        (0, 23, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_a_span_holds_the_words_that_lie_mostly_in_it(
    start: int, end: int, words: list[int], tiny_encoder: Encoder
) -> None:
    (encoded,) = tiny_encoder.encode([TEXT])
    assert words_of(encoded, start, end).tolist() == words


def test_spans_are_averaged_a_window_each(tiny_encoder: Encoder) -> None:
    tags = torch.tensor([[-100, 1, 2, 0, 1, -100], [-100, 2, 1, 1, 0, 0]])
    labels = torch.tensor([[-100, 0, 0, -100, 1, -100], [-100, 2, 2, 1, -100, -100]])
    logits = torch.arange(12.0).reshape(2, 6, 1)
    means, gold = span_means(logits, tags, labels, ignored=-100)
    assert means[:, 0].tolist() == [1.5, 4.0, 7.0, 8.0, 9.0]
    assert gold.tolist() == [0, 1, 2, 2, 1]
    means, gold = span_means(logits, tags, torch.full((2, 6), -100), ignored=-100)
    assert (means.shape, gold.shape) == ((0, 1), (0,))


def test_relevance_is_the_weight_of_the_sentences_read(tiny_encoder: Encoder) -> None:
    text = "Acme rises\nBolt falls. The river.\nACME said."
    (encoded,) = tiny_encoder.encode([text])
    words = len(encoded.first)
    spans = [(0, 4), (11, 15)]
    total = 1 + 1 / 2 + 1 / 3 + 1 / 4

    def found(bounds: list[tuple[int, int]], *, read: int = words) -> list[float]:
        return relevance(Words.of(encoded, read), Spans.of(bounds)).tolist()

    assert found(spans) == pytest.approx([1 / total, 0.5 / total])
    assert found(spans, read=2) == [1.0, 0.0]
    assert found([*spans, (34, 38)])[0] == pytest.approx((1 + 1 / 4) / total)
    assert found([]) == []
    assert found(spans, read=0) == [0.0, 0.0]
    assert np.isclose(found([(0, len(text))])[0], 1 / total)
