"""Every objective hides, arranges and guesses by its rule."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.encoder import Encoder
from models.masking import Arranged, Vocabulary, budget, corrupt, word_spans
from models.objectives import Batch, Masking, Pairing, Sizes, UnknownObjective, names, objective
from models.objectives.span import LENGTHS, LONGEST_WORDS, draw_length
from models.pieces import Frame, Piece
from models.sentence_pair import FALSE, TRUE

MASKINGS = ("mlm", "whole_word", "span")
Words = list[int]  # tokens of each word of a sequence
sequences = st.lists(st.integers(1, 4), min_size=1, max_size=60)
seeds = st.integers(0, 2**32)


def arranged(lengths: Words) -> Arranged:
    """A sequence with one special token on each side; each token's id is 100 + its position."""
    words = np.asarray([-1, *(number for number, count in enumerate(lengths) for _ in range(count)), -1])
    ids = np.arange(len(words), dtype=np.int64) + 100
    return Arranged(ids=ids, types=np.zeros_like(ids), words=words, label=-100)


def chosen(name: str, lengths: Words, seed: int) -> tuple[list[tuple[int, int]], int, Arranged]:
    masking, sequence = objective(name), arranged(lengths)
    assert isinstance(masking, Masking)
    allowed = budget(sum(lengths), 0.15)
    return masking.choose(sequence.words, budget=allowed, chance=np.random.default_rng(seed)), allowed, sequence


@pytest.mark.parametrize("name", names())
def test_every_file_is_an_objective_with_a_head(name: str) -> None:
    head = objective(name).head(Sizes(hidden=8, width=8, entries=20))
    assert sum(parameter.numel() for parameter in head.parameters()) > 0


def test_a_name_that_no_file_has_is_refused() -> None:
    with pytest.raises(UnknownObjective, match="whole_word"):
        objective("cloze")


@pytest.mark.parametrize("name", MASKINGS)
@given(lengths=sequences, seed=seeds)
def test_a_masking_keeps_its_budget_and_never_hides_a_special_token(name: str, lengths: Words, seed: int) -> None:
    spans, allowed, sequence = chosen(name, lengths, seed)
    hidden = [place for start, end in spans for place in range(start, end)]
    assert len(set(hidden)) == len(hidden) > 0
    assert (sequence.words[hidden] >= 0).all()
    one_word = len({int(word) for word in sequence.words[hidden]}) == 1
    assert len(hidden) <= allowed or (one_word and name != "mlm")
    if name == "mlm":
        assert len(hidden) == allowed


@pytest.mark.parametrize("name", ["whole_word", "span"])
@given(lengths=sequences, seed=seeds)
def test_words_are_hidden_whole(name: str, lengths: Words, seed: int) -> None:
    spans, _, sequence = chosen(name, lengths, seed)
    hidden = {place for start, end in spans for place in range(start, end)}
    for start, end in word_spans(sequence.words):
        assert hidden.isdisjoint(range(start, end)) or hidden.issuperset(range(start, end))


def test_whole_words_use_the_whole_budget_where_words_of_one_token_fill_it() -> None:
    spans, allowed, _ = chosen("whole_word", [1] * 100, 0)
    assert sum(end - start for start, end in spans) == allowed == 15


@given(lengths=sequences, seed=seeds)
def test_spans_are_short_enough_and_do_not_touch(lengths: Words, seed: int) -> None:
    spans, _, sequence = chosen("span", lengths, seed)
    for start, end in spans:
        assert len(set(sequence.words[start:end].tolist())) <= LONGEST_WORDS
    for (_, end), (start, _) in itertools.pairwise(spans):
        assert end < start


def test_span_lengths_are_geometric_with_a_mean_of_3_8_words() -> None:
    chance = np.random.default_rng(0)
    drawn = [draw_length(chance) for _ in range(20_000)]
    seen = Counter(drawn)
    assert np.mean(drawn) == pytest.approx(3.8, abs=0.05)
    assert set(seen) == set(range(1, 11))
    assert [seen[length] / len(drawn) for length in range(1, 11)] == pytest.approx(LENGTHS.tolist(), abs=0.01)
    assert LENGTHS[1:] / LENGTHS[:-1] == pytest.approx(np.full(9, 0.8))


def test_long_texts_get_spans_of_that_mean_and_the_budget_is_nearly_used() -> None:
    found = [chosen("span", [1] * 400, seed) for seed in range(200)]
    words = [end - start for spans, _, _ in found for start, end in spans]
    assert np.mean(words) == pytest.approx(3.7, abs=0.3)
    assert np.mean([sum(e - s for s, e in spans) / allowed for spans, allowed, _ in found]) > 0.98


@pytest.mark.parametrize("together", [False, True])
def test_eighty_ten_ten_and_exact_targets(together: bool) -> None:
    sequence, vocabulary = arranged([2] * 5_000), Vocabulary(mask_id=1, plain=np.arange(50_000, 60_000))
    spans = word_spans(sequence.words)
    made = corrupt(sequence, spans, together=together, vocabulary=vocabulary, chance=np.random.default_rng(0))
    assert made.targets.tolist() == sequence.ids[made.positions].tolist()
    read = made.ids[made.positions]
    shares = [(read == 1).mean(), (read >= 50_000).mean(), (read == made.targets).mean()]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.015)
    assert made.ids[[0, -1]].tolist() == sequence.ids[[0, -1]].tolist()
    fates = (read == 1).reshape(-1, 2)
    assert (fates[:, 0] == fates[:, 1]).all() == together
    assert sequence.ids.tolist() == arranged([2] * 5_000).ids.tolist()


def test_what_is_not_hidden_is_left_alone_and_borders_stand_around_their_span() -> None:
    sequence, vocabulary = arranged([1] * 10), Vocabulary(mask_id=1, plain=np.asarray([7]))
    made = corrupt(sequence, [(2, 5), (8, 9)], together=True, vocabulary=vocabulary, chance=np.random.default_rng(3))
    assert made.positions.tolist() == [2, 3, 4, 8]
    assert (made.left.tolist(), made.right.tolist()) == ([1, 1, 1, 7], [5, 5, 5, 9])
    others = [place for place in range(12) if place not in (2, 3, 4, 8)]
    assert made.ids[others].tolist() == sequence.ids[others].tolist()


def test_no_special_token_takes_a_hidden_one_s_place(tiny_encoder: Encoder) -> None:
    vocabulary = Vocabulary.of(tiny_encoder.tokenizer)
    special = {tiny_encoder.tokenizer.token_to_id(name) for name in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")}
    assert special.isdisjoint(vocabulary.plain.tolist())
    assert vocabulary.mask_id == tiny_encoder.tokenizer.token_to_id("[MASK]")


def test_the_boundary_head_reads_the_borders_and_the_place_alone() -> None:
    torch.manual_seed(0)
    head = objective("span_boundary").head(Sizes(hidden=8, width=8, entries=20)).eval()
    sequence = arranged([1] * 10)
    made = corrupt(
        sequence, [(4, 7)], together=True, vocabulary=Vocabulary(mask_id=1, plain=np.asarray([7])), chance=np.random.default_rng(0)
    )  # fmt: skip
    batch = Batch.of([made], pad_id=0)
    hidden, embeddings = torch.randn(1, 12, 8, requires_grad=True), torch.randn(20, 8)
    logits, targets = head(hidden, batch, embeddings)
    assert targets.tolist() == sequence.ids[4:7].tolist()
    (read,) = torch.autograd.grad(logits.sum(), hidden)
    assert read.abs().sum(dim=-1)[0].nonzero().flatten().tolist() == [3, 7]
    assert not torch.allclose(logits[0], logits[1])


def piece(document: int, *sentences: int) -> Piece:
    """A piece of sentences with so many tokens; ids tell document, and place."""
    ends = tuple(np.cumsum(sentences).tolist())
    ids = np.arange(ends[-1], dtype=np.int32) + 1_000 * (document + 1)
    return Piece(document=document, ids=ids, starts=np.ones(ends[-1], dtype=bool), ends=ends)


FRAME = Frame(prefix=(2,), suffix=(3,), typed=True)


def pairs(name: str, one: Piece, other: Piece) -> list[Arranged]:
    pairing = objective(name)
    assert isinstance(pairing, Pairing)
    return [
        pairing.arrange(one, FRAME, stranger=lambda _: other, chance=np.random.default_rng(seed)) for seed in range(400)
    ]


def segments(made: Arranged) -> tuple[list[int], list[int]]:
    middle, end = np.flatnonzero(made.ids == 3).tolist()
    assert (end, made.ids[0]) == (len(made.ids) - 1, 2)
    assert made.types.tolist() == [0] * (middle + 1) + [1] * (end - middle)
    assert (made.words[[0, middle, end]] == -1).all()
    return made.ids[1:middle].tolist(), made.ids[middle + 1 : end].tolist()


def test_half_of_the_segments_are_exchanged_and_both_are_of_one_document() -> None:
    one = piece(0, 3, 4, 2)
    made = pairs("sentence_order", one, piece(1, 5))
    assert np.mean([pair.label == FALSE for pair in made]) == pytest.approx(0.5, abs=0.08)
    borders = set()
    for pair in made:
        first, second = segments(pair)
        if pair.label == FALSE:
            first, second = second, first
        assert first + second == one.ids.tolist()
        borders.add(len(first))
    assert borders == {3, 7}


def test_half_of_the_second_segments_are_strangers_no_longer_than_what_they_replace() -> None:
    one, other = piece(0, 3, 4), piece(1, 2, 9)
    made = pairs("next_sentence", one, other)
    assert np.mean([pair.label == FALSE for pair in made]) == pytest.approx(0.5, abs=0.08)
    for pair in made:
        first, second = segments(pair)
        assert first == one.ids[:3].tolist()
        if pair.label == TRUE:
            assert second == one.ids[3:].tolist()
        else:
            assert second[0] in (2_000, 2_002)
            assert set(second) <= set(other.ids.tolist())
            assert len(second) <= 4


@pytest.mark.parametrize("name", ["sentence_order", "next_sentence"])
def test_a_single_sentence_is_no_pair(name: str) -> None:
    made = pairs(name, piece(0, 5), piece(1, 5))[0]
    assert made.label == -100
    assert made.ids.tolist() == [2, *range(1_000, 1_005), 3]
    head = objective(name).head(Sizes(hidden=8, width=8, entries=20))
    assert head.count(_batch(made)) == 0
    logits, targets = head(torch.randn(1, 7, 8), _batch(made), torch.randn(20, 8))
    assert (len(logits), len(targets)) == (0, 0)


def _batch(made: Arranged) -> Batch:
    vocabulary = Vocabulary(mask_id=1, plain=np.asarray([7]))
    return Batch.of(
        [corrupt(made, [(1, 2)], together=False, vocabulary=vocabulary, chance=np.random.default_rng(0))], pad_id=0
    )
