"""One pass over many windows: equal ones once, and what breaks a batch breaks alone."""

import numpy as np
import pytest
from numpy.typing import NDArray

from models.batching import Batch
from models.cutting import cut_all
from models.encoder import Encoder
from models.passes import Logits, NoAnswer, NotFinite, Work, compute, prepare, run
from models.windows import cut

TEXTS = ["the bank said profit rises", "the river", "the bank said profit rises", "Acme", "north of the city"]


class _Echo:
    """Says of a window the sum of its ids, and of a token its id; breaks as it is told."""

    name = "torch"

    def __init__(self, *, most_windows: int = 99, breaks_on: int = -1, nonsense_for: int = -1) -> None:
        self.most_windows, self.breaks_on, self.nonsense_for = most_windows, breaks_on, nonsense_for
        self.sizes: list[int] = []

    def run(self, batch: Batch) -> dict[str, NDArray[np.float32]]:
        if len(batch) > self.most_windows:
            raise MemoryError("no room for so many windows")
        ids = (batch.ids * batch.mask).numpy().astype(np.float32)
        if (ids == self.breaks_on).any():
            raise RuntimeError("this token breaks the kernel")
        self.sizes.append(len(batch))
        ids[ids == self.nonsense_for] = np.nan
        return {"text": ids.sum(axis=1, keepdims=True), "word": np.stack([ids, 2 * ids], axis=2)}


def _work(encoder: Encoder, *, token_budget: int = 1000) -> Work:
    tokens = encoder.tokens(TEXTS)
    cuts = cut_all(tokens, encoder, max_length=32, overlap=8, reading="sentences")
    return prepare(tokens, cuts, encoder, token_budget=token_budget)


def _expected(encoder: Encoder, work: Work, found: Logits, number: int) -> None:
    (encoded,) = encoder.encode([TEXTS[number]])
    distinct = int(work.index[number])
    begin = int(work.lengths[:distinct].sum())
    special = sum(encoder.prefix) + sum(encoder.suffix)
    assert found.said["text"][distinct, 0] == encoded.ids.sum() + special
    assert found.said["word"][begin : begin + encoded.tokens, 1].tolist() == (2 * encoded.ids).tolist()


@pytest.mark.parametrize("budget", [1, 12, 1000])
def test_equal_windows_are_computed_once_and_answers_come_back_in_place(tiny_encoder: Encoder, budget: int) -> None:
    backend, work = _Echo(), _work(tiny_encoder, token_budget=budget)
    found = compute(backend, work)
    assert sum(backend.sizes) == 4
    assert work.index[0] == work.index[2]
    assert work.lengths.tolist() == sorted(work.lengths, reverse=True)
    for number in range(len(TEXTS)):
        _expected(tiny_encoder, work, found, number)


def test_a_batch_that_does_not_fit_is_tried_in_halves(tiny_encoder: Encoder) -> None:
    backend, work = _Echo(most_windows=1), _work(tiny_encoder)
    found = compute(backend, work)
    assert backend.sizes == [1, 1, 1, 1]
    assert found.broken == {}
    for number in range(len(TEXTS)):
        _expected(tiny_encoder, work, found, number)


def test_what_breaks_a_batch_or_is_answered_with_nonsense_fails_alone(tiny_encoder: Encoder) -> None:
    vocabulary = tiny_encoder.tokenizer.get_vocab()
    backend, work = _Echo(breaks_on=vocabulary["river"], nonsense_for=vocabulary["north"]), _work(tiny_encoder)
    found = compute(backend, work)
    assert {number: type(error) for number, error in found.broken.items()} == {
        int(work.index[1]): RuntimeError,
        int(work.index[4]): NotFinite,
    }
    assert all(np.isfinite(logits).all() for logits in found.said.values())
    for number in (0, 2, 3):
        _expected(tiny_encoder, work, found, number)
    windows = [
        window
        for text in tiny_encoder.encode(TEXTS)
        for window in cut(text, tiny_encoder, max_length=32, overlap=8, reading="sentences")
    ]
    outcomes = run(backend, windows, pad_id=tiny_encoder.pad_id, token_budget=1000)
    assert [type(one) for one in outcomes] == [dict, RuntimeError, dict, dict, NotFinite]
    assert outcomes[0] is not None


def test_where_many_windows_break_and_none_is_answered_the_machine_is_at_fault(tiny_encoder: Encoder) -> None:
    texts = [f"the bank said profit rises {'north ' * number}" for number in range(12)]
    tokens = tiny_encoder.tokens(texts)
    cuts = cut_all(tokens, tiny_encoder, max_length=32, overlap=8, reading="sentences")
    work = prepare(tokens, cuts, tiny_encoder, token_budget=1000)
    with pytest.raises(NoAnswer, match=r"broke on every one of 12 windows, .* the first: no room for so many windows"):
        compute(_Echo(most_windows=0), work)
    assert compute(_Echo(nonsense_for=tiny_encoder.tokenizer.get_vocab()["north"]), work).broken


def test_where_all_of_a_few_break_nothing_is_said(tiny_encoder: Encoder) -> None:
    work = _work(tiny_encoder)
    found = compute(_Echo(most_windows=0), work)
    assert (dict(found.said), sorted(found.broken)) == ({}, [0, 1, 2, 3])
