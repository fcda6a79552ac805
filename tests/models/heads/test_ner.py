"""Tags that can be: decoding, alignment of words and tokens, mentions."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.labelled import NerExample
from data_contracts.labels import NER_TAGS
from models.encoder import Encoder
from models.heads.ner import NerHead, decode

SMALL = ("O", "B-ORG", "I-ORG", "B-LOC", "I-LOC")


def _probabilities(seed: int, words: int, tags: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(tags, 0.5), size=words)


def _legal(path: tuple[str, ...]) -> bool:
    return all(
        not tag.startswith("I-") or before[1:] == tag[1:] for before, tag in zip(("O", *path), path, strict=False)
    )


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), words=st.integers(1, 4))
def test_decoding_finds_the_likeliest_allowed_path(seed: int, words: int) -> None:
    probabilities = _probabilities(seed, words, len(SMALL))
    found = decode(probabilities, SMALL)
    legal = [
        path for path in itertools.product(range(len(SMALL)), repeat=words) if _legal(tuple(SMALL[i] for i in path))
    ]
    best = max(legal, key=lambda path: np.log(probabilities[np.arange(words), path]).sum())
    assert found.tolist() == list(best)


@given(seed=st.integers(0, 10_000), words=st.integers(0, 40))
def test_no_inside_stands_without_its_beginning(seed: int, words: int) -> None:
    assert _legal(tuple(NER_TAGS[number] for number in decode(_probabilities(seed, words, len(NER_TAGS)), NER_TAGS)))


@pytest.fixture
def head() -> NerHead:
    return NerHead(8, dropout=0.0, pooling="mean")


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
    answers = head.answers(EXAMPLE, encoded, probabilities)
    assert answers.predicted == answers.gold == EXAMPLE.tags
    found = [(encoded.text[one.start : one.end], one.type, one.score) for one in head.mentions(encoded, probabilities)]
    assert found == [("U.S.", "LOC", pytest.approx(0.92)), ("Acme Co", "ORG", pytest.approx(0.92))]


def test_two_entities_side_by_side_stay_two(head: NerHead, tiny_encoder: Encoder) -> None:
    (encoded,) = tiny_encoder.encode(["Oslo Oslo"])
    probabilities = np.zeros((2, len(NER_TAGS)))
    probabilities[:, NER_TAGS.index("B-LOC")] = 1.0
    assert [(one.start, one.end) for one in head.mentions(encoded, probabilities)] == [(0, 4), (5, 9)]
