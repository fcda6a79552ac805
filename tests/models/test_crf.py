"""The chain against the enumeration of every path, in training as in decoding."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.labels import NER_TAGS
from models.crf import Chain, Crf, allowed_transitions, gather_words

TAGS = ("O", "B-ORG", "I-ORG", "B-LOC", "I-LOC")


def _crf(seed: int, tags: tuple[str, ...] = TAGS) -> Crf:
    crf = Crf(tags)
    with torch.no_grad():
        random = torch.Generator().manual_seed(seed)
        crf.steps.copy_(torch.randn(crf.steps.shape, generator=random) / 10)
        crf.ends.copy_(torch.randn(crf.ends.shape, generator=random) / 10)
    return crf


def _emissions(seed: int, words: int, tags: int = len(TAGS)) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(words, tags)) * 2.0


def _score(chain: Chain, emissions: np.ndarray, path: tuple[int, ...]) -> float:
    """The definition, word by word; -inf for a path that is not allowed."""
    before, total = len(chain.ends), 0.0
    for word, tag in enumerate(path):
        if not chain.allowed[before, tag]:
            return -np.inf
        total += emissions[word, tag] + chain.steps[before, tag]
        before = tag
    return total + chain.ends[path[-1]]


def _all_paths(chain: Chain, emissions: np.ndarray) -> dict[tuple[int, ...], float]:
    paths = itertools.product(range(emissions.shape[1]), repeat=len(emissions))
    return {path: _score(chain, emissions, path) for path in paths}


seeds = st.integers(0, 10_000)


@settings(max_examples=25)
@given(seed=seeds, words=st.integers(1, 4))
def test_decoding_finds_the_best_allowed_path(seed: int, words: int) -> None:
    chain, emissions = _crf(seed).chain(), _emissions(seed, words)
    scores = _all_paths(chain, emissions)
    assert tuple(chain.viterbi(emissions)) == max(scores, key=lambda path: scores[path])


@settings(max_examples=25)
@given(seed=seeds, words=st.integers(1, 4))
def test_marginals_are_the_shares_of_all_allowed_paths(seed: int, words: int) -> None:
    chain, emissions = _crf(seed).chain(), _emissions(seed, words)
    scores = _all_paths(chain, emissions)
    weights = {path: np.exp(score) for path, score in scores.items()}
    expected = np.zeros(emissions.shape)
    for path, weight in weights.items():
        expected[np.arange(words), path] += weight / sum(weights.values())
    np.testing.assert_allclose(chain.marginals(emissions), expected, atol=1e-9)


@settings(max_examples=25)
@given(seed=seeds)
def test_likelihood_is_that_of_all_allowed_paths_whatever_the_padding(seed: int) -> None:
    crf, lengths = _crf(seed), (1, 4, 2)
    chain = crf.chain()
    emissions = torch.zeros(3, 5, len(TAGS)).fill_(7.0)
    gold = torch.full((3, 5), -100)
    mask = torch.zeros(3, 5, dtype=torch.bool)
    expected = []
    for row, words in enumerate(lengths):
        mine = _emissions(seed + row, words)
        emissions[row, :words], mask[row, :words] = torch.from_numpy(mine), True
        scores = _all_paths(chain, mine)
        lawful = [path for path, score in scores.items() if np.isfinite(score)]
        path = lawful[seed % len(lawful)]
        gold[row, :words] = torch.tensor(path)
        expected.append(scores[path] - np.log(sum(np.exp(list(scores.values())))))
    np.testing.assert_allclose(crf.log_likelihood(emissions, gold, mask).detach(), expected, atol=1e-4)


def test_a_gold_path_cut_inside_an_entity_has_a_likelihood_of_its_own() -> None:
    crf = _crf(1)
    emissions, mask = torch.from_numpy(_emissions(1, 3)).float()[None], torch.ones(1, 3, dtype=torch.bool)
    cut = crf.log_likelihood(emissions, torch.tensor([[2, 0, 1]]), mask)
    assert -20.0 < float(cut.detach()) < 0.0
    cut.sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in crf.parameters() if parameter.grad is not None)


def test_a_row_without_words_weighs_nothing() -> None:
    crf = _crf(2)
    found = crf.log_likelihood(
        torch.randn(1, 2, len(TAGS)), torch.zeros(1, 2, dtype=torch.long), torch.zeros(1, 2, dtype=torch.bool)
    )
    assert found.tolist() == [0.0]
    chain = crf.chain()
    assert chain.viterbi(np.zeros((0, 5))).shape == (0,)
    assert chain.marginals(np.zeros((0, 5))).shape == (0, 5)


@pytest.mark.parametrize("tags", [NER_TAGS, ("O", "B", "I")])
@settings(max_examples=50)
@given(seed=seeds, words=st.integers(1, 60))
def test_no_inside_stands_without_its_beginning(tags: tuple[str, ...], seed: int, words: int) -> None:
    allowed = allowed_transitions(tags)
    for chain in (Chain.of_rules(tags), _crf(seed, tags).chain()):
        emissions = _emissions(seed, words, len(tags)) * 5
        path = chain.viterbi(emissions)
        assert allowed[np.concatenate([[len(tags)], path[:-1]]), path].all()
        marginals = chain.marginals(emissions)
        np.testing.assert_allclose(marginals.sum(axis=1), 1.0)
        assert marginals[0, [number for number, tag in enumerate(tags) if tag.startswith("I")]].max() < 1e-12


def test_a_chain_learns_what_the_words_do_not_say() -> None:
    """Emissions are the same for every word; only steps and ends can tell the tags apart."""
    crf = Crf(TAGS)
    gold, mask = (
        torch.tensor([[1, 2, 0, 3], [0, 1, 2, 0]]),
        torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]], dtype=torch.bool),
    )
    emissions = torch.zeros(2, 4, len(TAGS))
    optimiser = torch.optim.Adam(crf.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = -crf.log_likelihood(emissions, gold, mask).mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.35 * losses[0]
    assert crf.chain().viterbi(np.zeros((3, len(TAGS)))).tolist() in ([0, 1, 2], [1, 2, 0], [0, 3, 0])


def test_words_are_gathered_from_the_tokens_that_count() -> None:
    logits = torch.arange(2 * 5 * 2).reshape(2, 5, 2)
    targets = torch.tensor([[-100, 1, -100, 0, -100], [-100, 2, -100, -100, -100]])
    words, gold, mask = gather_words(logits, targets, ignored=-100)
    assert gold[mask].tolist() == [1, 0, 2]
    assert words[mask].tolist() == [[2, 3], [6, 7], [12, 13]]
    assert mask.tolist() == [[True, True], [True, False]]
    wide = torch.stack([targets, targets + 1], dim=2)
    assert gather_words(logits, wide, ignored=-100)[1].shape == (2, 2, 2)
