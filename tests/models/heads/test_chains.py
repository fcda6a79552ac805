"""A learnt chain has begun and ended with single sentences, so in an article it begins and ends with each."""

import numpy as np
import pytest
import torch

from data_contracts.labelled import NerExample
from models.crf import RATE
from models.encoder import Encoder
from models.heads import HeadOptions
from models.heads.entity_sentiment import EntitySentimentHead
from models.heads.ner import NerHead
from models.tagging import Tagger

SENTENCES = ("Oslo Bank said profit rises.", "Acme.", "Ada Lund and Bolt said on monday!", "Zeta falls.")


def _taught(tagger: Tagger) -> None:
    """A chain whose beginnings and ends are worth as much as its words."""
    assert tagger.crf is not None
    with torch.no_grad():
        torch.manual_seed(3)
        for parameter in (tagger.crf.steps, tagger.crf.ends):
            parameter.normal_(std=2.0 / RATE)


def _logits(words: int, outputs: int) -> np.ndarray:
    return np.random.default_rng(words).normal(size=(words, outputs)) * 2


def test_entities_of_an_article_are_those_of_its_sentences(tiny_encoder: Encoder) -> None:
    head = NerHead(8, HeadOptions(crf=True))
    _taught(head.tagger)
    article, *alone = tiny_encoder.encode([" ".join(SENTENCES), *SENTENCES])
    logits = [_logits(len(one.first), head.outputs) for one in alone]
    offsets = np.cumsum([0, *(len(one) + 1 for one in SENTENCES)])
    expected = [
        (found.start + offset, found.end + offset, found.type, pytest.approx(found.score))
        for one, rows, offset in zip(alone, logits, offsets, strict=False)
        for found in head.mentions(one, rows, 1.5)
    ]
    found = head.mentions(article, np.concatenate(logits), 1.5)
    assert [(one.start, one.end, one.type, one.score) for one in found] == expected != []


def test_answers_and_calibration_read_sentence_by_sentence_too(tiny_encoder: Encoder) -> None:
    head = NerHead(8, HeadOptions(crf=True))
    _taught(head.tagger)
    examples = [
        NerExample(tokens=tuple(text.split()), tags=("O",) * len(text.split()))
        for text in (" ".join(SENTENCES), *SENTENCES)
    ]
    article, *alone = tiny_encoder.encode([head.text(example) for example in examples])
    logits = [_logits(len(one.first), head.outputs) for one in alone]
    together = head.answers(examples[0], article, np.concatenate(logits))
    each = [head.answers(*given) for given in zip(examples[1:], alone, logits, strict=True)]
    assert together.predicted == tuple(tag for one in each for tag in one.predicted)
    assert together.confidence == pytest.approx([value for one in each for value in one.confidence])
    rows = [head.calibration(*given)[0] for given in zip(examples[1:], alone, logits, strict=True)]
    np.testing.assert_allclose(
        head.calibration(examples[0], article, np.concatenate(logits))[0], np.concatenate(rows), atol=1e-9
    )


def test_spans_of_an_article_are_those_of_its_sentences(tiny_encoder: Encoder) -> None:
    head = EntitySentimentHead(8, HeadOptions(crf=True))
    _taught(head.tagger)
    article, *alone = tiny_encoder.encode([" ".join(SENTENCES), *SENTENCES])
    logits = [_logits(len(one.first), head.outputs) for one in alone]
    offsets = np.cumsum([0, *(len(one) + 1 for one in SENTENCES)])
    expected = [
        (found.start + offset, found.end + offset, found.sentiment, pytest.approx(found.score))
        for one, rows, offset in zip(alone, logits, offsets, strict=False)
        for found in head.opinions(one, rows)
    ]
    found = head.opinions(article, np.concatenate(logits))
    assert [(one.start, one.end, one.sentiment, one.score) for one in found] == expected != []


def test_what_was_read_of_an_article_may_end_within_a_sentence(tiny_encoder: Encoder) -> None:
    head = NerHead(8, HeadOptions(crf=True))
    _taught(head.tagger)
    (article,) = tiny_encoder.encode([" ".join(SENTENCES)])
    logits = _logits(len(article.first), head.outputs)
    first = len(tiny_encoder.encode([SENTENCES[0]])[0].first)
    head.mentions(article, logits[:0])
    whole, part = head.mentions(article, logits), head.mentions(article, logits[: first + 1])
    said, expected = (
        [(one.start, one.end, one.type, one.score) for one in found if one.end <= len(SENTENCES[0])]
        for found in (part, whole)
    )
    assert said == [(*place, pytest.approx(score)) for *place, score in expected] != []
