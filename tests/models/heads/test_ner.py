"""Tags that can be: decoding, alignment of words and tokens, mentions."""

import numpy as np
import pytest

from data_contracts.labelled import NerExample
from data_contracts.labels import NER_TAGS
from models.encoder import Encoder
from models.heads import HeadOptions
from models.heads.ner import NerHead


@pytest.fixture
def head() -> NerHead:
    return NerHead(8, HeadOptions())


EXAMPLE = NerExample(
    tokens=("The", "U.S.", "\u200d", "bank", "Acme", "Co"), tags=("O", "B-LOC", "O", "O", "B-ORG", "I-ORG")
)


def test_a_token_of_several_words_is_learnt_as_one_entity(head: NerHead, tiny_encoder: Encoder) -> None:
    (encoded,) = tiny_encoder.encode([head.text(EXAMPLE)])
    tags = [head.labels[number] for number in head.targets(EXAMPLE, encoded)]
    assert tags == ["O", "B-LOC", "I-LOC", "I-LOC", "I-LOC", "O", "B-ORG", "I-ORG"]


def test_right_probabilities_give_right_answers_and_mentions(head: NerHead, tiny_encoder: Encoder) -> None:
    (encoded,) = tiny_encoder.encode([head.text(EXAMPLE)])
    probabilities = np.full((len(encoded.first), len(NER_TAGS)), 0.01)
    probabilities[np.arange(len(encoded.first)), head.targets(EXAMPLE, encoded)] = 0.92
    answers = head.answers(EXAMPLE, encoded, np.log(probabilities))
    assert answers.predicted == answers.gold == EXAMPLE.tags
    found = [
        (encoded.text[one.start : one.end], one.type, one.score)
        for one in head.mentions(encoded, np.log(probabilities))
    ]
    assert found == [("U.S.", "LOC", pytest.approx(0.92)), ("Acme Co", "ORG", pytest.approx(0.92))]


def test_two_entities_side_by_side_stay_two(head: NerHead, tiny_encoder: Encoder) -> None:
    (encoded,) = tiny_encoder.encode(["Oslo Oslo"])
    probabilities = np.full((2, len(NER_TAGS)), 0.01)
    probabilities[:, NER_TAGS.index("B-LOC")] = 1.0
    assert [(one.start, one.end) for one in head.mentions(encoded, np.log(probabilities))] == [(0, 4), (5, 9)]


@pytest.mark.parametrize("crf", [False, True])
def test_no_token_goes_on_with_an_entity_that_began_within_another(crf: bool, tiny_encoder: Encoder) -> None:
    example = NerExample(tokens=("(Oslo", "Bank"), tags=("B-ORG", "I-ORG"))
    (encoded,) = tiny_encoder.encode([" ".join(example.tokens)])
    logits = np.full((3, len(NER_TAGS)), -5.0)
    logits[[0, 1, 2], [NER_TAGS.index(tag) for tag in ("O", "B-ORG", "I-ORG")]] = 5.0
    predicted = NerHead(8, HeadOptions(crf=crf)).answers(example, encoded, logits).predicted
    assert predicted == ("O", "B-ORG" if crf else "O")
