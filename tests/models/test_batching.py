"""Batches within a budget, and every index once."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.batching import collate, plan
from models.windows import Window


@given(lengths=st.lists(st.integers(1, 300), max_size=80), budget=st.integers(1, 2048))
def test_every_window_stands_in_one_batch_within_the_budget_longest_first(lengths: list[int], budget: int) -> None:
    batches = plan(lengths, token_budget=budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    in_order = [lengths[index] for batch in batches for index in batch]
    assert in_order == sorted(lengths, reverse=True)
    assert all(len(batch) == 1 or len(batch) * lengths[batch[0]] <= budget for batch in batches)


def test_padding_stands_at_the_right_and_is_masked() -> None:
    windows = [Window(start=0, stop=size, offset=0, ids=np.full(size, 7), shapes=np.full(size, 2)) for size in (3, 1)]
    batch = collate(windows, pad_id=9)
    assert batch.ids.tolist() == [[7, 7, 7], [7, 9, 9]]
    assert batch.mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch.shapes.tolist() == [[2, 2, 2], [2, 0, 0]]
